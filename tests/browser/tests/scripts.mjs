// Script in any place where a visitor or an operator can write text comes out as text.
//
// Four things are counted in every page: violations of the Content-Security-Policy (as events, and as issues that
// the browser itself reports), complaints in the console that name it, dialogues, and a canary that every payload
// would set. All of them stay at zero; the first test shows that each would notice.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { PAYLOADS } from '../payloads.mjs';
import { gif, painter, polyglots } from '../pictures.mjs';
import { file, launch, post, site, visitor } from '../support.mjs';

let browser, pictures;
before(async () => {
  browser = await launch();
  const { paint, close } = await painter(browser);
  pictures = {
    jpeg: await paint('ridges', 3, 64, 48),
    png: await paint('poster', 3, 48, 64, 'image/png'),
    webp: await paint('sea', 3, 64, 48, 'image/webp'),
  };
  await close();
});
after(() => browser.close());

const SILENCE = { events: [], issues: [], console: [], dialogues: [], canaries: [] };

// A visitor with script, and everything that happens to them which must not.
async function watched() {
  const page = await visitor(browser);
  const seen = structuredClone(SILENCE);
  await page.exposeBinding('__report', (_, report) => seen.events.push(report));
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => globalThis.__report(`${event.violatedDirective}: ${event.blockedURI}`));
  });
  page.on('console', (message) => {
    if (/content security policy|csp/i.test(message.text())) seen.console.push(message.text());
  });
  page.on('dialog', async (dialogue) => {
    seen.dialogues.push(dialogue.message());
    await dialogue.dismiss();
  });
  const session = await page.context().newCDPSession(page);
  session.on('Audits.issueAdded', ({ issue }) => {
    if (issue.code === 'ContentSecurityPolicyIssue') seen.issues.push(JSON.stringify(issue.details));
  });
  await session.send('Audits.enable');

  // Whatever runs late has run after this.
  const settle = async () => {
    await page.waitForLoadState('load');
    await page.waitForTimeout(150);
    const canary = await page.evaluate(() => globalThis.__pwned);
    if (canary !== undefined) seen.canaries.push(canary);
  };
  return { page, seen, settle };
}

const POISON = PAYLOADS.join(' ');

test('every counter notices what it is there for', async () => {
  const { page, seen, settle } = await watched();
  await page.goto('/art/');
  await settle();
  assert.deepEqual(seen, SILENCE);

  const add = (make) => page.evaluate(make).then(settle);
  await add(() => {
    const script = document.createElement('script');
    script.textContent = 'window.__pwned = 1';
    document.body.append(script);
  });
  assert.deepEqual([seen.events.length, seen.console.length, seen.canaries.length], [1, 1, 0], 'one report for one inline script');
  await add(() => document.body.setAttribute('style', 'color: red'));
  assert.equal(seen.events.length, 2, 'one report for one inline style');
  await add(() => document.body.setAttribute('onclick', 'window.__pwned = 1'));
  await page.evaluate(() => document.body.click());
  await settle();
  assert.equal(seen.events.length, 3, 'one report for one handler');
  await add(() => document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.2:9/x.png' })));
  assert.equal(seen.events.length, 4, 'one report for a picture from elsewhere');
  assert.ok(seen.issues.length >= 3, `the browser's own reports: ${seen.issues.length}`);
  assert.deepEqual(seen.canaries, [], 'the policy has stopped all of them');

  await page.goto('about:blank');
  await page.setContent(`<p>${PAYLOADS[0]}${PAYLOADS[1]}`);
  await settle();
  assert.ok(seen.canaries.length > 0, 'without a policy the payloads run');
  assert.ok(seen.dialogues.length > 0);
  await page.context().close();
});

test('text in every field, file name and board title comes out as text on every page', async () => {
  const fields = (payload) => ({ name: payload.slice(0, 75), email: payload, sub: payload.slice(0, 100), com: `${payload}\n>${payload}\n>>${payload}\nhttp://x.example/${payload}`, pwd: payload.slice(0, 100) });
  const named = (payload, side) => file(`${payload}.gif`, 'image/gif', gif(side));
  const opened = await post(site.url, 'x', fields(PAYLOADS[0]), PAYLOADS.slice(0, 4).map((payload, index) => named(payload, 20 + index)));
  const threads = [opened.no];
  for (const [index, payload] of PAYLOADS.entries()) {
    await post(site.url, 'x', { resto: opened.no, ...fields(payload), spoiler: index % 2 ? 'on' : '' }, [named(payload, 30 + index)]);
    threads.push((await post(site.url, 'x', fields(payload), [named(payload, 40 + index)])).no);
  }

  const query = encodeURIComponent(POISON);
  const paths = [
    '/', '/x/', '/x/2.html', '/x/3.html', '/x/catalog.html', `/x/catalog.html?q=${query}`, `/x/catalog.html?sort=${query}&q=img`,
    ...threads.map((no) => `/x/res/${no}.html`),
    `/${query}`, `/x/${query}`, `/x/res/${query}.html`, `/x/thread/${query}`, `/static/${query}`, `/media/${query}.gif`, `/b/?${query}`, `/b/#${query}`,
    '/boards.json', '/x/catalog.json', '/x/threads.json', '/x/0.json', `/x/res/${opened.no}.json`, `/x/res/${query}.json`,
  ];
  const { page, seen, settle } = await watched();
  let shown = 0;
  for (const path of paths) {
    await page.goto(path);
    await settle();
    const found = await page.evaluate(() => ({
      handlers: [...document.querySelectorAll('*')].flatMap((element) => [...element.attributes].filter(({ name }) => /^on|^style$|^srcdoc$/.test(name)).map(({ name }) => `${element.tagName} ${name}`)),
      addresses: [...document.querySelectorAll('[href], [src], [action], [formaction]')].flatMap((element) => ['href', 'src', 'action', 'formaction'].map((name) => element.getAttribute(name))).filter((address) => /^\s*(javascript|data|vbscript):/i.test(address ?? '')),
      elements: [...document.querySelectorAll('script, iframe, object, embed, style, body svg:not(.mark svg), base, meta[http-equiv]')].map((element) => element.outerHTML),
      type: document.contentType,
    }));
    assert.deepEqual({ ...found, type: '' }, { handlers: [], addresses: [], elements: [], type: '' }, path);
    const text = await page.evaluate(() => document.body.innerText);
    shown += PAYLOADS.filter((payload) => text.includes(payload)).length;
    assert.deepEqual(seen, SILENCE, path);
  }
  assert.ok(shown >= 4 * PAYLOADS.length, `payloads were seen as text ${shown} times`);
  await page.context().close();
});

test('a refused post gives back what was typed as text', async () => {
  for (const payload of PAYLOADS) {
    const { page, seen, settle } = await watched();
    await page.goto('/b/');
    await page.locator('summary').click();
    await page.getByLabel('Name').fill(payload.slice(0, 75));
    await page.getByLabel('Subject').fill(payload.slice(0, 100));
    await page.getByLabel('Comment').fill(payload);
    await page.getByLabel('Pictures', { exact: true }).setInputFiles(file(`${payload}.jpg`, 'image/jpeg', Buffer.from('no picture at all')));
    await page.getByRole('button', { name: 'Post' }).click();
    await page.waitForSelector('.sorry');
    await settle();
    assert.equal(await page.getByLabel('Comment').inputValue(), payload);
    assert.equal(await page.getByLabel('Name').inputValue(), payload.slice(0, 75));
    assert.equal(await page.getByLabel('Subject').inputValue(), payload.slice(0, 100));
    assert.equal(await page.locator('main script, main [onerror], main [onmouseover], main svg').count(), 0);
    assert.deepEqual(seen, SILENCE, payload);
    await page.context().close();
  }
});

test('fields that no page shows cannot carry script either', async () => {
  const { page, seen, settle } = await watched();
  for (const [path, fields] of [
    ['/b/post', { resto: POISON }], ['/b/post', { key: POISON, com: POISON }], ['/b/delete', { no: POISON, pwd: POISON }],
    [`/${encodeURIComponent(PAYLOADS[1])}/post`, { com: POISON }], ['/b/post', { [POISON]: POISON }],
  ]) {
    await page.goto('/b/');
    await page.evaluate(([path, fields]) => {
      const form = Object.assign(document.createElement('form'), { method: 'post', action: path, enctype: 'multipart/form-data' });
      for (const [name, value] of Object.entries(fields)) form.append(Object.assign(document.createElement('input'), { name, value }));
      document.body.append(form);
      form.submit();
    }, [path, fields]);
    await page.waitForSelector('.sorry');
    await settle();
    assert.deepEqual(seen, SILENCE, path);
  }
  await page.context().close();
});

test('a picture that is also a page or a script runs nothing', async () => {
  const html = `<!doctype html><html><script>window.__pwned=8;alert(8)</script><img src=x onerror="window.__pwned=8">*/=1;window.__pwned=8;/*`;
  const made = polyglots(pictures, html);
  const { page, seen, settle } = await watched();
  const opened = await post(site.url, 'x', { com: 'Polyglots' }, [file('plain.gif', 'image/gif', gif(50))]);
  for (const [kind, [mimeType, extension, buffer]] of Object.entries(made)) {
    // The declared type and the name lie; neither may count.
    const { no } = await post(site.url, 'x', { resto: opened.no, com: kind }, [file(`page.html`, 'text/html', buffer)]);
    await page.goto(`/x/res/${opened.no}.html`);
    const path = await page.locator(`#p${no} .file a`).getAttribute('href');
    assert.ok(path.endsWith(`.${extension}`), `${kind}: ${path}`);

    const answer = await page.goto(path);
    await settle();
    const headers = answer.headers();
    assert.equal(headers['content-type'], mimeType, kind);
    assert.equal(headers['x-content-type-options'], 'nosniff', kind);
    assert.match(headers['content-security-policy'], /sandbox/, kind);
    const stored = Buffer.from(await (await fetch(site.url + path)).arrayBuffer());
    assert.equal(stored.includes('<script'), false, `${kind}: the script is gone from the stored bytes`);

    // As a script, a style and a frame of one of our own pages, which the policy for pages would let in by origin.
    await page.goto('/x/');
    await page.evaluate((path) => new Promise((done) => {
      const script = Object.assign(document.createElement('script'), { src: path });
      script.onload = script.onerror = done;
      document.head.append(script);
    }), path);
    await settle();
    assert.deepEqual(seen, SILENCE, kind);
  }
  await page.context().close();
});
