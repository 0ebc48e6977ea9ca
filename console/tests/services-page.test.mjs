// The page Services in a real browser, against a stand-in for the API.

import assert from 'node:assert/strict';
import { accessible, OUT, until } from './browser.mjs';
import { overflow, pageTests, STATUS } from './pages.mjs';

const withPage = pageTests('/services');

for (const width of [1440, 400]) {
  for (const scheme of ['light', 'dark']) {
    withPage(`all services and one of them, accessible at ${width} px, ${scheme}`, { width, scheme }, async (page) => {
      await page.locator('.u-over').first().waitFor();
      await page.locator('tr[data-instance]').first().waitFor();
      await page.getByText('order placed').first().waitFor();
      await accessible(page);
      await page.screenshot({ path: `${OUT}services-${width}-${scheme}.png`, fullPage: true });
      await page.locator('tr[data-service=orders] a').click();
      await page.getByRole('heading', { name: 'Releases' }).waitFor();
      await page.getByRole('button', { name: 'Roll back to release 6' }).waitFor();
      await page.locator('.u-over').first().waitFor();
      await accessible(page);
      assert.equal(await overflow(page), 0, 'nothing sticks out sideways');
      await page.screenshot({ path: `${OUT}service-${width}-${scheme}.png`, fullPage: true });
    });
  }
}

withPage('another number of instances is ordered, and left to Hob again', { path: '/services/orders' }, async (page, hob) => {
  const scale = page.getByTestId('scale');
  await scale.getByText('95 of 100 are ready within').waitFor();
  assert.equal(await scale.getByRole('button', { name: 'Leave it to Hob again' }).count(), 0);
  await scale.getByRole('button', { name: 'One web more' }).click();
  await scale.getByText('3 by hand, ordered by admin').waitFor();
  assert.deepEqual(hob.calls.findLast((call) => call.method === 'PUT').body, { web: 3 });
  await accessible(page);
  await scale.getByRole('button', { name: 'Leave it to Hob again' }).click();
  await until('it is as declared', async () => (await scale.getByText('as declared').count()) === 2);
});

withPage('a roll back is confirmed with what will happen', { path: '/services/orders' }, async (page, hob) => {
  await page.getByRole('button', { name: 'Roll back to release 6' }).click();
  const dialog = page.getByRole('dialog', { name: 'Roll orders back to release 6?' });
  await dialog.getByText('in standby').waitFor();
  await accessible(page);
  await page.screenshot({ path: `${OUT}rollback.png` });
  await page.keyboard.press('Escape');
  await until('the dialog is closed', async () => (await page.locator('dialog').count()) === 0);
  assert.ok(!hob.calls.some((call) => call.method === 'POST'), 'leaving the dialog does nothing');
  await page.getByRole('button', { name: 'Roll back to release 3' }).click();
  await page.getByText('Release 3 runs no more').waitFor();
  await page.getByRole('button', { name: 'Roll back to 3' }).click();
  await until('the call is made', () => hob.calls.find((call) => call.path === '/v1/services/orders/rollback')?.body.to === 3);
  await page.getByRole('region', { name: 'Messages' }).getByText('orders goes back to release 3').waitFor();
});

withPage('a shot is confirmed, and the new state shows', { path: '/services/orders' }, async (page, hob) => {
  await page.getByRole('button', { name: 'Shoot orders-web-3x7k2m9qz1' }).click();
  await page.getByText('1 other instance of web is ready and takes over').waitFor();
  await page.getByRole('button', { name: 'Shoot it' }).click();
  await until('the call is made', () => hob.calls.some((call) => call.path === '/v1/instances/orders-web-3x7k2m9qz1/shoot'));
  hob.push('instances', [['orders-web-3x7k2m9qz1', { state: 'starting', restarts: 1, reason: 'killed by signal 9' }]]);
  await page.getByText('killed by signal 9').waitFor();
  await page.getByText('1 of 2 ready').waitFor();
});

withPage(
  'a shot that is refused says why, in the dialog',
  { path: '/services/orders', allow: [STATUS], hob: { override: { '/v1/instances/orders-web-3x7k2m9qz1/shoot': () => ({ problem: [403, 'A viewer may not do this', ''] }) } } },
  async (page) => {
    await page.getByRole('button', { name: 'Shoot orders-web-3x7k2m9qz1' }).click();
    await page.getByRole('button', { name: 'Shoot it' }).click();
    await page.getByRole('dialog').getByText('A viewer may not do this').waitFor();
    await accessible(page);
  },
);

withPage('logs follow, pause, and are filtered by level and text in the address', { path: '/services/orders' }, async (page, hob) => {
  const lines = page.getByRole('region', { name: 'Log lines' });
  await lines.waitFor();
  const top = () => lines.locator('tbody time').first().getAttribute('datetime');
  const before = await top();
  await until('new lines come', async () => (await top()) !== before);
  await page.getByTestId('follow').click();
  const asked = hob.calls.filter((call) => call.path === '/v1/logs').length;
  await page.waitForTimeout(2_500);
  assert.equal(hob.calls.filter((call) => call.path === '/v1/logs').length, asked, 'paused');
  await page.getByLabel('Least level').selectOption('error');
  await until('only errors', async () => (await lines.locator('tbody tr:not(.error)').count()) === 0);
  assert.equal(new URL(page.url()).searchParams.get('level'), 'error');
  await page.keyboard.press('/');
  await page.getByLabel('Text in the logs').fill('nowhere');
  await page.getByText('No line matches.').waitFor();
  await page.getByRole('button', { name: 'Clear the filter' }).click();
  await lines.locator('summary').first().click();
  await page.getByText('took_ms').first().waitFor();
});

withPage('j and k walk through the services; the keyboard reaches each action', { path: '/services' }, async (page) => {
  await page.locator('tr[data-service=city]').waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await until('the second service', () => new URL(page.url()).pathname === '/services/dispatch');
  await page.keyboard.press('k');
  await until('the first service', () => new URL(page.url()).pathname === '/services/city');
  await page.keyboard.press('g');
  await page.keyboard.press('l');
  await until('the page Live', () => new URL(page.url()).pathname === '/');
  await page.goBack();
  await page.getByRole('button', { name: /^Shoot city/ }).first().waitFor();
  const reached = [];
  for (let n = 0; n < 60; n += 1) {
    await page.keyboard.press('Tab');
    reached.push(
      await page.evaluate(() => {
        const active = document.activeElement;
        if (!active || active === document.body) return '';
        const box = active.getBoundingClientRect();
        const seen = getComputedStyle(active).outlineStyle !== 'none' || active.matches('.skip');
        return seen && box.width > 0 ? (active.getAttribute('aria-label') ?? active.textContent.trim()) : `NOT SEEN: ${active.outerHTML.slice(0, 100)}`;
      }),
    );
  }
  assert.deepEqual(reached.filter((each) => each.startsWith('NOT SEEN')), []);
  for (const name of [/^Shoot city/, /^Roll back to release/, /^Pause$/]) assert.ok(reached.some((each) => name.test(each)), `${name} by Tab: ${reached}`);
});

withPage('loading, an empty platform, and no traffic have words', { hob: { services: [], instances: [], override: { '/v1/traffic': () => ({ items: [] }), '/v1/logs': () => ({ items: [] }) } } }, async (page) => {
  await page.getByText('No service is declared').waitFor();
  await page.getByText('No request came through a router').waitFor();
  await page.getByText('Nothing was logged yet.').waitFor();
  await accessible(page);
  await page.screenshot({ path: `${OUT}services-empty.png` });
});

withPage('errors of single parts leave the rest alone', { allow: [STATUS], hob: { override: { '/v1/traffic': () => ({ problem: [503, 'The metrics are not ready', ''] }) } } }, async (page) => {
  await page.getByText('The metrics are not ready').waitFor();
  await page.locator('tr[data-instance]').first().waitFor();
});
