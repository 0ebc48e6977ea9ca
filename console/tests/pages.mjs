// What the tests of a page in a real browser stand on: one browser a file, a stand-in for the API each time.

import { after, before, test } from 'node:test';
import { launch, missing, open } from './browser.mjs';
import { fixture } from './fixture.mjs';

export const skip = missing();
if (skip) console.log(`SKIPPED: ${skip}`);

/** Requests that fail because a test has the stand-in refuse them. */
export const STATUS = /status of (4|5)\d\d|WebSocket connection|ERR_CONNECTION_(REFUSED|RESET)/;

let browser;
before(async () => {
  if (!skip) browser = await launch();
});
after(async () => browser?.close());

/** A page of its own in the browser of this file. */
export const fresh = (url, options) => open(browser, url, options);

/** What takes longer than this hangs. */
const LONGEST = 180_000;

/** A test with a page open: at `options.path`, else at `path`. */
export function pageTests(path) {
  return (name, options, run) =>
    test(name, { skip, timeout: LONGEST }, async () => {
      const hob = await fixture(options.hob);
      const opened = await open(browser, hob.url(options.path ?? path), options);
      try {
        await run(opened.page, hob);
        await opened.close();
      } finally {
        await hob.close();
      }
    });
}

/** Pixels by which the page is wider than its window. */
export const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
/** Waits for one of the messages to say this. */
export const said = (page, text) => page.getByRole('region', { name: 'Messages' }).getByText(text).waitFor();
/** The newest call of this kind that the stand-in had. */
export const call = (hob, method, path) => hob.calls.findLast((each) => each.method === method && each.path === path);
