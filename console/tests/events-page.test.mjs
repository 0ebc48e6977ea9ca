// The page Events in a real browser, against a stand-in for the API.

import assert from 'node:assert/strict';
import { accessible, OUT, until } from './browser.mjs';
import { overflow, pageTests } from './pages.mjs';

const STATUS = /status of (4|5)\d\d|WebSocket connection|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION/;
const withPage = pageTests('/events');

const rows = (page) => page.locator('tr[data-event]');
const sequences = (page) => rows(page).evaluateAll((all) => all.map((each) => each.dataset.event));
const sevens = (hob) => hob.state.bus.events.filter((each) => each.requestid === 'req-of-7');
const liveTail = (page) => page.getByTestId('tail').getByText('live', { exact: true }).waitFor();

for (const width of [1440, 400]) {
  for (const scheme of ['light', 'dark']) {
    withPage(`the log and one event of it, accessible at ${width} px, ${scheme}`, { width, scheme }, async (page, hob) => {
      await rows(page).first().waitFor();
      await page.locator('[data-topic=orders] polyline').waitFor();
      await accessible(page);
      await page.screenshot({ path: `${OUT}events-${width}-${scheme}.png` });
      const third = sevens(hob)[2];
      await page.locator(`tr[data-event="${third.sequence}"] [data-row]`).click();
      await page.getByRole('region', { name: 'History of /orders/7' }).locator('ol').getByText('picked_up').waitFor();
      await page.getByText('POST /orders 201 43.2 ms').waitFor();
      await page.getByText('Last state').click();
      await accessible(page);
      assert.equal(await overflow(page), 0, 'nothing sticks out sideways');
      await page.screenshot({ path: `${OUT}event-${width}-${scheme}.png`, fullPage: width === 400 });
    });
  }
}

withPage('what is published shows at once, newest first', {}, async (page, hob) => {
  await liveTail(page);
  const { sequence } = hob.publish({ subject: 'http://city.test/orders/4711', change: 'create', entityseq: 1 });
  await page.locator(`tr[data-event="${sequence}"]`).getByText('/orders/4711').waitFor();
  assert.equal((await sequences(page))[0], sequence);
});

withPage('older pages follow without loss or repeat while the log grows, and a broken stream resumes', { allow: [STATUS] }, async (page, hob) => {
  await liveTail(page);
  hob.publish();
  hob.breakStreams();
  hob.publish();
  for (;;) {
    hob.publish();
    await page.getByText('One moment…').waitFor({ state: 'detached' });
    const older = page.getByRole('button', { name: /^Older events/ });
    if ((await older.count()) === 0) break;
    await older.click();
  }
  const all = () => hob.state.bus.events.map((each) => each.sequence).reverse();
  await page.mouse.move(2, 2);
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('.');
  await until('everything is there once', async () => (await sequences(page)).join() === all().join());
  await page.getByText(/^That is the beginning: \d+ events in the log\./).waitFor();
});

withPage('a pause counts what is new; going on shows it', {}, async (page, hob) => {
  await liveTail(page);
  await page.getByTestId('pause').click();
  const before = await sequences(page);
  for (let n = 0; n < 3; n += 1) hob.publish();
  await page.getByTestId('waiting').getByText('3 new events').waitFor();
  await accessible(page);
  assert.deepEqual(await sequences(page), before, 'nothing moves');
  await page.keyboard.press('.');
  await until('they show', async () => (await sequences(page)).length === before.length + 3);
  await page.keyboard.press('p');
  await page.mouse.move(2, 2);
  await page.evaluate(() => document.activeElement.blur());
  const { sequence } = hob.publish();
  await page.locator(`tr[data-event="${sequence}"]`).waitFor();
});

withPage('rows hold still under an open event, and the new ones wait', {}, async (page, hob) => {
  await liveTail(page);
  await rows(page).nth(2).click();
  await page.getByRole('heading', { name: 'Its entity' }).waitFor();
  hob.publish();
  await page.getByTestId('waiting').getByText('1 new event', { exact: false }).waitFor();
  await page.keyboard.press('Escape');
  await until('the event is closed', () => new URL(page.url()).searchParams.get('event') === null);
});

withPage('filters stand in the address and come back with it', {}, async (page, hob) => {
  await rows(page).first().waitFor();
  await page.locator('[data-topic=orders]').click();
  await until('only orders', async () => (await page.locator('tr[data-event] .topic').allTextContents()).every((each) => each === 'orders'));
  await page.keyboard.press('/');
  await page.keyboard.type('/orders/7');
  await until('the whole href in the address', () => new URL(page.url()).searchParams.get('subject') === 'http://city.test/orders/7');
  await until('only its events', async () => (await sequences(page)).length === 4);
  await page.getByRole('region', { name: 'History of /orders/7' }).locator('ol').getByText('picked_up').waitFor();
  await page.reload();
  await until('the same after a reload', async () => (await sequences(page)).length === 4);
  assert.equal(await page.getByLabel('About').inputValue(), '/orders/7');
  hob.publish({ topic: 'rider.pings', type: 'ping' });
  const { sequence } = hob.publish({ entityseq: 5 });
  await page.locator(`tr[data-event="${sequence}"]`).waitFor();
  assert.equal((await sequences(page)).length, 5, 'what does not match does not come');
  await page.getByRole('button', { name: 'Clear' }).click();
  await until('everything again', async () => (await sequences(page)).length > 50);
});

withPage('a closed range is not followed', { path: '/events?to=2026-03-06T18:31:00.000Z' }, async (page, hob) => {
  await page.getByTestId('tail').getByText('a closed range').waitFor();
  assert.equal(await page.getByTestId('pause').count(), 0);
  assert.ok(!hob.calls.some((call) => call.path === '/v1/events' && call.query.order !== 'desc'));
});

withPage('an entity’s life tells what changed and when', {}, async (page, hob) => {
  const [, second] = sevens(hob);
  await page.goto(hob.url(`/events?event=${second.sequence}`));
  const life = page.getByRole('region', { name: 'History of /orders/7' });
  await life.getByText('4 events on orders, owned by orders').waitFor();
  assert.deepEqual((await life.locator('li .num:has-text("#")').allTextContents()).map((each) => each.trim()), ['#4', '#3', '#2', '#1']);
  await life.getByText('accepted').first().waitFor();
  assert.equal(await life.locator('li.here').getByText('#2').count(), 1);
  await life.locator('li').first().getByText('32 s later').waitFor();
  const next = sevens(hob).at(-1).sequence;
  await life.locator(`a[href*="event=${next}"]`).click();
  await until('another step is chosen', async () => (await life.locator('li.here').getByText('#4').count()) === 1);
});

withPage('everything that carries a request’s id stands on one line of time', { path: '/events?request_id=req-of-7' }, async (page) => {
  const trail = page.getByRole('region', { name: 'Request req-of-7' });
  await trail.getByText('POST /orders 201 43.2 ms').waitFor();
  const kinds = await trail.locator('li svg[role=img]').evaluateAll((all) => all.map((each) => each.getAttribute('aria-label')));
  assert.deepEqual(kinds.slice(0, 3), ['request', 'log line', 'event'], 'in the order in which they began');
  assert.equal(kinds.filter((each) => each === 'event').length, 4);
});

withPage('j, k, Enter and Escape walk through events; g e leads here', { path: '/' }, async (page) => {
  await page.keyboard.press('g');
  await page.keyboard.press('e');
  await rows(page).nth(3).waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  const [, second] = await sequences(page);
  await until('the second is open', () => new URL(page.url()).searchParams.get('event') === second);
  await page.keyboard.press('k');
  await until('the first is open', async () => new URL(page.url()).searchParams.get('event') === (await sequences(page))[0]);
  await page.keyboard.press('Escape');
  await until('none is open', () => new URL(page.url()).searchParams.get('event') === null);
});

withPage('an empty log, and no match, have words', { hob: { override: { '/v1/events': () => ({ items: [] }) } } }, async (page) => {
  await page.getByText('Nothing was published yet').waitFor();
  await accessible(page);
  await page.getByLabel('Type').fill('nowhere');
  await page.getByText('No event matches').waitFor();
});

withPage('a log that cannot be read says why', { allow: [STATUS], hob: { override: { '/v1/events': () => ({ problem: [503, 'The log is not ready', ''] }) } } }, async (page, hob) => {
  await page.getByText('The log is not ready').waitFor();
  delete hob.state.override['/v1/events'];
  await page.getByRole('button', { name: 'Try again' }).click();
  await rows(page).first().waitFor();
});
