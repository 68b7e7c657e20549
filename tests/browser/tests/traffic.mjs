// The page about the traffic: whoever looks at it, with or without script, sees the same numbers, and they add up.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';

import { desktop, launch, phone, plainVisitor, site, visitor } from '../support.mjs';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

// The exact numbers of a table: those of each row, and those of its foot.
const numbers = (page, id) =>
  page.locator(`#${id}`).evaluate((table) => {
    const exact = (row) => [...row.querySelectorAll('data')].map((data) => Number(data.value));
    const rows = [...table.querySelectorAll('tbody tr:not(.tier)')].map((row) => ({ name: row.querySelector('th').firstChild.textContent.trim(), cells: exact(row) }));
    return { rows, foot: exact(table.querySelector('tfoot tr')) };
  });

const sums = (rows) => rows.reduce((sum, { cells }) => cells.map((cell, column) => cell + (sum[column] ?? 0)), []);

for (const [size, options] of Object.entries({ phone, desktop })) {
  for (const colorScheme of ['light', 'dark']) {
    test(`chart and tables agree, and fit (${size}, ${colorScheme})`, async () => {
      const page = await visitor(browser, { ...options, colorScheme });
      for (const path of ['/traffic?days=1', '/traffic?days=7', '/traffic', '/traffic?days=365', '/art/traffic.html']) {
        await page.goto(path);
        await page.locator('summary').click();
        const tables = path.startsWith('/art/') ? ['steps', 'kinds'] : ['steps', 'kinds', 'boards', 'replicas'];
        const totals = [];
        for (const table of tables) {
          const { rows, foot } = await numbers(page, table);
          assert.ok(rows.length > 0, `${path}: ${table}`);
          assert.deepEqual(sums(rows), foot, `${path}: ${table}`);
          totals.push(foot.slice(-3));
        }
        totals.forEach((foot) => assert.deepEqual(foot, totals[0], `${path}: sent, received and requests are the same in all tables`));
        const { rows } = await numbers(page, 'steps');
        const bars = page.locator('.chart .step');
        assert.equal(await bars.count(), rows.length, path);
        const heights = await bars.evaluateAll((all) => all.map((bar) => [...bar.querySelectorAll('rect:not(.hit)')].reduce((sum, part) => sum + part.height.baseVal.value, 0)));
        const sent = rows.map(({ cells }) => cells[4]).reverse();
        const highest = sent.indexOf(Math.max(...sent));
        assert.equal(heights.indexOf(Math.max(...heights)), highest, `${path}: the highest bar is that of the most bytes`);
        heights.forEach((height, at) => assert.ok(Math.abs(height / heights[highest] - sent[at] / sent[highest]) < 0.01, `${path}: bar ${at}`));
        assert.match(await page.locator('.chart desc').textContent(), /Stacked bars, one for each (hour|day|month): .* The table below/);
        const [content, view] = await page.evaluate(() => [document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]);
        assert.ok(content <= view, `${path}: ${content} px of content in ${view}`);
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
        assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`), [], path);
      }
      await page.context().close();
    });
  }
}

test('the document for programs and the one for spreadsheets tell the same as the page', async () => {
  const page = await plainVisitor(browser);
  await page.goto('/traffic?days=7');
  const [json, csv] = await Promise.all(['JSON', 'CSV'].map((name) => page.getByRole('link', { name, exact: true }).getAttribute('href')));
  assert.deepEqual([json, csv], ['/traffic.json?days=7', '/traffic.csv?days=7']);
  await page.locator('summary').click();
  const { rows } = await numbers(page, 'steps');
  const document = await (await fetch(`${site.url}${json}`)).json();
  const lines = (await (await fetch(`${site.url}${csv}`)).text()).split('\r\n');
  assert.equal(lines[0], 'start,kind,requests,bytes_in,bytes_out');
  assert.equal(lines.pop(), '', 'the last line has an end, too');
  // Today is still being counted.
  const past = rows.filter(({ name }) => !name.endsWith('so far'));
  assert.equal(past.length, 6);
  for (const { name, cells } of past) {
    const label = (start) => new Date(start).toLocaleDateString('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' }).replace('Sept', 'Sep');
    const day = document.days.find(({ start }) => label(start) === name);
    assert.deepEqual(cells.slice(-3), [day.bytes_out, day.bytes_in, day.requests], name);
    const ofDay = lines.filter((line) => line.startsWith(`${day.start},`)).map((line) => line.split(',').slice(2).map(Number));
    assert.deepEqual(sums(ofDay.map((cells) => ({ cells }))), [day.requests, day.bytes_in, day.bytes_out], name);
  }
  await page.context().close();
});

test('a time in which nobody counted is marked, and the mark leads to what is said of it', async () => {
  const page = await plainVisitor(browser);
  await page.goto('/traffic');
  // Other tests kill replicas meanwhile, which is marked as well, today.
  const told = page.locator('#missing li', { hasText: 'web-q2rlf' });
  assert.match(await told.innerText(), /^Counts are missing for web-q2rlf on \d+ \w+, 03:12 to 03:43 UTC/);
  const twelveDaysAgo = page.locator('.chart .step').nth(-13);
  assert.equal(await twelveDaysAgo.locator('.gap').count(), 1);
  assert.match(await twelveDaysAgo.locator('title').textContent(), /; counts are missing$/);
  assert.equal(await page.locator('.chart .step').nth(-12).locator('.gap').count(), 0);
  await page.locator('summary').click();
  await page.locator('#steps tbody tr').nth(12).getByRole('link', { name: 'counts missing' }).click();
  assert.equal(new URL(page.url()).hash, '#missing');
  assert.ok(await told.isVisible());
  await page.context().close();
});

test('everything is there without script, and every period is one click away', async () => {
  const page = await plainVisitor(browser);
  await page.goto('/');
  await page.getByRole('contentinfo').getByRole('link', { name: 'Traffic' }).click();
  for (const [name, heading] of [['Today', 'Each hour'], ['7 days', 'Each day'], ['12 months', 'Each month'], ['30 days', 'Each day']]) {
    await page.getByRole('navigation', { name: 'Period' }).getByRole('link', { name }).click();
    assert.equal(await page.locator('.plot h2').innerText(), heading, name);
    assert.equal(await page.locator('.views [aria-current=page]').innerText(), name);
  }
  assert.match(await page.locator('.budget').innerText(), /Budget for \w+\s+[\d.]+ [GMk]?T?B of 2 TB sent/);
  assert.match(await page.locator('.storage').innerText(), /\d pictures and their thumbnails, kept once, read by all replicas/);
  await page.locator('#boards').getByRole('link', { name: '/art/' }).click();
  assert.equal(new URL(page.url()).pathname, '/art/traffic.html');
  assert.equal(await page.getByRole('navigation', { name: 'Boards' }).locator('[aria-current]').innerText(), '/art/');
  await page.getByRole('link', { name: 'All boards' }).click();
  assert.equal(new URL(page.url()).pathname, '/traffic');
  await page.context().close();
});

test('a number of days that makes no sense is explained', async () => {
  const page = await plainVisitor(browser);
  for (const days of ['x', '0', '400']) {
    const answer = await page.goto(`/traffic?days=${days}`);
    assert.equal(answer.status(), 422, days);
    assert.match(await page.locator('main').innerText(), /a number from 1, which is today alone, to 366/);
  }
  await page.context().close();
});
