// The page History in a real browser, against a stand-in for the API.

import assert from 'node:assert/strict';
import { accessible, OUT, until } from './browser.mjs';
import { issue, NOON } from './fixture.mjs';
import { call, overflow, pageTests, STATUS } from './pages.mjs';

const withPage = pageTests('/history');
const REASONS = ['Fixed', 'the rule is false again', 'Customer told', 'expired'];
const at = (seconds) => new Date(NOON - seconds * 1000).toISOString();
/** Issues that ended one after the other, each fifth a false alarm. */
const ended = (count) =>
  Array.from({ length: count }, (_, n) =>
    issue(900 + n, {
      state: 'resolved', opened: at(n * 260 + 700), resolved: at(n * 260), resolution: REASONS[n % 4],
      ...(n % 3 ? { acknowledged: at(n * 260 + 580), assignee: 'ada' } : {}), ...(n % 5 === 1 ? { label: 'false-alarm' } : {}),
    }));
const hob = { resolved: ended(460) };
const rows = (page) => page.locator('tbody tr[data-id]');

for (const width of [1440, 400]) {
  for (const scheme of ['light', 'dark']) {
    withPage(`days and issues, accessible at ${width} px, ${scheme}`, { width, scheme, hob: { resolved: ended(30) } }, async (page) => {
      await rows(page).first().waitFor();
      await page.getByTestId('days').getByText('Investigations').first().waitFor();
      await accessible(page);
      assert.equal(await overflow(page), 0, 'nothing sticks out sideways');
      await page.screenshot({ path: `${OUT}history-${width}-${scheme}.png` });
    });
  }
}

withPage('the days together, and each of them in a table for those who cannot see a chart', { hob }, async (page) => {
  const strip = page.getByRole('region', { name: 'The days together' });
  await strip.getByText('investigations per order').waitFor();
  await strip.getByText('order unacceptable').waitFor();
  const days = page.getByTestId('days');
  assert.equal(await days.locator('table', { has: page.getByText('How they ended') }).locator('tbody tr').count(), 24);
  await days.locator('svg').first().hover({ position: { x: 200, y: 60 } });
  await days.locator('rect.here').waitFor();
});

withPage('searching by text, rule, label and day stands in the address', { hob }, async (page, hob) => {
  await rows(page).first().waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('Customer told');
  await until('it is asked for', () => call(hob, 'GET', '/v1/issues')?.query.q === 'Customer told');
  await until('only those', async () => (await rows(page).allTextContents()).every((text) => text.includes('Customer told')));
  await page.getByRole('combobox', { name: 'Rule' }).selectOption('rider-stopped');
  await page.getByLabel('false alarms').check();
  await page.getByLabel('from').fill('2026-03-06');
  await page.getByLabel('to', { exact: true }).fill('2026-03-06');
  await until('all of it', () => {
    const { query } = call(hob, 'GET', '/v1/issues');
    return query.rule === 'rider-stopped' && query.label === 'false-alarm' && query.since === '2026-03-06T00:00:00Z' && query.until === '2026-03-07T00:00:00.000Z' && query.state === 'resolved';
  });
  await page.reload();
  await until('still', () => call(hob, 'GET', '/v1/issues').query.label === 'false-alarm');
  await page.getByRole('button', { name: 'Clear' }).click();
  await until('everything again', () => new URL(page.url()).search === '');
});

withPage('earlier ones come without loss or repeat', { hob }, async (page) => {
  await rows(page).first().waitFor();
  for (let count = 200; count < 460; count = await rows(page).count()) {
    await page.getByRole('button', { name: 'Earlier issues' }).click();
    await until('more', async () => (await rows(page).count()) > count);
  }
  const ids = await rows(page).evaluateAll((all) => all.map((each) => each.dataset.id));
  assert.equal(new Set(ids).size, 460);
  assert.equal(await page.getByRole('button', { name: 'Earlier issues' }).count(), 0);
});

withPage('an issue leads to its whole; j, k and Enter walk; g h leads here', { path: '/', hob: { resolved: ended(5) } }, async (page) => {
  await page.locator('tr[data-id]').first().waitFor();
  await page.keyboard.press('g');
  await page.keyboard.press('h');
  await page.getByText('Why it ended').waitFor();
  await rows(page).nth(2).waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await until('the second is open on the board', () => new URL(page.url()).searchParams.get('issue') === 'is-00901');
  await page.getByRole('button', { name: 'Open again' }).waitFor();
});

withPage('what was done, by whose wish and with what result, is told on request', { hob: { resolved: ended(3) } }, async (page, hob) => {
  await rows(page).first().waitFor();
  assert.equal(call(hob, 'GET', '/v1/actions'), undefined);
  await page.getByText('What was done about issues').click();
  await page.locator('tr[data-action=ac-2]').getByText('rule/restaurant-running-late, approved by ada').waitFor();
  await page.locator('tr[data-action=ac-1]').getByText('failed').waitFor();
  await accessible(page);
  await page.locator('tr[data-action=ac-2] a.whole').click();
  await until('its issue', () => new URL(page.url()).searchParams.get('issue') === 'is-00003');
});

withPage('nothing yet, no match, and what cannot be read have words', { allow: [STATUS], hob: { resolved: [], days: [] } }, async (page, hob) => {
  await page.getByText('No issue ended yet').waitFor();
  await page.getByPlaceholder('Title, reason or note').fill('nowhere');
  await page.getByText('No issue matches').waitFor();
  hob.state.override['/v1/issues'] = () => ({ problem: [503, 'The engine is starting', ''] });
  await page.reload();
  await page.getByText('The engine is starting').waitFor();
});
