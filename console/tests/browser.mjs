// One Chromium for a test file, and pages that fail their test when the console of the browser shows an error.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

export const CHROMIUM = process.env.HOB_CHROMIUM ?? '/usr/bin/chromium';
export const OUT = new URL('./out/', import.meta.url).pathname;
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Why no browser test can run, or nothing. */
export const missing = () => (existsSync(CHROMIUM) ? undefined : `no Chromium at ${CHROMIUM}: apt-get install --no-install-recommends chromium, or set HOB_CHROMIUM`);

export async function launch() {
  mkdirSync(OUT, { recursive: true });
  return chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
}

/** Opens a page and notes what goes wrong in it; `allow` names what a test brings about itself. */
export async function open(browser, url, { width = 1440, height = 900, scheme = 'light', allow = [] } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: 'reduce' });
  const page = await context.newPage();
  // Long enough for a machine that builds and tests at once; what is there is found at once.
  page.setDefaultTimeout(30_000);
  const errors = [];
  const note = (text) => {
    if (!allow.some((each) => each.test(text))) errors.push(text);
  };
  page.on('console', (message) => message.type() === 'error' && note(`${message.text()} ${message.location().url}`));
  page.on('pageerror', (error) => note(String(error)));
  await page.goto(url);
  return {
    page,
    errors,
    close: async () => {
      await context.close();
      assert.deepEqual(errors, [], 'the browser console shows errors');
    },
  };
}

/** WCAG 2.2 AA, as far as axe can tell. */
export async function accessible(page) {
  // Injected over the debugging protocol: the page's own content security policy stays as it is.
  await page.evaluate(AXE);
  const violations = await page.evaluate(async () => {
    const result = await window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] });
    return result.violations.map((each) => `${each.id}: ${each.help}: ${each.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.any[0]?.message ?? ''}`).join(' | ')}`);
  });
  assert.deepEqual(violations, []);
}

/** Asks again until it is so, up to a deadline. */
export async function until(what, ask, within = 30_000) {
  const end = Date.now() + within;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) assert.fail(`not within ${within / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
