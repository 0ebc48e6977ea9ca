// The page Live in a real browser, against a stand-in for the API.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accessible, OUT, until } from './browser.mjs';
import { evidence, fixture, issue, TOKEN } from './fixture.mjs';
import { everything } from './fixture-board.mjs';
import { call, fresh, overflow, pageTests, said, skip, STATUS } from './pages.mjs';

const withPage = pageTests('/');

const titles = (page) => page.locator('tr[data-id] [data-row]').allTextContents();
const first = (page) => page.locator('tr[data-id] [data-row]').first();

for (const width of [1440, 400]) {
  for (const scheme of ['light', 'dark']) {
    withPage(`issues, figures and an open issue, accessible at ${width} px, ${scheme}`, { width, scheme, hob: { issues: everything() } }, async (page, hob) => {
      await first(page).waitFor();
      for (let n = 0; n < 8; n += 1) {
        hob.state.clock += 15_000;
        hob.push('figures', [['placed', { value: 412 + n * 3 }], ['moving', { value: 63 + ((n * 5) % 7) }], ['delivered', { value: 338 + n * 2 }], ['late', { value: 17 + Math.floor(n / 3) }], ['clock', { time: new Date(hob.state.clock).toISOString() }]]);
        await page.waitForFunction((value) => document.querySelector('[data-figure=placed]').textContent.includes(value), String(412 + n * 3));
      }
      await accessible(page);
      await page.screenshot({ path: `${OUT}live-${width}-${scheme}.png` });
      await first(page).click();
      await page.getByText('it held for 6m: the issue opened').waitFor();
      await page.getByRole('region', { name: 'Map' }).waitFor();
      await page.getByRole('region', { name: 'Timeline' }).getByText('a call to the restaurant').waitFor();
      await accessible(page);
      assert.equal(await overflow(page), 0, 'nothing sticks out sideways');
      await page.screenshot({ path: `${OUT}issue-${width}-${scheme}.png`, fullPage: width === 400 });
    });
  }
}

withPage('the token leaves the address and is sent; the order is by priority', {}, async (page, hob) => {
  await first(page).waitFor();
  assert.equal(new URL(page.url()).hash, '');
  assert.equal(await page.evaluate(() => localStorage.getItem('hob.token')), TOKEN);
  const priorities = (await page.locator('tr[data-id] .priority .num').allTextContents()).map(Number);
  assert.deepEqual(priorities, priorities.toSorted((a, b) => b - a));
  assert.deepEqual(hob.subscriptions.map((frame) => frame.view).sort(), ['figures', 'issues', 'map']);
});

test('without a token, and with a refused one, the page says how to get one', { skip }, async () => {
  const hob = await fixture();
  const bare = await fresh(hob.origin);
  await bare.page.getByText('Sign in to Hob').waitFor();
  assert.equal(await bare.page.locator('pre').textContent(), 'hob open');
  await accessible(bare.page);
  await bare.page.getByLabel('Token').fill(hob.url());
  await bare.page.keyboard.press('Enter');
  await first(bare.page).waitFor();
  await bare.close();
  const wrong = await fresh(`${hob.origin}/#token=wrong`, { allow: [STATUS] });
  await wrong.page.getByText('Hob refused this token').waitFor();
  await wrong.close();
  await hob.close();
});

withPage('loading shows a skeleton', { hob: { silent: true } }, async (page) => {
  await page.locator('.skeleton').first().waitFor();
  await accessible(page);
  await page.screenshot({ path: `${OUT}loading.png` });
});

withPage('no issues is good news', { hob: { issues: [] } }, async (page) => {
  await page.getByText('No open issues').waitFor();
  await page.getByText(/Last one \d\d:\d\d/).waitFor();
  await accessible(page);
  await page.screenshot({ path: `${OUT}empty.png` });
});

withPage(
  'an error names the problem and the request, and can be tried again',
  { allow: [STATUS], hob: { down: true, override: { '/v1/issues': () => ({ problem: [500, 'The store is full', 'no space is left'] }) } } },
  async (page, hob) => {
    await page.getByText('The store is full').waitFor();
    await page.getByText('req-0197f3c2').waitFor();
    await accessible(page);
    await page.screenshot({ path: `${OUT}error.png` });
    hob.state.down = false;
    hob.state.override = {};
    await page.getByRole('button', { name: 'Try again' }).click();
    await first(page).waitFor();
  },
);

withPage(
  'a view that the token may not read says so',
  { allow: [STATUS], hob: { refuse: { issues: 'not allowed' }, override: { '/v1/issues': () => ({ problem: [403, 'Not allowed', 'a viewer may not'] }) } } },
  async (page) => {
    await page.getByText('Your token does not allow this').waitFor();
  },
);

withPage('nothing moves under the pointer; a full stop applies what waits', {}, async (page, hob) => {
  await first(page).waitFor();
  const before = await titles(page);
  await page.locator('tr[data-id]').nth(2).hover();
  hob.change([issue(77, { priority: 99, title: 'Order 77 burns' }), { id: 'is-00009', priority: 98 }], ['is-00002']);
  await page.getByTestId('pending').getByText('3 changes').waitFor();
  assert.deepEqual(await titles(page), before);
  assert.match(await page.locator('tr[data-id="is-00009"]').textContent(), /98/, 'values are up to date while the order waits');
  await page.screenshot({ path: `${OUT}pending.png` });
  await page.keyboard.press('.');
  await until('the order is applied', async () => (await titles(page))[0] === 'Order 77 burns');
  assert.equal(await page.getByTestId('pending').count(), 0);
  await until('the resolved one fades', async () => !(await titles(page)).includes(issue(2).title));
  hob.change([{ id: 'is-00012', priority: 100 }]);
  await page.getByTestId('pending').waitFor();
  await page.mouse.move(5, 5);
  await until('leaving the list applies, too', async () => (await titles(page))[0] === issue(12).title);
});

withPage('moving, acknowledging and resolving by key keep the focus in the list', {}, async (page, hob) => {
  await first(page).waitFor();
  await page.keyboard.press('j');
  const focused = () => page.evaluate(() => document.activeElement?.closest('[data-id]')?.dataset.id);
  await until('the first row has the focus', async () => (await focused()) === 'is-00001');
  await page.keyboard.press('j');
  await page.keyboard.press('k');
  await page.keyboard.press('j');
  await until('the second row has the focus', async () => (await focused()) === 'is-00002');
  await page.keyboard.press('e');
  await page.locator('tr[data-id="is-00002"]').getByText('✓ admin').waitFor();
  assert.ok(hob.calls.some((call) => call.path === '/v1/issues/is-00002/acknowledge' && call.query.environment === undefined));
  assert.equal(await focused(), 'is-00002');
  await page.keyboard.press('r');
  await page.getByTestId('act').waitFor();
  await accessible(page);
  await page.keyboard.type('j the rider moves again');
  await page.keyboard.press('Enter');
  await until('the call is made', () => call(hob, 'POST', '/v1/issues/is-00002/resolve')?.body.reason === 'j the rider moves again');
  assert.equal(call(hob, 'POST', '/v1/issues/is-00002/resolve').body.as, 'fixed');
  await until('it leaves', async () => !(await titles(page)).includes(issue(2).title));
  await until('the next row has the focus', async () => (await focused()) !== undefined);
  await page.locator('summary', { hasText: 'Recently resolved' }).click();
  await page.locator('details a', { hasText: issue(2).title }).waitFor();
  await page.keyboard.press('?');
  await page.getByRole('heading', { name: 'Keys' }).waitFor();
  await accessible(page);
  await page.getByLabel('Single-key shortcuts are on').uncheck();
  await page.keyboard.press('Escape');
  await until('the dialog is closed', async () => (await page.locator('dialog').count()) === 0);
  await page.keyboard.press('?');
  assert.equal(await page.locator('dialog').count(), 0, 'keys that are switched off do nothing');
});

withPage('acknowledging and resolving by mouse; a resolution is taken back', {}, async (page, hob) => {
  await first(page).waitFor();
  await page.locator('tr[data-id="is-00001"] .held').click();
  await page.getByRole('heading', { name: issue(1).title }).waitFor();
  assert.equal(new URL(page.url()).searchParams.get('issue'), 'is-00001');
  const pane = page.getByRole('region', { name: 'Details' });
  await pane.getByRole('button', { name: 'Acknowledge' }).click();
  await page.locator('tr[data-id="is-00001"]').getByText('✓ admin').waitFor();
  await pane.getByRole('button', { name: 'Resolve' }).click();
  await page.getByLabel('False alarm').check();
  await page.getByRole('button', { name: 'Customer told' }).click();
  await page.getByTestId('act').getByRole('button', { name: 'Resolve' }).click();
  await until('the call is made', () => call(hob, 'POST', '/v1/issues/is-00001/resolve')?.body.as === 'false-alarm');
  await pane.locator('header .tag', { hasText: 'resolved' }).waitFor();
  await said(page, 'Resolved: Order 1 will miss');
  await page.keyboard.press('z');
  await until('it is opened again', () => call(hob, 'POST', '/v1/issues/is-00001/reopen'));
  await pane.locator('header .tag', { hasText: 'open' }).waitFor();
});

withPage('snoozing puts an issue down the list for a while, and can be taken back', {}, async (page, hob) => {
  await first(page).waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('s');
  await page.getByRole('button', { name: '1 hour, or until it gets worse' }).waitFor();
  await accessible(page);
  await page.keyboard.press('4');
  await until('the call is made', () => call(hob, 'POST', '/v1/issues/is-00001/snooze')?.body.until_worse === true);
  await page.locator('tr[data-id="is-00001"]').getByText(/(59 min|1 h 00), or worse/).waitFor();
  await page.mouse.move(5, 5);
  await page.evaluate(() => document.activeElement.blur());
  await until('it stands last', async () => (await titles(page)).at(-1) === issue(1).title);
  await page.getByRole('button', { name: 'Undo' }).click();
  await until('it is awake', async () => (await titles(page))[0] === issue(1).title);
  assert.equal(call(hob, 'POST', '/v1/issues/is-00001/snooze').body.for, '1s');
});

withPage('what is called fixed may be verified first', {}, async (page, hob) => {
  await first(page).waitFor();
  const top = () => first(page).evaluate((link) => link.getBoundingClientRect().top);
  const before = await top();
  await page.keyboard.press('j');
  hob.change([{ id: 'is-00012', priority: 99 }]);
  await page.getByTestId('pending').waitFor();
  assert.equal(await top(), before, 'what says that changes wait moves no row');
  await page.keyboard.press('r');
  await page.getByLabel('Verify first').check();
  await page.getByLabel('Why, for those').fill('the rider answers');
  await page.keyboard.press('Enter');
  await said(page, 'To be verified: Order 1');
  await page.locator('tr[data-id="is-00001"]').getByText('to verify').waitFor();
  assert.equal(call(hob, 'POST', '/v1/issues/is-00001/resolve').body.as, 'verify');
  assert.equal(await page.getByRole('button', { name: 'Undo' }).count(), 0);
});

withPage('assigning, merging and noting by key', {}, async (page, hob) => {
  await first(page).waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('a');
  await page.getByRole('button', { name: 'To me' }).waitFor();
  await page.keyboard.press('a');
  await until('assigned to the one who asked', () => call(hob, 'POST', '/v1/issues/is-00001/assign')?.body.to === 'admin');
  await page.getByTestId('act').waitFor({ state: 'detached' });
  await page.keyboard.press('n');
  await page.keyboard.type('the kitchen says five minutes');
  await page.keyboard.press('Control+Enter');
  await until('noted', () => call(hob, 'POST', '/v1/issues/is-00001/note')?.body.text === 'the kitchen says five minutes');
  await page.getByTestId('act').waitFor({ state: 'detached' });
  await page.keyboard.press('Enter');
  await page.getByRole('region', { name: 'Notes' }).getByText('the kitchen says five minutes').waitFor();
  await page.getByLabel('A note', { exact: true }).fill('and five more');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByRole('region', { name: 'Notes' }).getByText('and five more').waitFor();
  await page.locator('tr[data-id="is-00001"] [data-row]').focus();
  await page.keyboard.press('m');
  await page.keyboard.type('Rider 2');
  await page.getByTestId('act').getByRole('button', { name: /Rider 2 has not moved/ }).click();
  await until('merged', () => call(hob, 'POST', '/v1/issues/is-00001/merge')?.body.into === 'is-00002');
});

withPage('several are marked and acted on at once, each answered by itself', { allow: [STATUS], hob: { override: { '/v1/issues/is-00002/acknowledge': () => ({ problem: [409, 'ada acknowledged it 3 s ago', ''] }) } } }, async (page, hob) => {
  await first(page).waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('x');
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('Shift+X');
  await page.getByTestId('marked').getByText('3 marked').waitFor();
  await accessible(page);
  hob.change([{ id: 'is-00012', priority: 99 }]);
  await page.keyboard.press('e');
  await said(page, 'Acknowledged: 2 issues, 1 refused');
  await page.getByText('ada acknowledged it 3 s ago').waitFor();
  assert.equal(await page.getByTestId('marked').count(), 0);
});

withPage('a group opens; its members, a storm and what cannot be told have words', { hob: { issues: everything() } }, async (page) => {
  await first(page).waitFor();
  assert.equal(await page.locator('tr[data-id]').count(), 9, 'what is in a group is not in the list');
  await page.keyboard.press('j');
  await page.keyboard.press('ArrowRight');
  await page.locator('tr[data-id="is-00001"]').waitFor();
  assert.equal(await page.locator('tr[data-id="is-00201"] [aria-expanded=true]').count(), 1);
  await page.keyboard.press('Enter');
  const members = page.getByRole('region', { name: 'Members' });
  await members.getByText('Gathers 3 issues').waitFor();
  assert.match(await members.locator('.members li').first().textContent(), /order 31\s*\d min too late/, 'what is worst stands first');
  await members.getByText('and 10,405 more, counted but not listed').waitFor();
  await page.locator('tr[data-id="is-00202"]').getByText('storm', { exact: true }).waitFor();
  await page.locator('tr[data-id="is-00002"]').getByText('cannot tell now').waitFor();
  await page.keyboard.press('ArrowLeft');
  await until('it is closed', async () => (await page.locator('tr[data-id]').count()) === 9);
  await page.locator('tr[data-id="is-00002"] [data-row]').click();
  await page.getByText('riders/2 has sent no position for 4 minutes').waitFor();
});

withPage('the terms of a priority show beside the row that is pointed at or has the focus', { hob: { issues: everything() } }, async (page) => {
  await first(page).waitFor();
  await page.locator('tr[data-id="is-00201"] [data-why]').hover();
  await page.getByRole('tooltip').getByText('order 12 is too late in 18 min').waitFor();
  await page.keyboard.press('Escape');
  await page.mouse.move(5, 5);
  await page.getByRole('tooltip').waitFor({ state: 'detached' });
  await page.keyboard.press('j');
  await page.getByRole('tooltip').getByText('+12').waitFor();
});

withPage('actions are those that the entity offers, each with how far it is', { hob: { issues: everything() } }, async (page, hob) => {
  await page.locator('tr[data-id="is-00003"] [data-row]').click();
  const actions = page.getByRole('region', { name: 'Actions' });
  await actions.getByText('the riders service answered 503 after 3 attempts').waitFor();
  await actions.locator('[data-action="rider:message"]').getByText('refused').waitFor();
  await actions.locator('[data-action="orders:requote"]').getByText('running').waitFor();
  await actions.getByRole('button', { name: 'Do it anyway: message the rider' }).waitFor();
  await actions.getByRole('button', { name: 'Approve: pause the restaurant' }).click();
  await until('the relation is followed', () => call(hob, 'POST', '/v1/issues/is-00003/actions/restaurant%3Apause')?.body.action === 'ac-17');
  await actions.locator('[data-action="restaurant:pause"]').getByText('running').waitFor();
});

withPage('the map moves as riders do, and comes by a plain call from an API without such a view', { path: '/?issue=is-00002' }, async (page, hob) => {
  const map = page.getByRole('region', { name: 'Map' });
  await map.getByRole('img', { name: /5 zones, 60 restaurants, 90 riders; 1 place of this issue stand/ }).waitFor();
  await map.getByRole('button', { name: 'Close by' }).click();
  const ring = () => map.locator('.ring').getAttribute('cx');
  await map.getByRole('button', { name: 'City' }).click();
  const before = await ring();
  hob.push('map', [['http://city.test/riders/2', { x: 446_000, y: 4_627_000 }]]);
  await until('it is elsewhere', async () => (await ring()) !== before);
  hob.state.refuse = { map: 'there is no view `map`' };
  await page.reload();
  await map.getByRole('img', { name: /90 riders/ }).waitFor();
});

withPage('every action can be stopped, with a reason that all see', { path: '/?issue=is-00003', hob: { issues: everything() } }, async (page, hob) => {
  await page.getByRole('button', { name: 'Stop all actions…' }).click();
  await page.getByRole('textbox', { name: 'Why' }).fill('the dispatch service answers nonsense');
  await accessible(page);
  await page.getByRole('button', { name: 'Stop them' }).click();
  await page.getByText('by admin since').waitFor();
  assert.equal(call(hob, 'POST', '/v1/actions/pause').body.reason, 'the dispatch service answers nonsense');
  await accessible(page);
  await page.getByRole('button', { name: 'Let them go on' }).click();
  await page.getByRole('button', { name: 'Stop all actions…' }).waitFor();
});

withPage('the palette does by name what keys do', {}, async (page, hob) => {
  await first(page).waitFor();
  await page.keyboard.press('/');
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox', { name: 'What to do' }).waitFor();
  await accessible(page);
  await page.screenshot({ path: `${OUT}palette.png` });
  await page.keyboard.type('ackn order 1');
  await page.getByRole('option', { selected: true }).getByText('hob issues acknowledge is-00001').waitFor();
  await page.keyboard.press('Enter');
  await until('it is acknowledged', () => call(hob, 'POST', '/v1/issues/is-00001/acknowledge'));
  await page.keyboard.press('Control+k');
  await page.keyboard.type('go to ev');
  await page.keyboard.press('Enter');
  await until('the page Events', () => new URL(page.url()).pathname === '/events');
});

withPage('selected text survives, and holds the list still', {}, async (page, hob) => {
  await first(page).waitFor();
  const text = await page.evaluate(() => {
    const link = document.querySelector('tr[data-id="is-00003"] [data-row]');
    getSelection().selectAllChildren(link);
    return getSelection().toString();
  });
  hob.change([{ id: 'is-00003', priority: 5 }, { id: 'is-00012', priority: 99 }]);
  await page.getByTestId('pending').waitFor();
  assert.equal(await page.evaluate(() => getSelection().toString()), text);
});

withPage(
  'an action that is refused says why and changes nothing',
  { allow: [STATUS], hob: { override: { '/v1/issues/is-00001/acknowledge': () => ({ problem: [403, 'A viewer may not do this', 'it needs the role operator'] }) } } },
  async (page) => {
    await first(page).waitFor();
    await page.keyboard.press('j');
    await page.keyboard.press('e');
    await page.getByText('A viewer may not do this: it needs the role operator').waitFor();
    await page.locator('tr[data-id="is-00001"]').getByText('open', { exact: true }).waitFor();
    await accessible(page);
  },
);

withPage('the filter is in the address, and an empty result can be cleared', { path: '/?q=rider&state=open' }, async (page) => {
  await first(page).waitFor();
  assert.ok((await titles(page)).every((title) => /rider/i.test(title)));
  await page.keyboard.press('/');
  await page.keyboard.type('nothing like this');
  await page.getByText('No issue matches the filter').waitFor();
  await page.getByRole('button', { name: 'Clear the filter' }).click();
  await until('all are back', async () => (await titles(page)).length === 12);
  assert.equal(new URL(page.url()).search, '');
});

withPage('a broken connection is said, made again, and resumed where it was', { allow: [STATUS] }, async (page, hob) => {
  await first(page).waitFor();
  hob.change([issue(1, { priority: 90 })]);
  await page.locator('tr[data-id="is-00001"]').getByText('90').waitFor();
  hob.state.down = true;
  hob.drop();
  await page.getByTestId('connection').getByText(/reconnecting \(\d+ s\)/).waitFor();
  await page.getByTestId('stale').waitFor();
  await page.screenshot({ path: `${OUT}reconnecting.png` });
  hob.state.issues = [issue(50, { priority: 97, title: 'Order 50 came meanwhile' }), ...hob.state.issues];
  hob.state.down = false;
  await page.getByTestId('connection').click();
  await page.getByTestId('connection').getByText('live').waitFor();
  await page.mouse.move(5, 5);
  await until('what came meanwhile is there', async () => (await titles(page))[0] === 'Order 50 came meanwhile');
  const resumed = hob.subscriptions.filter((frame) => frame.view === 'issues').at(-1);
  assert.ok(Number(resumed.cursor) >= 2, 'it resumes from a cursor');
});

withPage('a server that is killed while somebody watches comes back without a lost row', { allow: [STATUS] }, async (page, hob) => {
  await first(page).waitFor();
  await hob.close();
  await page.getByTestId('connection').getByText(/reconnecting/).waitFor();
  assert.equal((await titles(page)).length, 12, 'what was there stays readable');
  hob.state.issues = [...hob.state.issues.filter((each) => each.id !== 'is-00004'), ...[61, 62, 63].map((n) => issue(n, { priority: 94 }))];
  await hob.restart();
  await page.getByTestId('connection').getByText('live').waitFor({ timeout: 20_000 });
  const expected = hob.state.issues.map((each) => each.title).sort().join();
  await until('every row is there, and no other', async () => (await titles(page)).sort().join() === expected);
});

withPage('two tabs share one websocket, and each sees every change', {}, async (page, hob) => {
  await first(page).waitFor();
  const other = await page.context().newPage();
  await other.goto(hob.url('/?q=Order'));
  await first(other).waitFor();
  assert.equal(hob.sockets(), 1);
  assert.equal(hob.subscriptions.filter((frame) => frame.view === 'issues').length, 1, 'and each view is subscribed once');
  hob.change([issue(70, { priority: 99, title: 'Order 70 is new' })]);
  await Promise.all([page, other].map((each) => until('both see it', async () => (await titles(each))[0] === 'Order 70 is new')));
  await page.goto('about:blank');
  hob.change([issue(71, { priority: 100, title: 'Order 71 is new' })]);
  await until('the one that stays goes on', async () => (await titles(other))[0] === 'Order 71 is new');
  hob.drop();
  await other.getByTestId('connection').getByText(/reconnecting/).waitFor();
  await other.getByTestId('connection').getByText('live').waitFor();
  hob.change([issue(71, { priority: 3 })]);
  await until('also after a break', async () => (await titles(other))[0] === 'Order 70 is new');
  await other.close();
});

withPage('pause keeps the screen as it is', {}, async (page, hob) => {
  await first(page).waitFor();
  await page.keyboard.press('Space');
  await page.getByTestId('connection').getByText('paused').waitFor();
  hob.change([issue(60, { priority: 99, title: 'Order 60 is new' })]);
  hob.push('figures', [['placed', { value: 999 }]]);
  await page.waitForTimeout(600);
  assert.ok(!(await titles(page)).includes('Order 60 is new'));
  await page.keyboard.press('p');
  await until('all shows again', async () => (await titles(page))[0] === 'Order 60 is new');
  await page.getByText('999').waitFor();
});

withPage('500 issues come to the right order after 200 changes a second', { hob: { issues: Array.from({ length: 500 }, (_, n) => issue(n + 1)) } }, async (page, hob) => {
  await first(page).waitFor();
  assert.equal(await page.locator('table.rows').getAttribute('aria-rowcount'), '501');
  for (let n = 0; n < 40; n += 1) {
    hob.change(Array.from({ length: 10 }, (_, index) => ({ id: `is-${String(((n * 13 + index * 31) % 500) + 1).padStart(5, '0')}`, priority: (n * 7 + index * 11) % 100 })));
    await page.waitForTimeout(50);
  }
  const expected = hob.state.issues.toSorted((a, b) => b.priority - a.priority || a.opened.localeCompare(b.opened) || a.id.localeCompare(b.id));
  const top = expected.slice(0, 10).map((each) => each.title).join();
  await until('the last patch shows', async () => (await titles(page)).slice(0, 10).join() === top);
  await page.keyboard.press('j');
  for (let n = 0; n < 60; n += 1) await page.keyboard.press('ArrowDown');
  await until('the 61st has the focus', async () => (await page.evaluate(() => document.activeElement.textContent)) === expected[60].title);
  await page.screenshot({ path: `${OUT}many.png` });
});

withPage('another scope is asked for, and stays in the address', {}, async (page, hob) => {
  await first(page).waitFor();
  await page.getByLabel('Environment and tenant').selectOption('production/ie');
  await until('the address names it', () => new URL(page.url()).searchParams.get('tenant') === 'ie');
  await first(page).waitFor();
  await until('calls name it', () => hob.calls.some((call) => call.path === '/v1/issues' && call.query.tenant === 'ie'));
});

withPage('one live region says a summary', {}, async (page, hob) => {
  await first(page).waitFor();
  hob.change([issue(81, { priority: 91 }), issue(82, { priority: 87 })]);
  await until('the summary', async () => (await page.getByTestId('announcer').textContent()) === '2 new issues, highest 91');
  hob.change([issue(83, { priority: 92 })]);
  await page.waitForTimeout(700);
  assert.equal(await page.getByTestId('announcer').textContent(), '2 new issues, highest 91', 'at most every ten seconds');
});

withPage('evidence shows its values and the event behind it', { path: '/?issue=is-00001' }, async (page) => {
  await page.getByText(evidence(1)[0].text).waitFor();
  await page.getByText('event 4001').click();
  await page.getByText('"orders.create"').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('heading', { name: 'By rule' }).waitFor();
});
