// The page Rules in a real browser, against a stand-in for the API.

import assert from 'node:assert/strict';
import { accessible, OUT, until } from './browser.mjs';
import { call, overflow, pageTests, STATUS } from './pages.mjs';

const withPage = pageTests('/rules');
const ONE = '/rules/order-unassigned';

for (const width of [1440, 400]) {
  for (const scheme of ['light', 'dark']) {
    withPage(`all rules, and one with its file and a back-test, accessible at ${width} px, ${scheme}`, { width, scheme }, async (page) => {
      await page.locator('[data-rule=rider-stopped]').waitFor();
      await accessible(page);
      assert.equal(await overflow(page), 0, 'nothing sticks out sideways');
      await page.screenshot({ path: `${OUT}rules-${width}-${scheme}.png` });
      await page.locator('[data-rule=order-unassigned] a.whole').click();
      await page.getByTestId('checked').getByText('nothing wrong').waitFor();
      await page.getByLabel('sweep').fill('for=3m,5m,8m');
      await page.getByRole('button', { name: 'Run it' }).click();
      await page.getByTestId('sweep').waitFor();
      await accessible(page);
      assert.equal(await overflow(page), 0, 'nothing sticks out sideways');
      await page.screenshot({ path: `${OUT}rule-${width}-${scheme}.png`, fullPage: true });
    });
  }
}

withPage('how each does: precision, noise, last fired, cost; what cannot tell comes first and says why', {}, async (page) => {
  const row = page.locator('[data-rule=rider-stopped]');
  await row.getByText('reads a field that no observation had').waitFor();
  await row.getByText('75 %').waitFor();
  await row.getByText('5.1 a day').waitFor();
  await row.getByText('4.7 µs').waitFor();
  await row.getByText(/2[01] min ago/).waitFor();
  assert.equal(await page.locator('tbody tr').first().getAttribute('data-rule'), 'rider-stopped');
  await page.locator('[data-rule=zone-short-of-riders]').getByText('disabled').waitFor();
});

withPage('what runs in shadow stands beside what is in force', { path: ONE }, async (page) => {
  await page.getByRole('region', { name: 'order-unassigned, enabled' }).getByText('53 %').waitFor();
  await page.getByRole('region', { name: 'order-unassigned-shadow, shadow' }).getByText('71 %').waitFor();
});

withPage('what is wrong in a file stands at its place, and one comes to it', { path: ONE }, async (page, hob) => {
  const text = page.getByRole('textbox', { name: 'The text of rules/orders.yml' });
  await text.press('Control+End');
  await page.keyboard.type('prioritty: 4');
  await page.getByTestId('checked').getByText('1 flaw').waitFor();
  await page.locator('.line.wrong', { hasText: 'prioritty' }).getByText('unknown key `prioritty`').waitFor();
  await page.getByText('did you mean `priority`?').waitFor();
  await accessible(page);
  assert.equal(call(hob, 'POST', '/v1/rules/check').body.file, 'rules/orders.yml');
  await page.getByRole('button', { name: '10:1' }).click();
  assert.equal(await text.evaluate((area) => area.value.slice(area.selectionStart, area.selectionStart + 9)), 'prioritty');
  await page.getByRole('button', { name: 'As declared' }).click();
  await page.getByTestId('checked').getByText('nothing wrong').waitFor();
});

withPage('a back-test says what the text would have done, against the one in force, and what it cannot know', { path: ONE }, async (page, hob) => {
  await page.getByTestId('checked').getByText('nothing wrong').waitFor();
  await page.getByLabel('over the last').selectOption('3d');
  await page.getByLabel('sweep').fill('for=3m,5m,8m');
  await page.getByRole('button', { name: 'Run it' }).click();
  await page.getByText('how these would have ended is not known').waitFor();
  const asked = call(hob, 'POST', '/v1/rules/backtest').body;
  assert.equal(asked.since, '3d');
  assert.equal(asked.sweep, 'for=3m,5m,8m');
  assert.match(asked.text, /rule: order-unassigned/);
  await page.getByText('6 extra, 11 missed').waitFor();
  await page.getByRole('row', { name: /for=8m/ }).getByText('58').waitFor();
  assert.equal(await page.getByTestId('sweep').locator('svg circle').count(), 6, 'two lines of three values');
  await page.getByText('23, 11 badly').waitFor();
  await page.getByText('294 of them unacceptable').waitFor();
  await page.getByText('what led to it').click();
  await page.getByText('it was 8 minutes after order.dispatchable_at').waitFor();
  await accessible(page);
  await page.getByRole('link', { name: '/orders/12 then' }).click();
  await page.getByText('As it was at').waitFor();
});

withPage('a back-test that is refused says why', { path: ONE, allow: [STATUS], hob: { override: { '/v1/rules/backtest': () => ({ problem: [422, 'The rule cannot be run', 'orders.yml:4:11: there is no field `stat`'] }) } } }, async (page) => {
  await page.getByTestId('checked').getByText('nothing wrong').waitFor();
  await page.getByRole('button', { name: 'Run it' }).click();
  await page.getByText('orders.yml:4:11: there is no field `stat`').waitFor();
});

withPage('j, k and Escape walk; g w leads here', { path: '/' }, async (page) => {
  await page.keyboard.press('g');
  await page.keyboard.press('w');
  await page.locator('[data-rule=rider-stopped]').waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await until('a rule is open', () => /^\/rules\/\w/.test(new URL(page.url()).pathname));
  const name = new URL(page.url()).pathname.split('/').at(-1);
  await page.getByRole('heading', { name, exact: true }).waitFor();
  await page.keyboard.press('Escape');
  await until('the focus is where it was', async () => (await page.evaluate(() => document.activeElement.textContent)) === name);
});

withPage('no rule, and what cannot be read, have words', { allow: [STATUS], hob: { rules: [] } }, async (page, hob) => {
  await page.getByText('No rule is declared').waitFor();
  hob.state.override['/v1/rules'] = () => ({ problem: [503, 'The engine is starting', ''] });
  await page.reload();
  await page.getByText('The engine is starting').waitFor();
});
