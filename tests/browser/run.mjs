// Fills a real board and runs the tests beside this file against it: `node run.mjs [file …]`. `board.mjs` says which
// board that is.
import { readdir } from 'node:fs/promises';
import { cpus } from 'node:os';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';

import { withBoard } from './board.mjs';
import { fill } from './content.mjs';
import { TESTS } from './settings.mjs';

const here = fileURLToPath(new URL('tests/', import.meta.url));
const names = process.argv.length > 2 ? process.argv.slice(2) : (await readdir(here)).filter((name) => name.endsWith('.mjs')).sort();

const failures = await withBoard(TESTS, async (board) => {
  process.env.TRIPTYCH_TEST_SITE = JSON.stringify({ ...(await fill(board)), alone: board.alone, stack: board.stack });
  let failed = 0;
  const tests = run({ files: names.map((name) => `${here}${name}`), concurrency: Math.max(1, cpus().length - 1), timeout: 600_000 });
  tests.on('test:fail', ({ todo }) => (failed += todo === undefined ? 1 : 0));
  tests.compose(new spec()).pipe(process.stdout);
  await new Promise((done) => tests.once('close', done).once('end', done));
  return failed;
});
process.exitCode = failures > 0 ? 1 : 0;
