// Posting, reading and deleting, by people whose browsers run no script.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { gif, painter } from '../pictures.mjs';
import { file, launch, plainVisitor, post, site } from '../support.mjs';

let browser, jpeg;
before(async () => {
  browser = await launch();
  const { paint, close } = await painter(browser);
  jpeg = await paint('ridges', 7, 480, 320);
  await close();
});
after(() => browser.close());

let counter = 0;
// A text that stands nowhere else.
const unique = (text) => `${text} ${process.pid}-${(counter += 1)}`;
const picture = (name = 'ridges.jpg') => file(name, 'image/jpeg', jpeg);
const send = (page) => page.getByRole('button', { name: 'Post' }).click();
const landed = (page) => page.waitForURL(/\/res\/\d+\.html#\d+$/);
const numberIn = (url) => Number(new URL(url).hash.slice(1));

// Fills in the form of a page that starts a thread; the folded form is opened first.
async function startThread(page, comment, files = [picture()]) {
  await page.goto('/b/');
  await page.locator('summary').click();
  await page.getByLabel('Comment').fill(comment);
  await page.getByLabel('Pictures', { exact: true }).setInputFiles(files);
}

async function newThread(page, comment, files) {
  await startThread(page, comment, files);
  await send(page);
  await landed(page);
  return numberIn(page.url());
}

// Deletes a post on the open page without a password; answers the status.
async function removePost(page, no) {
  await page.getByLabel(`Select post ${no} for deletion`).check();
  const [answer] = await Promise.all([page.waitForResponse((answer) => answer.request().method() === 'POST'), page.locator('#delete').getByRole('button').click()]);
  return answer.status();
}

// Looks at an address until all replicas have answered; each in a browser that knows nothing yet.
async function onEveryReplica(path, look) {
  const seen = new Set();
  for (let turn = 0; turn < 40 && seen.size < site.replicas; turn++) {
    const page = await plainVisitor(browser);
    const answer = await page.goto(path);
    const replica = answer.headers()['x-served-by'];
    assert.ok(replica, 'the answer names its replica');
    seen.add(replica);
    await look(page, answer);
    await page.context().close();
  }
  assert.equal(seen.size, site.replicas, `replicas that have answered: ${[...seen]}`);
}

test('a new thread is shown as soon as it is posted, to everybody, by every replica', async () => {
  const page = await plainVisitor(browser);
  const comment = unique('A picture for all');
  await startThread(page, comment);
  await page.getByLabel('Name').fill('Walker');
  await page.getByLabel('Subject').fill('First light');
  await send(page);
  await landed(page);
  const no = numberIn(page.url());
  assert.equal(new URL(page.url()).pathname, `/b/res/${no}.html`);

  const look = async (page) => {
    const article = page.locator(`#p${no}`);
    assert.ok((await article.innerText()).includes(comment));
    assert.equal(await article.locator('.by').innerText(), 'Walker');
    assert.equal(await article.getByRole('heading', { level: 1 }).innerText(), 'First light');
    await page.waitForFunction((no) => document.querySelector(`#p${no} img`).naturalWidth > 0, no);
  };
  await look(page);
  assert.equal(await page.locator('article:has(:target)').getAttribute('id'), `p${no}`, 'the post is the one that stands out');
  await onEveryReplica(`/b/res/${no}.html`, look);
  for (const path of ['/b/', '/b/catalog.html']) {
    await onEveryReplica(path, async (page) => assert.ok((await page.content()).includes(comment), path));
  }
});

test('the whole picture is one click away', async () => {
  const page = await plainVisitor(browser);
  const no = await newThread(page, unique('Click'));
  const [answer] = await Promise.all([page.waitForResponse(/\/media\//), page.locator(`#p${no} .file a`).click()]);
  assert.equal(answer.headers()['content-type'], 'image/jpeg');
  await page.waitForFunction(() => document.images[0]?.naturalWidth === 480);
});

test('a reply bumps its thread, and with sage it does not', async () => {
  const page = await plainVisitor(browser);
  const threads = [await newThread(page, unique('Below')), await newThread(page, unique('Above'))];
  const onTop = async () => {
    await page.goto('/b/');
    return (await page.locator('article.op').first().getAttribute('id')).slice(1);
  };
  const reply = async (thread, comment, sage) => {
    await page.goto(`/b/res/${thread}.html`);
    await page.getByLabel('Comment').fill(comment);
    if (sage) await page.getByLabel('Do not bump').check();
    await send(page);
    await landed(page);
    return page.locator(`#p${numberIn(page.url())}`);
  };
  const quiet = await reply(threads[0], unique('Quietly'), true);
  assert.equal(await quiet.locator('.sage').innerText(), 'sage');
  assert.equal(await onTop(), String(threads[1]));
  const loud = await reply(threads[0], unique('Loudly'), false);
  assert.equal(await loud.locator('.sage').count(), 0);
  assert.equal(await onTop(), String(threads[0]));
});

test('a quote leads to the post and back', async () => {
  const page = await plainVisitor(browser);
  const no = await newThread(page, unique('Quoted'));
  await page.getByLabel('Comment').fill(`>>${no}\n>is it true\nIt is.`);
  await send(page);
  await landed(page);
  const reply = numberIn(page.url());
  const article = page.locator(`#p${reply}`);
  assert.equal(await article.locator('.quote').innerText(), '>is it true');
  await article.locator('.text .quotelink').click();
  assert.equal(numberIn(page.url()), no);
  assert.equal(await page.locator('article:has(:target)').getAttribute('id'), `p${no}`);
  await page.locator(`#p${no} .back a`).click();
  assert.equal(numberIn(page.url()), reply);
  assert.ok(await article.isVisible());
});

test('a spoiler hides its picture everywhere, and shows it on request', async () => {
  const page = await plainVisitor(browser);
  await startThread(page, unique('Hidden'));
  await page.getByLabel('Spoiler', { exact: true }).check();
  await send(page);
  await landed(page);
  const no = numberIn(page.url());
  for (const [path, place] of [[`/b/res/${no}.html`, `#p${no}`], ['/b/', `#p${no}`], ['/b/catalog.html', `li:has(a[href*="/res/${no}.html"])`]]) {
    await page.goto(path);
    assert.equal(await page.locator(place).locator('img').count(), 0, path);
    assert.equal((await page.locator(place).locator('.cover').innerText()).trim(), 'Spoiler', path);
  }
  await page.goto('/');
  assert.equal(await page.locator(`a[href*="/res/${no}.html"]`).count(), 0, 'the home page shows no spoilers at all');
  await page.goto(`/b/res/${no}.html`);
  await Promise.all([page.waitForResponse(/\/media\//), page.locator(`#p${no} .file a`).click()]);
});

test('five pictures are refused in words, and nothing that was typed is lost', async () => {
  const page = await plainVisitor(browser);
  const comment = unique('Typed with care\n  and "quotes" & <angles>');
  await startThread(page, comment, [1, 2, 3, 4, 5].map((side) => file(`${side}.gif`, 'image/gif', gif(side))));
  await page.getByLabel('Name').fill('Walker');
  await page.getByLabel('Subject').fill('Five');
  await page.getByLabel('Spoiler', { exact: true }).check();
  const [answer] = await Promise.all([page.waitForResponse((answer) => answer.request().method() === 'POST'), send(page)]);
  assert.ok(answer.status() >= 400 && answer.status() < 500, `status ${answer.status()}`);
  await page.waitForSelector('.sorry');
  assert.match(await page.locator('.sorry').innerText(), /4 pictures at the most/);
  assert.equal(await page.getByLabel('Comment').inputValue(), comment);
  assert.equal(await page.getByLabel('Name').inputValue(), 'Walker');
  assert.equal(await page.getByLabel('Subject').inputValue(), 'Five');
  assert.ok(await page.getByLabel('Spoiler', { exact: true }).isChecked());

  await page.getByLabel('Pictures', { exact: true }).setInputFiles([picture()]);
  await send(page);
  await landed(page);
  assert.ok((await page.locator(`#p${numberIn(page.url())} .text`).innerText()).includes('and "quotes" & <angles>'));
});

test('a text that is too long is refused, kept, and accepted once it is shorter', async () => {
  const page = await plainVisitor(browser);
  const thread = await newThread(page, unique('Short'));
  const long = 'long '.repeat(1200);
  await page.getByLabel('Comment').fill(long);
  await page.getByLabel('Do not bump').check();
  await send(page);
  await page.waitForSelector('.sorry');
  assert.match(await page.locator('.sorry').innerText(), /5000 is the most|5,000 is the most/);
  assert.equal(await page.getByLabel('Comment').inputValue(), long);
  assert.ok(await page.getByLabel('Do not bump').isChecked());
  await page.getByLabel('Comment').fill(unique('Shorter'));
  await send(page);
  await landed(page);
  assert.equal(new URL(page.url()).pathname, `/b/res/${thread}.html`);
  assert.equal(await page.locator('.replies article').count(), 1);
});

test('a browser deletes what it posted without a password, and nobody else can', async () => {
  const page = await plainVisitor(browser);
  const thread = await newThread(page, unique('To stay'));
  await page.getByLabel('Comment').fill(unique('To go'));
  await send(page);
  await landed(page);
  const no = numberIn(page.url());
  const remove = async (page) => {
    await page.goto(`/b/res/${thread}.html`);
    return removePost(page, no);
  };
  const stranger = await plainVisitor(browser);
  assert.equal(Math.floor((await remove(stranger)) / 100), 4);
  assert.match(await stranger.locator('.sorry').innerText(), /password/i);
  await onEveryReplica(`/b/res/${thread}.html`, async (page) => assert.equal(await page.locator(`#p${no}`).count(), 1));

  assert.equal(await remove(page), 303);
  await onEveryReplica(`/b/res/${thread}.html`, async (page) => assert.equal(await page.locator(`#p${no}`).count(), 0));
});

test('the password deletes from elsewhere', async () => {
  const page = await plainVisitor(browser);
  await startThread(page, unique('With a password'));
  await page.getByLabel('Password, only').fill('correct horse');
  await send(page);
  await landed(page);
  const no = numberIn(page.url());
  const elsewhere = await plainVisitor(browser);
  await elsewhere.goto(`/b/res/${no}.html`);
  await elsewhere.getByLabel(`Select post ${no} for deletion`).check();
  await elsewhere.locator('#delete-pwd').fill('correct horse');
  await elsewhere.locator('#delete').getByRole('button').click();
  await elsewhere.waitForURL('/b/');
  await onEveryReplica(`/b/res/${no}.html`, async (_, answer) => assert.equal(answer.status(), 404));
});

test('pictures can be deleted alone; the text stays', async () => {
  const page = await plainVisitor(browser);
  const comment = unique('Only words stay');
  const no = await newThread(page, comment);
  const media = await page.locator(`#p${no} .file a`).getAttribute('href');
  await page.getByLabel(`Select post ${no} for deletion`).check();
  await page.getByLabel('Pictures only').check();
  await page.locator('#delete').getByRole('button').click();
  await page.waitForSelector('p.cover');
  await onEveryReplica(`/b/res/${no}.html`, async (page) => {
    const article = page.locator(`#p${no}`);
    assert.ok((await article.innerText()).includes(comment));
    assert.equal(await article.locator('.file').innerText(), 'File deleted');
    assert.equal((await page.content()).includes(media), false);
  });
});

// The form is sent twice only when the second click comes while the answer to the first is on its way.
async function slowAnswers(page) {
  const session = await page.context().newCDPSession(page);
  await session.send('Network.enable');
  const wait = (latency) => session.send('Network.emulateNetworkConditions', { offline: false, latency, downloadThroughput: -1, uploadThroughput: -1 });
  // Long enough for a second click on a busy machine.
  await wait(4000);
  return () => wait(0);
}

test('a double click on Post makes one post, and who clicked deletes it', async () => {
  const page = await plainVisitor(browser);
  const comment = unique('Clicked twice');
  await startThread(page, comment);
  await page.getByRole('button', { name: 'Post' }).dblclick();
  await landed(page);
  await onEveryReplica('/b/catalog.html', async (page) => assert.equal(await page.getByText(comment).count(), 1));
  assert.equal(await removePost(page, numberIn(page.url())), 303);
});

test('a second, impatient click on Post makes no second post, and who clicked deletes it', async () => {
  // The first post of a newcomer, and the second one of somebody else.
  for (const start of [(page, comment) => startThread(page, comment), async (page, comment) => {
    await newThread(page, unique('Impatient'));
    await page.getByLabel('Comment').fill(comment);
  }]) {
    const page = await plainVisitor(browser);
    const comment = unique('Clicked again');
    await start(page, comment);
    const quickAgain = await slowAnswers(page);
    let sent = 0;
    page.on('request', (request) => (sent += request.method() === 'POST' ? 1 : 0));
    const button = page.getByRole('button', { name: 'Post' });
    await button.scrollIntoViewIfNeeded();
    const { x, y, width, height } = await button.boundingBox();
    await page.mouse.click(x + width / 2, y + height / 2);
    await page.waitForTimeout(300);
    await page.mouse.click(x + width / 2, y + height / 2);
    await quickAgain();
    await landed(page);
    assert.equal(sent, 2, 'the browser has sent the form twice');
    await page.waitForLoadState();
    await onEveryReplica(new URL(page.url()).pathname, async (page) => assert.equal(await page.getByText(comment).count(), 1));
    await onEveryReplica('/b/', async (page) => assert.ok((await page.getByText(comment).count()) <= 1));
    assert.equal(await removePost(page, numberIn(page.url())), 303);
  }
});

test('two newcomers behind one address who say the same are two people, and reading tells nobody apart', async () => {
  const thread = await newThread(await plainVisitor(browser), unique('For newcomers'));
  const comment = unique('First!');
  const newcomers = [await plainVisitor(browser), await plainVisitor(browser)];
  const requests = [];
  for (const page of newcomers) {
    page.on('requestfinished', (request) => requests.push(request));
    for (const path of ['/', '/b/', '/b/catalog.html', `/b/res/${thread}.html`]) await page.goto(path);
    await page.getByLabel('Comment').fill(comment);
  }
  const cookies = async () => [...new Set((await Promise.all(requests.splice(0).map((request) => request.allHeaders()))).map((headers) => headers.cookie))];
  assert.deepEqual((await cookies()).sort(), ['triptych_has_token=1', undefined], 'what readers send is the same for all of them');
  const numbers = [];
  for (const page of newcomers) {
    await send(page);
    await landed(page);
    numbers.push(numberIn(page.url()));
  }
  const tokens = (await cookies()).filter((cookies) => cookies?.includes('triptych_token='));
  assert.equal(tokens.length, 2, 'each posts with a token of their own');
  assert.notEqual(numbers[0], numbers[1]);
  for (const [others, status] of [[1, 403], [0, 303]]) {
    for (const [turn, page] of newcomers.entries()) {
      await page.goto(`/b/res/${thread}.html`);
      assert.equal(await removePost(page, numbers[(turn + others) % 2]), status);
    }
  }
});

test('going back and sending the form for a thread again makes one thread', async () => {
  const page = await plainVisitor(browser);
  const comment = unique('A thread sent again');
  const no = await newThread(page, comment);
  await page.goBack();
  if (!(await page.getByLabel('Comment').isVisible())) await page.locator('summary').click();
  assert.equal(await page.getByLabel('Comment').inputValue(), comment, 'the browser keeps what was typed');
  await page.getByLabel('Pictures', { exact: true }).setInputFiles([picture()]);
  await send(page);
  await page.waitForURL(`/b/res/${no}.html#${no}`);
  await page.goto('/b/catalog.html');
  assert.equal(await page.getByText(comment).count(), 1);
});

test('loading the page again after a post sends nothing', async () => {
  const page = await plainVisitor(browser);
  await newThread(page, unique('Loaded again'));
  await page.getByLabel('Comment').fill(unique('Once'));
  await send(page);
  await landed(page);
  await page.reload();
  await page.reload();
  assert.equal(await page.locator('.replies article').count(), 1);
});

test('a thread takes no replies when it is locked, and says so when one was being written', async () => {
  const page = await plainVisitor(browser);
  await page.goto(site.pages['locked thread']);
  assert.equal(await page.locator('form#post').count(), 0);
  assert.match(await page.locator('#post').innerText(), /locked/i);
  const thread = Number(site.pages['locked thread'].match(/\d+/)[0]);
  await assert.rejects(post(site.url, 'art', { resto: thread, com: 'Too late' }), /40[39]|423/);
});
