// The console of a running Hob: HOB_CONSOLE_URL is the address that `hob up` prints, with the token in its fragment.

import assert from 'node:assert/strict';
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

async function acknowledgeFirst(page, rows) {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const row = rows.filter({ has: page.getByRole('button', { name: /^Acknowledge/ }) }).first();
    if ((await row.count()) === 0) return console.log('every issue is acknowledged already');
    const id = await row.getAttribute('data-id');
    await page.locator(`tr[data-id="${id}"] [data-row]`).click();
    await page.getByRole('heading', { name: 'Why it is here' }).waitFor();
    await page.keyboard.press('e');
    // In the row or, when the rule found it over meanwhile, nowhere.
    const known = page.locator(`tr[data-id="${id}"]`).getByText('acknowledged');
    const taken = await known.waitFor({ timeout: 5_000 }).then(() => true, () => false);
    await page.keyboard.press('Escape');
    if (taken) return console.log(`acknowledged ${id}`);
  }
  return assert.fail(`no issue could be acknowledged in ${ATTEMPTS} attempts`);
}
