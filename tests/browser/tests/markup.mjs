// Every page is valid HTML: without a parse error by the standard's own algorithm, and by the rules of its content.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { HtmlValidate } from 'html-validate';
import { parse } from 'parse5';

import { pages } from '../pages.mjs';
import { launch, plainVisitor, site } from '../support.mjs';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

// What the standard says, and nothing about taste.
const validator = new HtmlValidate({ extends: ['html-validate:standard'] });

async function problems(html) {
  const found = [];
  parse(html, { sourceCodeLocationInfo: true, onParseError: ({ code, startLine, startCol }) => found.push(`${startLine}:${startCol} ${code}`) });
  const { results } = await validator.validateString(html, 'page.html');
  for (const { messages } of results) {
    for (const { ruleId, message, line, column } of messages) found.push(`${line}:${column} ${ruleId}: ${message}\n  ${html.split('\n')[line - 1]?.slice(0, 200)}`);
  }
  return found;
}

test('the validators notice what is wrong', async () => {
  const page = (body) => `<!doctype html>\n<html lang="en">\n<head><title>A</title></head>\n<body>${body}</body>\n</html>\n`;
  assert.deepEqual(await problems(page('<p>Fine</p>')), []);
  for (const body of ['<p>a</b></p>', '<p><div>a</div></p>', '<ul><p>a</p></ul>', '<button><a href="a">a</a></button>', '<p id="a">a</p><p id="a">b</p>']) {
    assert.notDeepEqual(await problems(page(body)), [], body);
  }
});

test('every page is valid', async () => {
  for (const [name, open] of pages) {
    const page = await plainVisitor(browser);
    let html = '';
    page.on('response', async (answer) => {
      if (answer.request().isNavigationRequest() && !(answer.status() >= 300 && answer.status() < 400)) html = answer.text();
    });
    await open(page);
    await page.waitForLoadState();
    html = await html;
    assert.match(html, /^<!doctype html>/i, name);
    assert.deepEqual(await problems(html), [], name);
    await page.context().close();
  }
});

test('the page that nginx shows for an error of its own is valid', async () => {
  const file = new URL('../../../helm/triptych/files/nginx/nginx-error/page.html', import.meta.url);
  // nginx fills in the words.
  const html = (await readFile(file, 'utf8')).replace(/<!--# echo var="(\w+)" -->/g, '$1').replace(/<!--#.*?-->/g, '');
  assert.deepEqual(await problems(html), []);
});

test('there is one main heading on every page, and no level is left out', async () => {
  for (const [name, open] of pages) {
    const page = await plainVisitor(browser);
    await open(page);
    const levels = await page.locator('h1, h2, h3, h4, h5, h6').evaluateAll((all) => all.map((heading) => Number(heading.tagName[1])));
    assert.equal(levels.filter((level) => level === 1).length, 1, name);
    levels.forEach((level, index) => assert.ok(level <= (levels[index - 1] ?? 0) + 1, `${name}: ${levels}`));
    await page.context().close();
  }
  assert.ok(site.url);
});
