// The page Nodes in a real browser, against a stand-in for the API.

import assert from 'node:assert/strict';
import { accessible, OUT, until } from './browser.mjs';
import { call, overflow, pageTests, said, STATUS } from './pages.mjs';

const withPage = pageTests('/nodes');

const row = (page, name) => page.locator(`tr[data-node="${name}"]`);

for (const width of [1440, 400]) {
  for (const scheme of ['light', 'dark']) {
    withPage(`all nodes and one of them, accessible at ${width} px, ${scheme}`, { width, scheme }, async (page) => {
      await row(page, 'local').getByText(/^[\d.]+ of 8 cores/).waitFor();
      await page.locator('tr[data-instance]').first().waitFor();
      await accessible(page);
      assert.equal(await overflow(page), 0, 'nothing sticks out sideways');
      await page.screenshot({ path: `${OUT}nodes-${width}-${scheme}.png`, fullPage: true });
      await row(page, 'local').getByRole('link').click();
      await page.getByText('Isolation that instances reach here').waitFor();
      await accessible(page);
      assert.equal(await overflow(page), 0, 'nothing sticks out sideways');
      await page.screenshot({ path: `${OUT}node-${width}-${scheme}.png`, fullPage: true });
    });
  }
}

withPage('how far each isolates, what is missing, and what is used', {}, async (page) => {
  await row(page, 'local').getByText('L2').waitFor();
  await row(page, 'local').getByText('cpu: no such controller').waitFor();
  await row(page, 'node-2').getByText('draining').waitFor();
  await row(page, 'node-3').getByText('lost').waitFor();
  const memory = page.getByRole('meter', { name: 'Memory of node-2' });
  assert.equal(await memory.getAttribute('aria-valuenow'), '86');
  await page.locator('.fill.warn').first().waitFor();
  await page.getByText(/^2\.[3-7] of 8 cores/).first().waitFor();
});

withPage('a crash loop shows its reason, its probes and its last lines', {}, async (page, hob) => {
  const loop = page.locator('[data-troubled="riders-web-3x7k2m9qz2"]');
  await loop.getByText('ended 4 ×').waitFor();
  await loop.getByText('last with status 101').waitFor();
  await loop.getByText('RIDERS_KEY is not set').waitFor();
  await loop.getByRole('button', { name: 'Last lines' }).click();
  await loop.getByText('could not read the rider').first().waitFor();
  assert.equal(hob.calls.findLast((each) => each.path === '/v1/logs').query.instance, 'riders-web-3x7k2m9qz2');
  await accessible(page);
  hob.push('instances', [['riders-web-3x7k2m9qz2', { state: 'ready', restarts: 0, reason: null }], ['riders-web-3x7k2m9qz1', { restarts: 0 }]]);
  await page.getByTestId('troubled').waitFor({ state: 'detached' });
});

withPage('what an instance uses is seen, and one is shot', {}, async (page, hob) => {
  const orders = page.locator('tr[data-instance="orders-web-3x7k2m9qz2"]');
  await orders.getByText('75 MiB').waitFor();
  hob.push('instances', [['orders-web-3x7k2m9qz2', { usage: { cpu_seconds: 30, memory_bytes: 90 * 1024 * 1024, pids: 12 } }]]);
  await orders.getByText('90 MiB').waitFor();
  await orders.getByText(/[\d.]+ cores/).waitFor();
  await orders.getByRole('button', { name: 'orders-web-3x7k2m9qz2', exact: true }).click();
  await page.getByText('127.0.0.1:40122').waitFor();
  await accessible(page);
  await orders.getByRole('button', { name: 'Shoot orders-web-3x7k2m9qz2' }).click();
  await page.getByText('1 other instance of web is ready and takes over').waitFor();
  await page.getByRole('button', { name: 'Shoot it' }).click();
  await until('the call is made', () => hob.calls.some((each) => each.path === '/v1/instances/orders-web-3x7k2m9qz2/shoot'));
});

withPage('a node is drained, activated again, and given up', { path: '/nodes/local' }, async (page, hob) => {
  await page.getByRole('button', { name: 'Drain…' }).click();
  await page.getByRole('dialog').getByText('There is no other node that takes instances').waitFor();
  await accessible(page);
  await page.getByRole('button', { name: 'Drain it' }).click();
  await said(page, 'local is drained');
  assert.deepEqual(call(hob, 'PATCH', '/v1/nodes/local').body, { state: 'draining' });
  await page.getByText('ordered by admin').waitFor();
  await page.getByRole('button', { name: 'Activate' }).click();
  await said(page, 'local takes instances again');
  assert.deepEqual(call(hob, 'PATCH', '/v1/nodes/local').body, { state: 'active' });
  await page.getByRole('button', { name: 'Give up…' }).click();
  await page.getByRole('dialog').getByText('it has a minute to end it').waitFor();
  await page.getByRole('button', { name: 'Give it up' }).click();
  await said(page, 'local is given up');
  assert.ok(call(hob, 'DELETE', '/v1/nodes/local'));
  await row(page, 'local').getByText('killed').waitFor();
});

withPage('who may not drain sees why', { path: '/nodes/local', hob: { override: { '/v1/me': () => ({ name: 'vi', role: 'viewer' }) } } }, async (page) => {
  await until('the button is off', () => page.getByRole('button', { name: 'Drain…' }).isDisabled());
  assert.match(await page.getByRole('button', { name: 'Drain…' }).getAttribute('title'), /an admin’s may do this/);
});

withPage('j and k walk through the nodes', {}, async (page) => {
  await row(page, 'local').waitFor();
  await page.keyboard.press('j');
  await until('the first', () => new URL(page.url()).pathname === '/nodes/local');
  await page.keyboard.press('j');
  await until('the second', () => new URL(page.url()).pathname === '/nodes/node-2');
  await page.keyboard.press('Escape');
  await until('all', () => new URL(page.url()).pathname === '/nodes');
});

withPage('a Hob without a list of nodes still shows its instances', { allow: [STATUS], hob: { override: { '/v1/nodes': () => ({ problem: [404, 'There is no such thing', ''] }) } } }, async (page, hob) => {
  await page.getByText('This Hob does not tell of its nodes').waitFor();
  await page.locator('tr[data-instance]').first().waitFor();
  const asked = hob.calls.filter((each) => each.path === '/v1/nodes').length;
  await page.waitForTimeout(2_500);
  assert.equal(hob.calls.filter((each) => each.path === '/v1/nodes').length, asked, 'it is not asked again');
});

withPage('agents of before, which tell nothing of themselves', { hob: { override: { '/v1/nodes': () => ({ items: [{ name: 'local', live: true, instances: 3, facts: { host: '', version: '', cores: 0, memory_bytes: 0, cgroups: '', confinement: { isolation: 'L0', limits: [], missing: [] } } }] }) } } }, async (page) => {
  await row(page, 'local').getByText('not told').waitFor();
  await row(page, 'local').getByRole('link').click();
  await page.getByText('does not tell what the machine is').waitFor();
  await page.getByRole('button', { name: 'Drain…' }).waitFor();
  await accessible(page);
});
