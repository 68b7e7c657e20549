// What a board has to be set to, for the tests and for the picture in the README: the one place that both ways of
// running one read. Run by itself it prints values for the chart: `node settings.mjs [tests|screenshot]`.
import { pathToFileURL } from 'node:url';

import { PAYLOADS } from './payloads.mjs';

export const TESTS = {
  boards: [
    { slug: 'b', title: 'Random', description: 'Anything goes, kindly' },
    { slug: 'art', title: 'Art', description: 'Drawings, paintings, work in progress' },
    { slug: 'empty', title: 'Quiet', description: 'Nobody was here yet' },
    { slug: 'old', title: 'Museum', description: 'To look at, not to touch' },
    { slug: 'x', title: `Odd ${PAYLOADS[1]}`, description: `Odder ${PAYLOADS[0]} ${PAYLOADS[2]}` },
  ],
  // Few threads fill several pages.
  environment: { TRIPTYCH_THREADS_PER_PAGE: '3', TRIPTYCH_TRAFFIC_PAGE: 'public', TRIPTYCH_TRAFFIC_BUDGET: '2TB' },
};

export const SCREENSHOT = {
  boards: [
    { slug: 'photo', title: 'Photography', description: 'What you saw and how' },
    { slug: 'art', title: 'Art', description: 'Drawings, paintings, work in progress' },
    { slug: 'music', title: 'Music', description: 'Played, heard, collected' },
    { slug: 'kor', title: '한국어', description: '한국어로 이야기해요' },
    { slug: 'b', title: 'Random', description: 'Anything goes, kindly' },
  ],
  environment: {},
};

// As variables of the application.
export const variables = ({ boards, environment }) => ({ TRIPTYCH_BOARDS: JSON.stringify(boards), ...environment });

// As values of the chart.
const values = ({ boards, environment }) => ({
  boards,
  app: { extraEnv: Object.entries(environment).map(([name, value]) => ({ name, value })) },
});

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const settings = { tests: TESTS, screenshot: SCREENSHOT }[process.argv[2] ?? 'tests'];
  if (!settings) throw new Error('usage: node settings.mjs [tests|screenshot]');
  // JSON is YAML too.
  console.log(JSON.stringify(values(settings), null, 2));
}
