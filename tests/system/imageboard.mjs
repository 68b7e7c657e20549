// Reads a board with the client `imageboard`, as one that speaks vichan: `node read.mjs SITE BOARD THREAD` prints the
// boards, the catalogue and a thread as the client understands them.
import Imageboard from 'imageboard/node';

const [site, boardId, threadId] = process.argv.slice(2);

// The client wants https; the board of a test has none.
async function sendHttpRequest({ method, url, headers }) {
  const answer = await fetch(`${site}${url}`, { method, headers });
  const responseText = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${url} was answered with ${answer.status}: ${responseText}`);
  return { url, status: answer.status, headers: answer.headers, responseText };
}

const config = { id: 'triptych', domain: 'board.example', engine: 'vichan', api: { getBoards: { method: 'GET', url: '/boards.json' } } };
const client = Imageboard(config, { sendHttpRequest, useRelativeUrls: true });

const { boards } = await client.getBoards();
const { threads } = await client.getThreads({ boardId });
const { thread } = await client.getThread({ boardId, threadId: Number(threadId) });
console.log(JSON.stringify({ boards, threads, thread }));
