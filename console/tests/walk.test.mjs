// Every page by the tab key alone: each stop shows where one is, is in sight and has a name, and nothing holds one fast.

import assert from 'node:assert/strict';
import { everything } from './fixture-board.mjs';
import { pageTests } from './pages.mjs';

const withPage = pageTests('/');
/** Stops after which a page is long enough. */
const STOPS = 60;

const PAGES = {
  'Live': ['/', 'tr[data-id] [data-row]'],
  'an issue on Live': ['/?issue=is-00003', '[data-action]'],
  'Entities': ['/entities/order', 'tbody tr[data-id]'],
  'an entity': [`/entities/order?href=${encodeURIComponent('http://city.test/orders/8')}`, '[data-testid=timeline]'],
  'Rules': ['/rules', '[data-rule]'],
  'a rule': ['/rules/order-unassigned', '.line'],
  'History': ['/history', 'tbody tr[data-id]'],
  'Services': ['/services', 'tr[data-service]'],
  'Deploys': ['/deploys', 'tr[data-service]'],
  'Nodes': ['/nodes', 'main table'],
  'Router': ['/router', '[data-route]'],
  'Events': ['/events', 'tr[data-event]'],
  'Subscriptions': ['/subscriptions', 'tr[data-subscription]'],
};

/** Where the focus is, and what is wrong with it once the page has settled: the link to skip the top, for one, leaves as the focus does. */
async function stop(page) {
  for (let look = 0; ; look += 1) {
    const at = await looked(page);
    if (!at?.flaws.length || look === 20) return at;
    await page.waitForTimeout(50);
  }
}

const looked = (page) =>
  page.evaluate(async () => {
    // What the focus changes is drawn with the next frame.
    await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
    const active = document.activeElement;
    if (!active || active === document.body) return undefined;
    const box = active.getBoundingClientRect();
    const style = getComputedStyle(active);
    const name = active.getAttribute('aria-label') || active.textContent.trim() || active.labels?.[0]?.textContent || active.getAttribute('placeholder') || active.title;
    const ringed = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
    const inSight = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
    const middle = document.elementFromPoint(Math.min(innerWidth - 1, Math.max(0, box.left + box.width / 2)), Math.min(innerHeight - 1, Math.max(0, box.top + Math.min(box.height, 40) / 2)));
    const open = middle === null || active.contains(middle) || middle.contains(active) || middle.closest('label') !== null;
    const id = (window.stops_ ??= new Map()).get(active) ?? window.stops_.set(active, window.stops_.size).get(active);
    const flaws = [...(ringed || active.matches('.skip') ? [] : ['shows no focus']), ...(inSight ? [] : ['is out of sight']), ...(open ? [] : ['is covered']), ...(name ? [] : ['has no name'])];
    return { id, what: active.outerHTML.slice(0, 120), flaws };
  });

for (const [name, [path, ready]] of Object.entries(PAGES)) {
  withPage(`${name}: every stop of the tab key is seen, in sight and named, and leads on`, { path, hob: { issues: everything() } }, async (page) => {
    await page.locator(ready).first().waitFor();
    await page.waitForTimeout(300);
    const seen = new Set();
    let last;
    for (let n = 0; n < STOPS; n += 1) {
      await page.keyboard.press('Tab');
      const at = await stop(page);
      if (!at) break;
      // A date has a stop for each of its parts, which the browser rings itself.
      if (at.id === last && /^<input type="date/.test(at.what)) continue;
      assert.deepEqual(at.flaws, [], at.what);
      if (seen.has(at.id) && at.id === 0) break;
      last = at.id;
      assert.ok(!seen.has(at.id), `it comes back to ${at.what} before it was everywhere`);
      seen.add(at.id);
    }
    assert.ok(seen.size > 8, `only ${seen.size} stops`);
    const before = await stop(page);
    await page.keyboard.press('Shift+Tab');
    if (before) assert.notEqual((await stop(page))?.id, before.id, 'and back');
  });
}
