// Pages that anybody can use: by axe's rules, by keyboard, on a narrow phone, and without anything moving.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';

import { isRefusal, pages } from '../pages.mjs';
import { complaints, desktop, launch, phone, plainVisitor, site, visitor } from '../support.mjs';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const sizes = { phone, desktop };

for (const [size, options] of Object.entries(sizes)) {
  for (const colorScheme of ['light', 'dark']) {
    test(`axe finds nothing on any page (${size}, ${colorScheme})`, async () => {
      const page = await visitor(browser, { ...options, colorScheme });
      for (const [name, open] of pages) {
        await open(page);
        await page.locator('details').evaluateAll((all) => all.forEach((details) => (details.open = true)));
        await page.evaluate(axe);
        const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
        const found = violations.flatMap(({ id, help, nodes }) => nodes.map(({ html, any }) => `${id}: ${help}\n  ${html}\n  ${any.map(({ message }) => message).join('; ')}`));
        assert.deepEqual(found, [], name);
        assert.ok(passes.length > 15, `axe has looked at ${name}`);
      }
      await page.context().close();
    });
  }
}

test('axe would notice', async () => {
  const page = await visitor(browser);
  await page.goto('/art/');
  await page.evaluate(() => document.querySelector('img').removeAttribute('alt'));
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  assert.ok(violations.some(({ id }) => id === 'image-alt'));
  await page.context().close();
});

// Presses Tab until the focus leaves the page; answers what had it.
async function tabThrough(page) {
  const stops = [];
  for (let press = 0; press < 400; press++) {
    await page.keyboard.press('Tab');
    const stop = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body || element.dataset.visited) return null;
      element.dataset.visited = 'yes';
      const outlined = (element) => {
        const { outlineStyle, outlineWidth } = getComputedStyle(element);
        return outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2;
      };
      // A link in line with text has several boxes, some of them empty; the first is where the eye goes.
      const boxes = [...element.getClientRects(), element.firstElementChild?.getBoundingClientRect()];
      const first = boxes.find((box) => box?.width > 0 && box.height > 0) ?? new DOMRect();
      const at = document.elementFromPoint(first.x + first.width / 2, first.y + first.height / 2);
      const order = [...document.querySelectorAll('*')].indexOf(element);
      return {
        what: element.outerHTML.slice(0, 120),
        order,
        visible: outlined(element) || outlined(element.closest('.tile') ?? element),
        inView: first.width > 0 && first.height > 0 && first.x >= 0 && first.y >= 0 && first.bottom <= innerHeight + 1 && first.right <= innerWidth + 1,
        uncovered: at !== null && (element.contains(at) || at.contains(element)),
      };
    });
    if (stop === null) return stops;
    stops.push(stop);
  }
  throw new Error('the focus never leaves the page');
}

test('the keyboard reaches everything in order, and the focus is always seen', async () => {
  for (const options of [desktop, { viewport: phone.viewport }]) {
    for (const [name, open] of pages) {
      const page = await visitor(browser, options);
      await open(page);
      await page.evaluate(() => {
        document.querySelectorAll('details').forEach((details) => (details.open = true));
        scrollTo(0, 0);
        document.activeElement?.blur();
      });
      const stops = await tabThrough(page);
      assert.match(stops[0].what, /class="skip"/, `${name}: the first is the way past the bar`);
      const wrong = stops.filter((stop, index) => !stop.visible || !stop.inView || !stop.uncovered || (index > 0 && stop.order <= stops[index - 1].order));
      assert.deepEqual(wrong, [], name);
      const wanted = await page.locator('a[href], button, input:not([type=hidden]), textarea, select, summary, [tabindex="0"]').count();
      assert.equal(stops.length, wanted, `${name}: everything that can be used is reached`);
      await page.context().close();
    }
  }
});

test('the skip link goes to the content', async () => {
  const page = await plainVisitor(browser);
  await page.goto(`/art/res/${site.thread}.html`);
  await page.keyboard.press('Tab');
  const skip = page.locator('.skip');
  const box = await skip.boundingBox();
  assert.ok(box.x >= 0 && box.y >= 0 && box.width > 40, 'it is seen when it has the focus');
  await page.keyboard.press('Enter');
  assert.equal(new URL(page.url()).hash, '#main');
  await page.keyboard.press('Tab');
  assert.ok(await page.evaluate(() => document.querySelector('main').contains(document.activeElement)));
  await page.context().close();
});

test('nothing has to be scrolled sideways at 320 pixels, or at twice the size of text', async () => {
  for (const [width, textSize] of [[320, 100], [640, 200], [390, 100], [1280, 100]]) {
    const page = await visitor(browser, { viewport: { width, height: 640 } });
    for (const [name, open] of pages) {
      await open(page);
      const [content, view] = await page.evaluate((textSize) => {
        document.querySelectorAll('details').forEach((details) => (details.open = true));
        document.documentElement.style.fontSize = `${textSize}%`;
        return [document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth];
      }, textSize);
      assert.ok(content <= view, `${name} at ${width} px, text ${textSize} %: ${content} px of content in ${view}`);
    }
    await page.context().close();
  }
});

const watchShifts = () => {
  globalThis.__shift = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) globalThis.__shift += entry.value;
  }).observe({ type: 'layout-shift', buffered: true });
};

test('nothing moves while pictures arrive', async () => {
  for (const options of Object.values(sizes)) {
    const page = await visitor(browser, options);
    await page.addInitScript(watchShifts);
    // Late enough for the page to be painted without them.
    await page.route(/\/(thumb|media)\//, async (route) => {
      await new Promise((done) => setTimeout(done, 250));
      await route.continue();
    });
    const shift = async () => {
      await page.waitForTimeout(400);
      return page.evaluate(() => globalThis.__shift);
    };
    for (const [name, open] of pages) {
      await open(page);
      await page.evaluate(async () => {
        for (let y = 0; y < document.scrollingElement.scrollHeight; y += innerHeight / 2) {
          scrollTo(0, y);
          await new Promise((done) => setTimeout(done, 40));
        }
      });
      assert.equal(await shift(), 0, name);
    }
    await page.goto('/art/');
    await page.evaluate(() => document.querySelector('main').prepend(Object.assign(document.createElement('p'), { innerText: 'Late\n\n\nLate' })));
    assert.ok((await shift()) > 0, 'a shift would be noticed');
    await page.context().close();
  }
});

test('no page has anything to complain about in the console', async () => {
  for (const options of Object.values(sizes)) {
    for (const [name, open] of pages) {
      const page = await visitor(browser, options);
      const heard = complaints(page);
      await open(page);
      await page.waitForLoadState('networkidle');
      // The one thing that may be said is that this very page is an error, which it is.
      const own = (text) => isRefusal(name) && /the server responded with a status of 4/.test(text) && text.includes(`(${page.url()})`);
      assert.deepEqual(heard.filter((text) => !own(text)), [], name);
      await page.context().close();
    }
  }
});

test('buttons and fields are large enough for a finger', async () => {
  const page = await visitor(browser, phone);
  for (const [name, open] of pages) {
    await open(page);
    const small = await page.evaluate(() => {
      document.querySelectorAll('details').forEach((details) => (details.open = true));
      const controls = document.querySelectorAll('button, .button, summary, select, textarea, input:not([type=hidden]), .boards a, .mark');
      return [...controls]
        // A box is ticked by its label, and a file is chosen by the button in its field.
        .map((control) => (control.matches('[type=checkbox]') ? control.closest('label') : control))
        .map((control) => [control, control.getBoundingClientRect()])
        .filter(([, { width, height }]) => width < 44 || height < 44)
        .map(([control, { width, height }]) => `${control.outerHTML.slice(0, 100)}: ${width}×${height}`);
    });
    assert.deepEqual(small, [], name);
  }
  await page.context().close();
});
