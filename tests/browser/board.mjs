// The board that some work needs: one of its own, on this machine, or the one that the environment names.
//
//   TRIPTYCH_TEST_URL       where it is, as visitors reach it: http://board.localhost:8080
//   TRIPTYCH_TEST_PSQL      what runs SQL in its database, a command of the shell without the text:
//                           kubectl exec -n triptych board-triptych-postgresql-0 -- psql -U triptych -d triptych
//   TRIPTYCH_TEST_REPLICAS  how many replicas it has; 3
//
// That board has to be set as `settings.mjs` says (which prints values for the chart) and to have no posts: what is
// looked for on its pages is what was posted first.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import './localhost.mjs';
import { variables } from './settings.mjs';
import { withStack } from './stack.mjs';

// Hands a board with these settings to `work`. It has an address, a number of replicas, and `sql`.
export async function withBoard(settings, work) {
  const url = process.env.TRIPTYCH_TEST_URL?.replace(/\/+$/, '');
  if (!url) return withStack(variables(settings), work);
  await fits(url, settings);
  return work({ url, replicas: Number(process.env.TRIPTYCH_TEST_REPLICAS ?? 3), sql });
}

async function json(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address} answers ${answer.status}`);
  return answer.json();
}

// Says what is wrong with a board, before a test says it less clearly.
async function fits(url, { boards, environment }) {
  const wrong = (what) => new Error(`The board at ${url} ${what}. tests/browser/board.mjs says what it needs.`);
  const found = (await json(`${url}/boards.json`)).boards;
  const perPage = environment.TRIPTYCH_THREADS_PER_PAGE;
  for (const { slug, title } of boards) {
    const board = found.find(({ board }) => board === slug);
    if (board?.title !== title) throw wrong(`has no /${slug}/ with the title ${title}`);
    if (perPage && board.per_page !== Number(perPage)) throw wrong(`has ${board.per_page} threads a page instead of ${perPage}`);
    const pages = await json(`${url}/${slug}/threads.json`);
    if (pages.some(({ threads }) => threads.length > 0)) throw wrong(`has posts on /${slug}/ already`);
  }
}

async function sql(text) {
  const command = process.env.TRIPTYCH_TEST_PSQL;
  if (!command) throw new Error('TRIPTYCH_TEST_PSQL is needed with TRIPTYCH_TEST_URL');
  const { stdout } = await promisify(execFile)('sh', ['-c', `${command} "$@"`, 'sh', '-v', 'ON_ERROR_STOP=1', '-qAtc', text]);
  return stdout.trim();
}
