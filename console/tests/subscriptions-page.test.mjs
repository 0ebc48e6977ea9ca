// The page Subscriptions in a real browser, against a stand-in for the API.

import assert from 'node:assert/strict';
import { accessible, OUT, until } from './browser.mjs';
import { busState } from './fixture-bus.mjs';
import { call, overflow, pageTests, said, STATUS } from './pages.mjs';

const EMAILS = '/subscriptions/mailer/orders.emails';
const withPage = pageTests('/subscriptions');

const row = (page, key) => page.locator(`tr[data-subscription="${key}"]`);

for (const width of [1440, 400]) {
  for (const scheme of ['light', 'dark']) {
    withPage(`all subscriptions and one of them, accessible at ${width} px, ${scheme}`, { width, scheme }, async (page) => {
      await row(page, 'mailer/orders.emails').waitFor();
      if (width > 1000) await page.locator('tr polyline').first().waitFor();
      await accessible(page);
      assert.equal(await overflow(page), 0, 'nothing sticks out sideways');
      await page.screenshot({ path: `${OUT}subscriptions-${width}-${scheme}.png`, fullPage: true });
      await row(page, 'mailer/orders.emails').getByRole('link').click();
      await page.locator('.u-over').first().waitFor();
      await page.locator('tr[data-letter]').first().waitFor();
      await accessible(page);
      assert.equal(await overflow(page), 0, 'nothing sticks out sideways');
      await page.screenshot({ path: `${OUT}subscription-${width}-${scheme}.png`, fullPage: true });
    });
  }
}

withPage('those that wait stand first, with the reason', {}, async (page) => {
  await row(page, 'warehouse/warehouse.export').getByText('nobody pulled for 26 h').waitFor();
  const order = await page.locator('tr[data-subscription]').evaluateAll((all) => all.map((each) => each.dataset.subscription));
  assert.deepEqual(order, ['mailer/orders.emails', 'warehouse/warehouse.export', 'storefront/storefront.cache', 'dispatch/dispatch.cache', 'ledger/ledger.entries']);
  await row(page, 'mailer/orders.emails').getByText(/in 4\d s|in 3\d s/).waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('ledger');
  await until('only one is left', async () => (await page.locator('tr[data-subscription]').count()) === 1);
});

withPage('why it waits is said in plain words', { path: EMAILS }, async (page) => {
  const why = page.getByTestId('why');
  await why.getByText('Its endpoint fails').waitFor();
  await why.getByText('failed 8 times in a row').waitFor();
  await why.getByText(/Next attempt in \d+ s\./).waitFor();
  await page.getByRole('region', { name: 'How it is set up' }).getByText('no such template').waitFor();
});

withPage('it is paused for a while, and resumed', { path: '/subscriptions/ledger/ledger.entries' }, async (page, hob) => {
  await page.getByRole('button', { name: 'Pause…' }).click();
  await page.getByRole('dialog').getByText('Nothing is lost').waitFor();
  await accessible(page);
  await page.getByLabel('How long').selectOption({ label: 'for 1 hour' });
  await page.getByRole('button', { name: 'Pause it' }).click();
  await said(page, 'ledger.entries is paused until');
  const { body, query } = call(hob, 'PATCH', '/v1/subscriptions/ledger.entries');
  assert.equal(body.state, 'paused');
  assert.ok(Math.abs(Date.parse(body.until) - Date.now() - 3_600_000) < 60_000);
  assert.equal(query.service, 'ledger');
  await page.getByTestId('why').getByText('It is paused').waitFor();
  await page.getByRole('button', { name: 'Resume' }).click();
  await said(page, 'ledger.entries goes on');
  await page.getByTestId('why').waitFor({ state: 'detached' });
});

withPage('before the cursor moves it is said what will happen', { path: EMAILS }, async (page, hob) => {
  await page.getByRole('button', { name: 'Move cursor…' }).click();
  const effect = page.getByTestId('effect');
  await effect.getByText('1,288 events').waitFor();
  await effect.getByText('never see them').waitFor();
  await page.getByLabel('To the oldest event kept').check();
  const again = hob.state.bus.events.filter((each) => each.topic === 'orders' && Number(each.sequence) <= 230).length;
  await effect.getByText(`${again} events`).waitFor();
  await effect.getByText('handed out again').waitFor();
  await accessible(page);
  await page.screenshot({ path: `${OUT}seek.png` });
  await page.getByLabel('After an event’s id').check();
  await effect.getByText('Say where.').waitFor();
  assert.ok(await page.getByRole('button', { name: 'Move it' }).isDisabled());
  await page.getByLabel('Event id').fill('nowhere');
  await effect.getByText('There is no such place').waitFor();
  await page.getByLabel('After a sequence').check();
  await page.getByLabel('Sequence', { exact: true }).fill('228');
  await effect.getByText('handed out again').waitFor();
  await page.getByRole('button', { name: 'Move it' }).click();
  await said(page, 'The cursor of orders.emails was moved');
  assert.deepEqual(call(hob, 'PUT', '/v1/subscriptions/orders.emails/cursor').body, { at: 'seq:228' });
});

withPage('dead letters are replayed and dropped, one or all', { path: EMAILS }, async (page, hob) => {
  const letters = page.locator('tr[data-letter]');
  await letters.first().getByText('no such template').waitFor();
  await page.getByRole('button', { name: 'Replay 181' }).click();
  await said(page, '1 dead letter on the way once more');
  await letters.first().getByText('replaying').waitFor();
  await page.getByRole('button', { name: 'Drop 160' }).click();
  await page.getByRole('dialog').getByText('cannot be taken back').waitFor();
  await accessible(page);
  await page.getByRole('button', { name: 'Drop it' }).click();
  await until('one is left', async () => (await letters.count()) === 1);
  await page.getByRole('button', { name: 'Replay all' }).click();
  await page.getByRole('button', { name: 'Replay them' }).click();
  await until('all are meant', () => hob.calls.filter((each) => each.path.endsWith('/replay')).length === 2);
  assert.deepEqual(hob.calls.filter((each) => each.path.endsWith('/replay')).map((each) => each.body), [{ ids: ['00000000000000000181'] }, {}]);
});

withPage('a snapshot and a new secret, which is shown once', { path: EMAILS }, async (page) => {
  await page.getByRole('button', { name: 'Snapshot…' }).click();
  await page.getByRole('button', { name: 'Send it' }).click();
  await said(page, '412 entities will be told of');
  await page.getByRole('button', { name: 'Rotate secret…' }).click();
  await page.getByRole('button', { name: 'Rotate it' }).click();
  assert.match(await page.getByTestId('secret').textContent(), /^whsec_/);
  await accessible(page);
  await page.keyboard.press('Escape');
  await until('it is gone', async () => (await page.getByTestId('secret').count()) === 0);
});

withPage('a viewer sees everything and is told who may act', { path: EMAILS, hob: { bus: { ...busState(), role: 'viewer' } } }, async (page) => {
  await page.getByRole('button', { name: 'Pause…' }).and(page.locator(':disabled')).waitFor();
  assert.match(await page.getByRole('button', { name: 'Pause…' }).getAttribute('title'), /viewer/);
  assert.ok(await page.getByRole('button', { name: 'Replay all' }).isDisabled());
});

withPage('a refusal stands in the dialog', { path: EMAILS, allow: [STATUS], hob: { override: { '/v1/subscriptions/orders.emails': () => ({ problem: [409, 'It was changed meanwhile', ''] }) } } }, async (page) => {
  await page.getByRole('button', { name: 'Pause…' }).click();
  await page.getByRole('button', { name: 'Pause it' }).click();
  await page.getByRole('dialog').getByText('It was changed meanwhile').waitFor();
});

withPage('j and k walk through subscriptions; g u leads here', { path: '/' }, async (page) => {
  await page.keyboard.press('g');
  await page.keyboard.press('u');
  await row(page, 'mailer/orders.emails').waitFor();
  await page.keyboard.press('j');
  await until('the first', () => new URL(page.url()).pathname === EMAILS);
  await page.keyboard.press('j');
  await until('the second', () => new URL(page.url()).pathname === '/subscriptions/warehouse/warehouse.export');
  await page.keyboard.press('Escape');
  await until('all', () => new URL(page.url()).pathname === '/subscriptions');
});

withPage('none, and a wrong name, have words', { hob: { override: { '/v1/subscriptions': () => ({ items: [] }) } } }, async (page) => {
  await page.getByText('Nobody has subscribed yet').waitFor();
  await accessible(page);
});

withPage('a wrong name has words', { path: '/subscriptions/mailer/nothing' }, async (page) => {
  await page.getByText('There is no subscription mailer/nothing here').waitFor();
});

withPage('what cannot be read says why', { allow: [STATUS], hob: { override: { '/v1/subscriptions': () => ({ problem: [503, 'The bus is not ready', ''] }) } } }, async (page, hob) => {
  await page.getByText('The bus is not ready').waitFor();
  delete hob.state.override['/v1/subscriptions'];
  await page.getByRole('button', { name: 'Try again' }).click();
  await row(page, 'mailer/orders.emails').waitFor();
});
