// What every test needs: the addresses that run.mjs prepared, a browser, visitors, and a way to post past the form.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium } from 'playwright-core';

import './localhost.mjs';

// Set by run.mjs, which starts the board and fills it.
export const site = JSON.parse(process.env.TRIPTYCH_TEST_SITE ?? '{}');

export const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 1 };
export const desktop = { viewport: { width: 1280, height: 800 } };

function chromiumBinary() {
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    for (const directory of process.env.PATH.split(delimiter)) {
      const path = join(directory, name);
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch {
        // Not here.
      }
    }
  }
  throw new Error('Chromium (Debian package chromium) is missing');
}

// Which hosts Chromium may talk to: this machine, and the board that the environment names.
function resolverRules() {
  const { hostname } = new URL(process.env.TRIPTYCH_TEST_URL ?? 'http://127.0.0.1');
  const board = hostname.endsWith('.localhost') ? `MAP ${hostname} 127.0.0.1` : `EXCLUDE ${hostname}`;
  return [board, 'MAP * ~NOTFOUND', 'EXCLUDE 127.0.0.1'].join(', ');
}

// The system's Chromium; it talks to the board and to nobody else.
export function launch(options = {}) {
  return chromium.launch({
    executablePath: chromiumBinary(),
    headless: true,
    // Chromium's own sandbox does not work for root, and for nobody else is it given up.
    chromiumSandbox: process.getuid() !== 0,
    ...options,
    args: [
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--no-proxy-server',
      `--host-resolver-rules=${resolverRules()}`,
      ...(options.args ?? []),
    ],
  });
}

// Somebody with a browser of their own: no cookies, nothing in the cache.
export async function visitor(browser, options = {}) {
  const context = await browser.newContext({ baseURL: site.url, ...desktop, ...options });
  context.setDefaultTimeout(15_000);
  return context.newPage();
}

// Somebody whose browser runs no script.
export const plainVisitor = (browser, options = {}) => visitor(browser, { javaScriptEnabled: false, ...options });

// A file as `setInputFiles` and `post` take it.
export const file = (name, mimeType, buffer) => ({ name, mimeType, buffer });

// Posts as a program does; answers the number and the address. `files` become the field `upfile`.
export async function post(url, board, fields, files = []) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, String(value));
  for (const { name, mimeType, buffer } of files) form.append('upfile', new Blob([buffer], { type: mimeType }), name);
  const answer = await fetch(`${url}/${board}/post`, { method: 'POST', body: form, headers: { accept: 'application/json' } });
  const text = await answer.text();
  if (answer.status !== 201) throw new Error(`posting to /${board}/ was answered with ${answer.status}: ${text}`);
  return JSON.parse(text);
}

// Everything that a page's console says, and errors that nobody caught.
export function complaints(page) {
  const heard = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) heard.push(`${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => heard.push(String(error)));
  page.on('requestfailed', (request) => {
    const { errorText } = request.failure() ?? {};
    // The browser itself gave it up, because the page was left before it was done.
    if (errorText !== 'net::ERR_ABORTED') heard.push(`${request.url()} failed: ${errorText}`);
  });
  return heard;
}
