// The board with 5,000 issues of which 1,000 change each second: what it costs the browser, and that nothing is lost.

import assert from 'node:assert/strict';
import { until } from './browser.mjs';
import { issue } from './fixture.mjs';
import { pageTests } from './pages.mjs';

const withPage = pageTests('/');
const ISSUES = 5_000;
const CHANGES_PER_SECOND = 1_000;
const FRAMES_PER_SECOND = 20;
const SECONDS = 8;
/** What is aimed at is a tenth of a core. The length of frames, aimed at below 100 ms, says as much of the machine: it is only told. */
const SCRIPT_MOST = 0.2;

const id = (n) => `is-${String((n % ISSUES) + 1).padStart(5, '0')}`;

/** Changes issues at the rate, evenly, until the time is over. */
async function churn(hob) {
  const each = CHANGES_PER_SECOND / FRAMES_PER_SECOND;
  const start = Date.now();
  let turn = 0;
  while (Date.now() - start < SECONDS * 1000) {
    const up = Array.from({ length: each }, (_, index) => [id(turn * 37 + index * 101), { priority: (turn * 7 + index * 13) % 100 }]);
    for (const [key, { priority }] of up) {
      const at = Number(key.slice(3)) - 1;
      hob.state.issues[at] = { ...hob.state.issues[at], priority };
    }
    hob.push('issues', up);
    turn += 1;
    await new Promise((resolve) => setTimeout(resolve, start + (turn * 1000) / FRAMES_PER_SECOND - Date.now()));
  }
}

withPage('5,000 issues and 1,000 changes a second leave the browser at rest', { hob: { issues: Array.from({ length: ISSUES }, (_, n) => issue(n + 1)) } }, async (page, hob) => {
  await page.locator('tr[data-id] [data-row]').first().waitFor();
  const cdp = await page.context().newCDPSession(page);
  // Time that the thread ran, not time that it waited for a core.
  await cdp.send('Performance.enable', { timeDomain: 'threadTicks' });
  const metrics = async () => Object.fromEntries((await cdp.send('Performance.getMetrics')).metrics.map(({ name, value }) => [name, value]));
  await page.evaluate(() => {
    window.frames_ = [];
    let last = performance.now();
    const look = (now) => {
      window.frames_.push(now - last);
      last = now;
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
  await page.waitForTimeout(500);
  const before = await metrics();
  const start = Date.now();
  await page.evaluate(() => (window.frames_.length = 0));
  await churn(hob);
  const after = await metrics();
  const seconds = (Date.now() - start) / 1000;
  const frames = await page.evaluate(() => window.frames_);
  const share = (name) => (after[name] - before[name]) / seconds;
  const longest = Math.max(...frames);
  const heap = after.JSHeapUsedSize / 2 ** 20;
  console.log(
    `script ${(100 * share('ScriptDuration')).toFixed(1)} %, layout ${(100 * share('LayoutDuration')).toFixed(1)} %, style ${(100 * share('RecalcStyleDuration')).toFixed(1)} %, all ${(100 * share('TaskDuration')).toFixed(1)} % of a core; ` +
      `${(frames.length / seconds).toFixed(0)} frames/s, longest ${longest.toFixed(0)} ms, ${frames.filter((each) => each > 100).length} over 100 ms; heap ${heap.toFixed(0)} MiB; ${await page.locator('tr[data-id]').count()} rows drawn`,
  );
  assert.ok(share('ScriptDuration') < SCRIPT_MOST, 'the script takes too much of a core');

  const expected = hob.state.issues.toSorted((a, b) => b.priority - a.priority || (a.opened < b.opened ? -1 : a.opened > b.opened ? 1 : a.id < b.id ? -1 : 1));
  const titles = () => page.locator('tr[data-id] [data-row]').allTextContents();
  const wanted = expected.slice(0, 10).map((each) => each.title).join();
  await until('the order is that of the last change', async () => (await titles()).slice(0, 10).join() === wanted);
  const last = expected.at(-1);
  await page.getByLabel('Filter issues').fill(last.id);
  await page.locator(`tr[data-id="${last.id}"]`).waitFor();
  assert.equal(await page.locator('table.rows').getAttribute('aria-rowcount'), '2', 'every issue is there to be found');
});
