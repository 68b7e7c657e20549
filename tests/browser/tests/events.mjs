// Watching a thread with what browsers have for it, an EventSource: two browsers at two replicas, of which one dies.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { gif } from '../pictures.mjs';
import { killReplica } from '../stack.mjs';
import { file, launch, plainVisitor, post, site, visitor } from '../support.mjs';

let readers, writers;
before(async () => ([readers, writers] = await Promise.all([launch(), launch()])));
after(() => Promise.all([readers.close(), writers.close()]));

// What a script of the board would do: puts what is new below what there is.
function watch(thread) {
  const numbers = () => [...document.querySelectorAll('article.post')].map(({ id }) => Number(id.slice(1)));
  const heard = (globalThis.heard = { opened: 0, told: [], reloads: 0 });
  const source = new EventSource(`/b/res/${thread}/events`);
  const update = async () => {
    const answer = await fetch(`/b/res/${thread}.html?after=${Math.max(...numbers())}`);
    const { body } = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const known = numbers();
    for (const article of body.querySelectorAll('article.post')) if (!known.includes(Number(article.id.slice(1)))) document.querySelector('.thread').append(article);
  };
  source.addEventListener('open', () => (heard.opened += 1));
  source.addEventListener('reload', () => (heard.reloads += 1));
  source.addEventListener('message', ({ data }) => {
    heard.told.push(...JSON.parse(data).posted);
    return update();
  });
}

test('a reader sees what others write, also when the replica that tells it is killed', { skip: site.stack ? false : 'replicas elsewhere are not ours to kill' }, async () => {
  const { no: thread } = await post(site.url, 'b', { com: 'Watched' }, [file('one.gif', 'image/gif', gif(20))]);
  const page = await visitor(readers);
  const tellers = [];
  page.on('response', (answer) => {
    if (answer.url().endsWith('/events')) tellers.push(answer.headers()['x-served-by']);
  });
  await page.goto(`/b/res/${thread}.html`);
  await page.evaluate(watch, thread);
  await page.waitForFunction(() => globalThis.heard.opened === 1);

  // Posts with a browser of its own, past nginx, at a replica that does not tell the reader. Answers the number.
  const write = async (comment) => {
    const [, elsewhere] = Object.entries(site.alone).find(([name]) => name !== tellers[0]);
    const writer = await plainVisitor(writers, { baseURL: elsewhere });
    await writer.goto(`/b/res/${thread}.html`);
    await writer.getByLabel('Comment').fill(comment);
    await writer.getByRole('button', { name: 'Post' }).click();
    await writer.waitForURL(/#\d+$/);
    const no = Number(new URL(writer.url()).hash.slice(1));
    await writer.context().close();
    return no;
  };
  const written = [await write('Before')];
  await page.locator(`#p${written[0]}`).getByText('Before').waitFor();

  const [teller] = tellers;
  await killReplica(site.stack, teller);
  written.push(await write('While nobody tells'));
  await page.locator(`#p${written[1]}`).getByText('While nobody tells').waitFor();
  assert.ok((await page.evaluate(() => globalThis.heard.opened)) > 1, 'the browser has come back by itself');
  written.push(await write('Afterwards'));
  await page.locator(`#p${written[2]}`).getByText('Afterwards').waitFor();

  const { told, reloads } = await page.evaluate(() => globalThis.heard);
  assert.deepEqual([...new Set(told)], written, 'told of every post');
  assert.equal(reloads, 0);
  const shown = await page.locator('.thread article.post').evaluateAll((posts) => posts.map(({ id }) => Number(id.slice(1))));
  assert.deepEqual(shown, [thread, ...written], 'every post once, in order');
  const loaded = await (await fetch(`${site.url}/b/res/${thread}.html`)).text();
  for (const no of written) {
    const [article] = loaded.match(new RegExp(`<article[^>]* id="p${no}"[^]*?</article>`));
    const own = await page.evaluate(([no, text]) => new DOMParser().parseFromString(text, 'text/html').querySelector('article').isEqualNode(document.querySelector(`#p${no}`)), [no, article]);
    assert.ok(own, `No.${no} looks as on a page that is loaded anew`);
  }
});
