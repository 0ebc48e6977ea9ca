// The page Router in a real browser, against a stand-in for the API.

import assert from 'node:assert/strict';
import { accessible, OUT, until } from './browser.mjs';
import { call, overflow, pageTests, said, STATUS } from './pages.mjs';

const withPage = pageTests('/router');

const route = (page, key) => page.locator(`tr[data-route="${key}"]`);

for (const width of [1440, 400]) {
  for (const scheme of ['light', 'dark']) {
    withPage(`routes, routers and what holds them up, accessible at ${width} px, ${scheme}`, { width, scheme }, async (page) => {
      await route(page, '/orders uk').waitFor();
      await page.locator('[data-router=router-2]').waitFor();
      await accessible(page);
      assert.equal(await overflow(page), 0, 'nothing sticks out sideways');
      await page.screenshot({ path: `${OUT}router-${width}-${scheme}.png`, fullPage: true });
    });
  }
}

withPage('what is held, refused and ejected, and why', {}, async (page) => {
  const stopped = page.getByTestId('stopped');
  await stopped.locator('[data-held="restaurants.production.uk"]').getByText('held by order of ada').waitFor();
  await stopped.locator('[data-held="reports.production.uk"]').getByText('one is started').waitFor();
  await stopped.locator('[data-limited=rate]').getByText('412').waitFor();
  await stopped.locator('[data-limited=slow]').getByText('the client sent too slowly').waitFor();
  await stopped.locator('[data-ejected="riders-web-3x7k2m9qz2"]').getByText('5 answers in a row were 503').waitFor();
  await page.locator('[data-router=router-2]').getByText('behind').waitFor();
  await route(page, 'city.test/ uk').getByRole('img', { name: 'Requests: release 2: 75 %, release 3: 25 %' }).waitFor();
  await route(page, '/riders uk').getByRole('img', { name: '2 instances, 1 ejected' }).waitFor();
  await route(page, '/reports uk').getByText('scaled to zero').waitFor();
});

withPage('requests are held, and let go again', {}, async (page, hob) => {
  await page.getByRole('button', { name: 'Hold requests…' }).click();
  await page.getByLabel('Service').selectOption('orders');
  await page.getByLabel('At and below the path').fill('orders');
  await page.getByText('A path begins with /.').waitFor();
  await until('it cannot be ordered', () => page.getByRole('button', { name: 'Hold them' }).isDisabled());
  await page.getByLabel('At and below the path').fill('/orders/history');
  await page.getByTestId('about').getByText('orders at /orders/history of uk in production').waitFor();
  await accessible(page);
  await page.screenshot({ path: `${OUT}hold.png` });
  await page.getByRole('button', { name: 'Hold them' }).click();
  await said(page, 'Held: orders at /orders/history of uk in production');
  const id = 'hold-orders-orders-history-production-uk';
  assert.deepEqual(call(hob, 'PUT', `/v1/shields/${id}`).body, { does: 'hold', max_ms: 30_000, service: 'orders', path: '/orders/history', environment: 'production', tenant: 'uk' });
  await page.locator(`[data-shield="${id}"]`).getByRole('button', { name: /^Lift/ }).click();
  await said(page, 'Requests flow again');
  assert.ok(call(hob, 'DELETE', `/v1/shields/${id}`));
  await page.locator(`[data-shield="${id}"]`).waitFor({ state: 'detached' });
});

withPage('a maintenance page for everybody', {}, async (page, hob) => {
  await page.getByRole('button', { name: 'Maintenance page…' }).click();
  await page.getByLabel('Service').selectOption('every service');
  await page.getByLabel('What people read').fill('Back at noon.');
  await page.getByLabel('In every environment').check();
  await page.getByTestId('about').getByText('every service').waitFor();
  await page.getByRole('button', { name: 'Show it' }).click();
  await said(page, 'Under maintenance: every service');
  assert.deepEqual(call(hob, 'PUT', '/v1/shields/maintenance-all').body, { does: 'maintenance', message: 'Back at noon.', retry_after: 1_800 });
});

withPage('routes are filtered, and those of other tenants shown', {}, async (page) => {
  await route(page, '/orders uk').waitFor();
  assert.equal(await route(page, '/orders ie').count(), 0);
  await page.getByRole('button', { name: '1 route of others' }).click();
  await route(page, '/orders ie').getByText('production / ie').waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('orders');
  await until('only those', async () => (await page.locator('tr[data-route]').count()) === 2);
  await page.keyboard.type('zzz');
  await page.getByText('No route matches the filter').waitFor();
});

const none = () => ({ problem: [404, 'There is no such thing', ''] });
withPage('a Hob that tells of nothing says so', { allow: [STATUS], hob: { override: { '/v1/routers': none, '/v1/routes': none, '/v1/shields': none } } }, async (page) => {
  await page.getByText('This Hob does not tell of its routers').waitFor();
  await accessible(page);
});

withPage('a part that is missing is left out', { allow: [STATUS], hob: { override: { '/v1/shields': none } } }, async (page) => {
  await page.getByText('This Hob does not tell of hold and maintenance yet').waitFor();
  await route(page, '/orders uk').waitFor();
  assert.equal(await page.getByTestId('shields').count(), 0);
});

withPage('all is well, and nothing is there, have words', { hob: { override: { '/v1/routers': () => ({ items: [] }), '/v1/routes': () => ({ items: [] }), '/v1/shields': () => ({ items: [] }) } } }, async (page) => {
  await page.getByText('Nothing is held back').waitFor();
  await page.getByText('Every request gets through').waitFor();
  await page.getByText('No route leads anywhere yet').waitFor();
  await page.getByText('No router has reported').waitFor();
  await accessible(page);
});
