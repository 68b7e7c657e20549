// A whole board for as long as some work takes: Postgres, S3, three replicas and nginx, on data of its own.
import { execFile, spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const REPLICAS = 3;
const START_LIMIT = 120_000;
const STOP_LIMIT = 60_000;

const root = fileURLToPath(new URL('../..', import.meta.url));

function binary() {
  const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
  return join(target, process.env.TRIPTYCH_PROFILE ?? 'debug', 'stack');
}

async function freePort() {
  const server = createServer();
  await new Promise((done, failed) => server.once('error', failed).listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

// Starts a board, hands it to `work`, and stops it whatever happens. `settings` are variables of the application.
export async function withStack(settings, work) {
  const directory = await mkdtemp(join(tmpdir(), 'triptych-browser-'));
  // The servers run as other users when root starts them; they may pass, not list.
  await chmod(directory, 0o711);
  const port = await freePort();
  const environment = { ...process.env, ...settings, PORT: String(port), REPLICAS: String(REPLICAS), STACK_DIR: join(directory, 'stack') };
  // The kernel stops it should this process be killed.
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', binary()], {
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const ended = new Promise((done) => child.once('error', done).once('exit', (code, signal) => done(code ?? signal)));
  const lost = ended.then((how) => {
    throw new Error(`the board has ended by itself (${how})`);
  });
  lost.catch(() => {});

  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT);
      await ended;
      clearTimeout(late);
    }
    await rm(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 });
  };
  const interrupted = async (signal) => {
    await stop();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);

  try {
    const started = new Promise((done, failed) => {
      const late = setTimeout(() => failed(new Error('the board did not start')), START_LIMIT);
      lost.catch(() => clearTimeout(late));
      child.stdout.on('data', () => output.includes('Ctrl-C stops everything') && done(clearTimeout(late)));
    });
    await Promise.race([started, lost]);
    const alone = Object.fromEntries([...output.matchAll(/(\S+) alone: (\S+)/g)].map(([, name, url]) => [name, url]));
    const board = { url: `http://127.0.0.1:${port}`, replicas: REPLICAS, alone, stack: child.pid, sql: (text) => sql(environment.STACK_DIR, text) };
    return await Promise.race([work(board), lost]);
  } catch (error) {
    process.stderr.write(`${output}\n`);
    throw error;
  } finally {
    process.removeListener('SIGINT', interrupted).removeListener('SIGTERM', interrupted);
    await stop();
  }
}

// Kills a replica (`kill -9`) of the board that the process `stack` runs, which starts it again.
export async function killReplica(stack, name) {
  const threads = await readdir(`/proc/${stack}/task`);
  const children = await Promise.all(threads.map((thread) => readFile(`/proc/${stack}/task/${thread}/children`, 'utf8')));
  for (const pid of children.join(' ').split(/\s+/).filter(Boolean)) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    if (environment.split('\0').includes(`TRIPTYCH_REPLICA=${name}`)) return process.kill(Number(pid), 'SIGKILL');
  }
  throw new Error(`there is no replica ${name}`);
}

// For what no visitor can do yet, such as locking a thread.
async function sql(directory, text) {
  const [password, state] = await Promise.all(
    ['postgres/password', 'postgres/data/postmaster.pid'].map((name) => readFile(join(directory, name), 'utf8')),
  );
  const port = state.split('\n')[3].trim();
  const environment = { ...process.env, PGPASSWORD: password.trim() };
  const options = ['-h', '127.0.0.1', '-p', port, '-U', 'triptych', '-d', 'triptych', '-v', 'ON_ERROR_STOP=1', '-qAtc', text];
  const { stdout } = await promisify(execFile)('psql', options, { env: environment });
  return stdout.trim();
}
