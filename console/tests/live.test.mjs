// The console of a running Hob: HOB_CONSOLE_URL is the address that `hob up` prints, with the token in its fragment.

import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';
import { accessible, launch, missing, open, OUT, until } from './browser.mjs';

const address = process.env.HOB_CONSOLE_URL;
const skip = missing() ?? (address ? undefined : 'HOB_CONSOLE_URL is not set: no running Hob to look at');
if (skip) console.log(`SKIPPED: ${skip}`);
/** Until orders flow and a rule finds something. */
const FLOWS = 120_000;
/** An issue may end by itself between the look and the click; then the next one is tried. */
const ATTEMPTS = 5;

test('a running Hob shows what happens, takes an acknowledgement, and shows its services', { skip, timeout: 2 * FLOWS + 60_000 }, async () => {
  const browser = await launch();
  try {
    const { page, close } = await open(browser, address, { allow: [/status of (404|409)/] });
    await page.getByTestId('connection').getByText('live').waitFor();
    const figures = () => page.locator('[data-figure] .value').allTextContents();
    await until('figures stand on the strip', async () => (await figures()).length > 0, FLOWS);
    const before = (await figures()).join();
    await until('a figure changes by itself', async () => (await figures()).join() !== before, FLOWS);
    console.log(`figures went from ${before} to ${(await figures()).join()}`);

    const rows = page.locator('tr[data-id]');
    await until('issues, or the word that there are none', async () => (await rows.count()) > 0 || (await page.getByText('No open issues').count()) > 0);
    if ((await rows.count()) > 0) await acknowledgeFirst(page, rows);
    else console.log('no issue is open: nothing to acknowledge');
    await accessible(page);
    await page.screenshot({ path: `${OUT}running-live.png` });

    await page.getByRole('link', { name: 'Services', exact: true }).click();
    await until('an instance is ready', async () => (await page.locator('tr[data-instance] .tag.good').count()) > 0, 30_000);
    await page.getByTestId('charts').locator('canvas').first().waitFor({ timeout: 30_000 });
    await page.getByRole('region', { name: 'Log lines' }).waitFor({ timeout: 30_000 });
    await accessible(page);
    await page.screenshot({ path: `${OUT}running-services.png`, fullPage: true });
    await page.locator('tr[data-service] a').first().click();
    await page.getByRole('heading', { name: 'Releases' }).waitFor();
    await until('a release takes the requests', async () => (await page.getByText('routed', { exact: true }).count()) > 0);
    await close();
  } finally {
    await browser.close();
  }
});

test('a running Hob shows an event that is published, its entity’s life, and its subscriptions', { skip, timeout: 180_000 }, async () => {
  const browser = await launch();
  try {
    const hob = await api();
    const { page, close } = await open(browser, address, { allow: [/status of (404|409)/] });
    await page.getByTestId('connection').getByText('live').waitFor();
    await showsWhatIsPublished(page, hob);
    await showsSubscriptions(page, hob);
    await close();
  } finally {
    await browser.close();
  }
});

test('a running Hob shows orders with their life, rules with their file, and what the days were like', { skip, timeout: 180_000 }, async () => {
  const browser = await launch();
  try {
    const { page, close } = await open(browser, address, { allow: [/status of (404|409)/] });
    await page.getByTestId('connection').getByText('live').waitFor();
    await page.getByRole('link', { name: 'Entities', exact: true }).click();
    await page.getByRole('link', { name: 'Orders' }).click();
    const orders = page.locator('tbody tr[data-id]');
    await orders.first().waitFor({ timeout: FLOWS });
    await page.getByLabel('Filter, as in a rule').fill("order.state != 'placed'");
    await page.keyboard.press('Enter');
    await orders.first().waitFor({ timeout: FLOWS });
    await accessible(page);
    await page.screenshot({ path: `${OUT}running-orders.png` });
    const name = await orders.first().locator('a.whole').textContent();
    await orders.first().locator('a.whole').click();
    await page.getByTestId('fields').getByText('restaurant', { exact: true }).first().waitFor();
    await page.getByTestId('timeline').locator('li').first().waitFor();
    await page.getByRole('button', { name: '−10 s' }).click();
    await page.getByText('As it was at').waitFor();
    await accessible(page);
    await page.screenshot({ path: `${OUT}running-order.png` });
    console.log(`${name} showed its life`);

    await page.getByRole('link', { name: 'Rules', exact: true }).click();
    await page.locator('[data-rule] a.whole').first().click();
    await page.getByTestId('checked').getByText('nothing wrong').waitFor();
    await page.getByRole('textbox', { name: /^The text of/ }).press('Control+End');
    await page.keyboard.type('\nnonsense: true');
    await page.getByTestId('checked').getByText(/flaw/).waitFor();
    await accessible(page);
    await page.screenshot({ path: `${OUT}running-rule.png` });

    await page.getByRole('link', { name: 'History', exact: true }).click();
    await page.getByRole('heading', { name: 'Issues', exact: true }).waitFor();
    await until('days, or the word that no issue ended', async () => (await page.getByTestId('days').count()) + (await page.getByText('No issue ended yet').count()) > 0);
    await accessible(page);
    await page.screenshot({ path: `${OUT}running-history.png` });
    await close();
  } finally {
    await browser.close();
  }
});

/** Calls of the API beside the page. */
async function api() {
  const origin = new URL(address).origin;
  const token = new URLSearchParams(new URL(address).hash.slice(1)).get('token');
  const call = async (method, path, body) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const response = await fetch(origin + path, { method, headers, body: body && JSON.stringify(body) });
    const answer = response.status === 204 ? undefined : await response.json();
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
    return answer;
  };
  return { call, status: await call('GET', '/v1/status') };
}

async function showsWhatIsPublished(page, { call, status }) {
  const requestid = `browser-${Date.now()}`;
  await page.goto(`${new URL(address).origin}/events?request_id=${requestid}`);
  await page.getByTestId('tail').getByText('live', { exact: true }).waitFor();
  const href = `${status.public_url ?? status.router_url}/restaurants/r1`;
  const { first } = await call('POST', '/v1/topics/restaurants/events', { type: 'noop', href, requestid });
  await page.locator(`tr[data-event="${first}"] [data-row]`).click();
  const life = page.getByRole('region', { name: 'History of /restaurants/r1' });
  await life.locator('li.here').waitFor();
  await until('its life before', async () => (await life.locator('li').count()) > 1);
  await page.getByRole('region', { name: `Request ${requestid}` }).getByText('restaurants.noop /restaurants/r1').waitFor({ timeout: 60_000 });
  await accessible(page);
  await page.screenshot({ path: `${OUT}running-events.png` });
  console.log(`event ${Number(first)} showed with ${await life.locator('li').count()} steps of its entity’s life`);
}

async function showsSubscriptions(page, { call, status }) {
  const path = '/v1/subscriptions/browser.test?service=storefront';
  // Each event fails, and is set aside after its one attempt.
  const failing = http.createServer((request, response) => request.resume().on('end', () => response.writeHead(500).end()));
  await new Promise((ready) => failing.listen(0, '127.0.0.1', ready));
  const sink = `http://127.0.0.1:${failing.address().port}/`;
  await call('PUT', path, { topics: ['restaurants'], from: 'end', sink, delivery: { attempts: 1, max: 1 } });
  const href = `${status.public_url ?? status.router_url}/restaurants/r1`;
  await call('POST', '/v1/topics/restaurants/events', { type: 'noop', href });
  await page.getByRole('link', { name: 'Subscriptions', exact: true }).click();
  await page.locator('tr[data-subscription="dispatch/dispatch.cache"]').waitFor();
  await page.locator('tr[data-subscription="storefront/browser.test"] a').click();
  await page.getByTestId('lag').locator('canvas').first().waitFor({ timeout: 60_000 });
  await pausesAndResumes(page);
  await replays(page);
  await accessible(page);
  await page.screenshot({ path: `${OUT}running-subscription.png`, fullPage: true });
  await call('DELETE', path);
  failing.close();
}

async function pausesAndResumes(page) {
  await page.getByRole('button', { name: 'Pause…' }).click();
  await page.getByRole('button', { name: 'Pause it' }).click();
  await page.getByRole('heading', { name: 'It is paused' }).waitFor();
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByRole('button', { name: 'Pause…' }).waitFor();
  console.log('a subscription was paused and resumed');
}

async function replays(page) {
  const replay = page.getByRole('button', { name: /^Replay \d/ }).first();
  await replay.waitFor({ timeout: 60_000 });
  await replay.click();
  await page.getByRole('region', { name: 'Messages' }).getByText('on the way once more').waitFor();
  console.log('a dead letter was replayed');
}

async function acknowledgeFirst(page, rows) {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const row = rows.filter({ has: page.getByText('open', { exact: true }) }).first();
    if ((await row.count()) === 0) return console.log('every issue is acknowledged already');
    const id = await row.getAttribute('data-id');
    await page.locator(`tr[data-id="${id}"] [data-row]`).click();
    await page.getByRole('heading', { name: 'Why it is here' }).waitFor();
    await page.keyboard.press('e');
    // In the row or, when the rule found it over meanwhile, nowhere.
    const known = page.locator(`tr[data-id="${id}"]`).getByText('✓');
    const taken = await known.waitFor({ timeout: 5_000 }).then(() => true, () => false);
    await page.keyboard.press('Escape');
    if (taken) return console.log(`acknowledged ${id}`);
  }
  return assert.fail(`no issue could be acknowledged in ${ATTEMPTS} attempts`);
}
