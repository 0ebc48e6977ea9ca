// The page Deploys in a real browser, against a stand-in for the API.

import assert from 'node:assert/strict';
import { accessible, OUT, until } from './browser.mjs';
import { call, overflow, pageTests, said, STATUS } from './pages.mjs';

const withPage = pageTests('/deploys');

for (const width of [1440, 400]) {
  for (const scheme of ['light', 'dark']) {
    withPage(`all deploys and one service's, accessible at ${width} px, ${scheme}`, { width, scheme }, async (page) => {
      await page.locator('[data-moving=city] [data-phase=steps], [data-moving=city] [aria-current=step]').first().waitFor();
      await page.locator('[data-rollout=ro-rest]').getByText('a gate failed').waitFor();
      await accessible(page);
      assert.equal(await overflow(page), 0, 'nothing sticks out sideways');
      await page.screenshot({ path: `${OUT}deploys-${width}-${scheme}.png`, fullPage: true });
      await page.locator('[data-moving=city] a').click();
      await page.locator('[data-gate=latency]').waitFor();
      await accessible(page);
      assert.equal(await overflow(page), 0, 'nothing sticks out sideways');
      await page.screenshot({ path: `${OUT}deploy-${width}-${scheme}.png`, fullPage: true });
    });
  }
}

withPage('a rollout is followed state by state, until it is over', { path: '/deploys/city' }, async (page, hob) => {
  const rail = page.getByTestId('rollout').getByRole('list', { name: 'States' });
  await rail.locator('[data-phase=starting].done').waitFor();
  await rail.locator('[data-phase=stepping][aria-current=step]').waitFor();
  await rail.locator('[data-phase=baking].ahead').waitFor();
  await page.getByText('This step ends in').waitFor();
  await page.getByRole('img', { name: 'Requests: release 2: 75 %, release 3: 25 %' }).waitFor();
  const [before] = hob.state.ship.rollouts.city;
  const at = new Date().toISOString();
  hob.state.ship.rollouts.city = [{ ...before, state: 'baking', weight: 100, steps: [...before.steps, { state: 'routing', at }, { state: 'baking', at }], gates: before.gates.slice(0, 1) }];
  await rail.locator('[data-phase=baking][aria-current=step]').waitFor();
  await page.getByRole('img', { name: 'Requests: release 2: 0 %, release 3: 100 %' }).waitFor();
  await until('the gate that says nothing any more is gone', async () => (await page.locator('[data-gate]').count()) === 1);
  hob.state.ship.rollouts.city = [{ ...hob.state.ship.rollouts.city[0], state: 'complete', ended: new Date().toISOString(), deadline: undefined }];
  await page.getByText('It takes the requests.').waitFor();
  await until('none is ahead', async () => (await rail.locator('.ahead').count()) === 0);
});

withPage('what the gates saw stands in words and beside the release before', { path: '/deploys/city' }, async (page) => {
  const errors = page.locator('[data-gate=error_ratio]');
  await errors.getByText('passes').waitFor();
  await errors.getByText('0.2 % of 1,204 requests failed').waitFor();
  await errors.getByText('release 2').waitFor();
  const latency = page.locator('[data-gate=latency]');
  await latency.getByText('too little seen').waitFor();
  await latency.getByText('18 ms').waitFor();
  await page.getByText('variable CITY_SEED').waitFor();
});

withPage('it is held, sent on and sent back', { path: '/deploys/city' }, async (page, hob) => {
  await page.getByRole('button', { name: 'Hold', exact: true }).click();
  await said(page, 'The rollout of city holds');
  assert.deepEqual(call(hob, 'PATCH', '/v1/rollouts/ro-city').body, { wanted: 'hold' });
  await page.getByText('somebody asked for it').waitFor();
  await page.locator('[data-phase=stepping].held').waitFor();
  await page.getByRole('button', { name: 'Resume…' }).click();
  await page.getByRole('dialog').getByText('A gate that fails still sends it back').waitFor();
  await accessible(page);
  await page.getByRole('button', { name: 'Send it on' }).click();
  await said(page, 'The rollout of city goes on');
  assert.deepEqual(call(hob, 'PATCH', '/v1/rollouts/ro-city').body, { wanted: 'resume' });
  await page.getByRole('button', { name: 'Abort…' }).click();
  await page.getByRole('dialog').getByText('All requests go to release 2, which still runs').waitFor();
  await page.getByRole('button', { name: 'Send it back' }).click();
  await said(page, 'city goes back to release 2');
  await page.locator('[data-phase=stepping].failed').waitFor();
});

withPage('what is over may be rolled back, and the way back is followed', { path: '/deploys/orders' }, async (page, hob) => {
  await page.getByTestId('rollout').getByRole('button', { name: 'Roll back to 6…' }).click();
  await page.getByRole('dialog').getByText('it still runs').waitFor();
  await page.getByRole('button', { name: 'Roll back to 6', exact: true }).click();
  await said(page, 'orders goes back to release 6');
  assert.deepEqual(call(hob, 'POST', '/v1/services/orders/rollback').body, { to: 6 });
  await page.getByRole('heading', { name: 'Rollback from release 7 to release 6' }).waitFor();
  await page.locator('[data-phase=routing][aria-current=step]').waitFor();
});

withPage('older rollouts are seen with why they failed', { path: '/deploys/orders' }, async (page) => {
  await page.locator('[data-rollout=ro-00] a').click();
  await page.getByTestId('rollout').getByText('could not open the database').waitFor();
  await page.locator('[data-phase=starting].failed').waitFor();
  assert.equal(new URL(page.url()).searchParams.get('rollout'), 'ro-00');
});

withPage('a release is named, which pins it, and loses its name again', { path: '/deploys/orders' }, async (page, hob) => {
  const releases = page.getByRole('region', { name: 'Releases' });
  await releases.getByText('before-the-sale').waitFor();
  await releases.getByText('from qa').waitFor();
  await page.getByRole('button', { name: 'Name release 7' }).click();
  await page.getByRole('dialog').getByText('stays on every node').waitFor();
  await page.getByRole('textbox', { name: 'Name' }).fill('calm-friday');
  await page.getByRole('button', { name: 'Name it' }).click();
  await said(page, 'Release 7 of orders is called calm-friday');
  assert.deepEqual(call(hob, 'PUT', '/v1/services/orders/releases/7/name').body, { name: 'calm-friday' });
  await releases.getByText('calm-friday').waitFor();
  await page.getByRole('button', { name: 'Name release 7' }).click();
  await page.getByRole('textbox', { name: 'Name' }).fill('');
  await page.getByRole('button', { name: 'Take the name away' }).click();
  await said(page, 'has no name any more');
});

withPage('an order that is refused says why, in the dialog', { path: '/deploys/city', allow: [STATUS], hob: { override: { '/v1/rollouts/ro-city': () => ({ problem: [409, 'The rollout is over', 'it failed a moment ago'] }) } } }, async (page) => {
  await page.getByRole('button', { name: 'Abort…' }).click();
  await page.getByRole('button', { name: 'Send it back' }).click();
  await page.getByRole('alert').getByText('The rollout is over').waitFor();
});

withPage('j and k walk through the services', {}, async (page) => {
  await page.locator('tr[data-service=city]').waitFor();
  await page.keyboard.press('j');
  await until('the first service', () => new URL(page.url()).pathname === '/deploys/city');
  await page.keyboard.press('Escape');
  await until('all of them', () => new URL(page.url()).pathname === '/deploys');
  await page.keyboard.press('g');
  await page.keyboard.press('n');
  await until('the page Nodes', () => new URL(page.url()).pathname === '/nodes');
});

withPage('nothing deployed, and nothing known, have words', { hob: { services: [] } }, async (page) => {
  await page.getByText('No service is declared').waitFor();
  await page.getByText('Nothing was deployed yet').waitFor();
  await accessible(page);
});

withPage('rollouts that cannot be read say why', { allow: [STATUS], hob: { override: { '/v1/services/orders/rollouts': () => ({ problem: [503, 'The core is starting', ''] }) } } }, async (page) => {
  await page.getByText('The core is starting').waitFor();
  await page.getByRole('button', { name: 'Try again' }).waitFor();
});
