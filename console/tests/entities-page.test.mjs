// The pages of orders, riders and restaurants in a real browser, against a stand-in for the API.

import assert from 'node:assert/strict';
import { accessible, OUT, until } from './browser.mjs';
import { call, overflow, pageTests, STATUS } from './pages.mjs';

const withPage = pageTests('/entities/order');
const ORDER = 'http://city.test/orders/8';
const ofOrder = `/entities/order?href=${encodeURIComponent(ORDER)}`;
const rows = (page) => page.locator('tbody tr[data-id]');
const shown = (page) => page.locator('tbody tr[data-id] a.whole').allTextContents();

for (const width of [1440, 400]) {
  for (const scheme of ['light', 'dark']) {
    withPage(`a table and one of its entities, accessible at ${width} px, ${scheme}`, { width, scheme }, async (page) => {
      await rows(page).first().waitFor();
      await accessible(page);
      assert.equal(await overflow(page), 0, 'nothing sticks out sideways');
      await page.screenshot({ path: `${OUT}entities-${width}-${scheme}.png` });
      await page.locator(`tr[data-id="${ORDER}"] a.whole`).click();
      await page.getByTestId('timeline').getByText('a call to the restaurant').waitFor();
      await page.locator('summary', { hasText: 'Raw form' }).click();
      await page.getByRole('region', { name: 'The entity’s raw form' }).waitFor();
      await accessible(page);
      assert.equal(await overflow(page), 0, 'nothing sticks out sideways');
      await page.screenshot({ path: `${OUT}entity-${width}-${scheme}.png`, fullPage: width === 400 });
    });
  }
}

withPage('only the rows in sight are drawn, and the rest comes as one scrolls', {}, async (page, hob) => {
  await rows(page).first().waitFor();
  await page.getByTestId('count').getByText('900').waitFor();
  assert.ok((await rows(page).count()) < 60, 'the rest is space');
  for (let n = 0; n < 12; n += 1) {
    await page.locator('[data-scroller]').evaluate((box) => box.scrollTo(0, box.scrollHeight));
    await page.waitForTimeout(120);
  }
  await until('the last one shows', async () => (await shown(page)).includes('order 900'));
  assert.ok(hob.calls.filter((each) => each.path === '/v1/entities' && each.query.cursor === '800').length > 0);
});

withPage('a filter in the language of rules stands in the address', {}, async (page, hob) => {
  await rows(page).first().waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type("order.state == 'picked_up' && order.zone == 'SE1'");
  await page.keyboard.press('Enter');
  await until('it is asked for', () => call(hob, 'GET', '/v1/entities')?.query.filter === "order.state == 'picked_up' && order.zone == 'SE1'");
  await page.getByTestId('count').getByText('180').waitFor();
  assert.match(new URL(page.url()).searchParams.get('filter'), /picked_up/);
  await page.reload();
  await page.getByTestId('count').getByText('180').waitFor();
  await page.getByRole('button', { name: 'Clear' }).click();
  await page.getByTestId('count').getByText('900').waitFor();
});

withPage(
  'a filter that is wrong says where, and what was there stays',
  { allow: [STATUS], hob: { override: { '/v1/entities': (url) => (url.searchParams.get('filter') ? { problem: [400, 'The filter cannot be read', '1 | order.stat == 1\n          ^ there is no field `stat`: did you mean `state`?'] } : undefined) } } },
  async (page) => {
    await rows(page).first().waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('order.stat == 1');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').getByText('did you mean `state`?').waitFor();
    assert.ok((await rows(page).count()) > 0);
    await accessible(page);
  },
);

withPage('columns and the order are chosen; a view keeps them under a name', {}, async (page) => {
  await rows(page).first().waitFor();
  await page.locator('summary', { hasText: 'Columns' }).click();
  await page.getByLabel('preparation_minutes').check();
  await page.locator('th', { hasText: 'preparation minutes' }).waitFor();
  await page.locator('summary', { hasText: 'Columns' }).click();
  await page.getByRole('button', { name: 'preparation minutes' }).click();
  await page.getByRole('button', { name: 'preparation minutes ↑' }).click();
  await until('the longest comes first', async () => /20/.test(await rows(page).first().textContent()));
  assert.equal(new URL(page.url()).searchParams.get('sort'), '-preparation_minutes');
  await page.locator('summary', { hasText: 'Views' }).click();
  await page.getByLabel('Keep what is shown as').fill('slow kitchens');
  await page.getByRole('button', { name: 'Keep' }).click();
  await page.goto(page.url().replace(/\?.*/, ''));
  await rows(page).first().waitFor();
  await page.locator('summary', { hasText: 'Views' }).click();
  await page.getByRole('button', { name: 'slow kitchens', exact: true }).click();
  await until('the view is back', () => new URL(page.url()).searchParams.get('sort') === '-preparation_minutes');
  await page.keyboard.press('Control+k');
  await page.getByRole('option', { name: 'View: slow kitchens' }).waitFor();
});

withPage('state at a moment: by steps, by the timeline, and back to now', { path: ofOrder }, async (page, hob) => {
  await page.getByTestId('fields').getByText('assigned').waitFor();
  await page.getByText('Not read lately: its href answered 503').waitFor();
  await page.getByRole('button', { name: '−1 min' }).click();
  await page.getByText('As it was at').waitFor();
  await page.getByTestId('fields').locator('dd', { hasText: /^placed/ }).waitFor();
  assert.ok(call(hob, 'GET', '/v1/entities/timeline').query.until);
  await accessible(page);
  await page.getByTestId('timeline').getByRole('button').last().click();
  await until('the moment of that step', () => new URL(page.url()).searchParams.get('at')?.endsWith('18:31:40.000Z'));
  await page.getByRole('button', { name: '−10 min' }).click();
  await page.getByText('Nothing was known of it then').waitFor();
  await page.getByRole('button', { name: 'Now' }).click();
  await page.getByTestId('fields').getByText('assigned').waitFor();
  await page.getByRole('link', { name: '/restaurants/8' }).click();
  await page.getByRole('heading', { name: 'Kitchen 8' }).waitFor();
});

withPage('j, k, Enter and Escape walk; g o leads here', { path: '/' }, async (page) => {
  await page.keyboard.press('g');
  await page.keyboard.press('o');
  await rows(page).first().waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('ArrowDown');
  await until('the third has the focus', async () => (await page.evaluate(() => document.activeElement.textContent)) === 'order 3');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'order 3' }).waitFor();
  await page.keyboard.press('Escape');
  await rows(page).first().waitFor();
  await page.getByRole('link', { name: 'Riders' }).click();
  await until('riders', async () => (await shown(page))[0] === 'Rider 1');
});

withPage('none, and what cannot be read, have words', { allow: [STATUS], path: '/entities/ghost', hob: { override: { '/v1/entities/timeline': () => ({ problem: [503, 'The engine is starting', ''] }) } } }, async (page, hob) => {
  await page.getByText('There is none at present').waitFor();
  await page.goto(hob.url(ofOrder));
  await page.getByText('The engine is starting').waitFor();
});
