// Makes `screenshot.png`, the picture in the README: a board with pretty content, on a desktop by day and on a
// telephone by night. Run by `make screenshot`; needs fonts for Korean and Japanese. `board.mjs` says how to take it
// of a board that runs elsewhere.
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { withBoard } from './board.mjs';
import { painter } from './pictures.mjs';
import { SCREENSHOT } from './settings.mjs';
import { file, launch, post } from './support.mjs';

const target = fileURLToPath(new URL('screenshot.png', import.meta.url));
const LIMIT = 400_000;
const [WIDTH, HEIGHT] = [1280, 800];

// Fonts as most systems have them, where the ones of this machine are plainer. Taken by Chromium alone.
const FONTS = `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
<include ignore_missing="yes">/etc/fonts/fonts.conf</include>
<match target="pattern"><test name="family" qual="any"><string>system-ui</string></test>
<edit name="family" mode="prepend" binding="strong"><string>Inter</string><string>Noto Sans CJK KR</string></edit></match>
</fontconfig>`;

async function fill(url, paint) {
  const jpeg = async (name, motif, seed, width = 1440, height = 960) => file(name, 'image/jpeg', await paint(motif, seed, width, height));
  const start = (fields, ...files) => post(url, 'photo', fields, files);
  const answer = (resto, fields, ...files) => post(url, 'photo', { resto, ...fields }, files);
  const chat = async (resto, number) => {
    for (let turn = 0; turn < number; turn++) await answer(resto, { com: ['Lovely.', '좋네요!', 'いいね', 'Where is this?', 'Saved.', 'More, please.'][turn % 6] });
  };

  // For the catalogue, the last on top.
  const cat = await start({ sub: '창가에서', com: '하루 종일 여기서 밖만 봐요. 이름은 보리입니다.' }, await jpeg('보리.jpg', 'cat', 4));
  await chat(cat.no, 9);
  const dunes = await start({ sub: 'Ripples', com: 'Wind from the left all night. Taken at seven, gone by nine.' }, await jpeg('dunes.jpg', 'dunes', 5));
  await chat(dunes.no, 4);
  const agate = await start({ com: 'A slice of agate on a light table, 1:1. I could look at this for an hour.' }, await jpeg('agate.jpg', 'agate', 3));
  await chat(agate.no, 6);
  const city = await start({ sub: 'Blue hour from the parking deck', com: 'Tripod, eight seconds, and a very patient guard.' }, await jpeg('deck.jpg', 'city', 2));
  await chat(city.no, 17);
  const forest = await start({ sub: '霧の朝', com: '五時に起きて歩きました。鳥の声だけ。' }, await jpeg('kiri.jpg', 'forest', 6));
  await chat(forest.no, 12);
  const sea = await start({ sub: 'Moon path', com: '바다에 길이 났다. 한 장만 건졌어요.' }, await jpeg('moon.jpg', 'sea', 8));
  await chat(sea.no, 7);
  const stars = await start({ sub: 'No light for forty miles', com: 'First clear night of the month. ISO 3200, twenty seconds, hands frozen.' }, await jpeg('milky-way.jpg', 'stars', 11));
  await chat(stars.no, 21);

  const ridges = await start({
    sub: 'First light over the three ridges', name: 'Walker',
    com: 'Went up before sunrise; the fog in the second valley did not lift until nine.\nShot on a ten-year-old phone, so be kind.\n>waiting two hours for thirty seconds of light\nWorth it. What is the best light you ever had?',
  }, await jpeg('IMG_2231.jpg', 'ridges', 3, 2016, 1371));
  const keeper = await answer(ridges.no, { name: '산지기', com: `>>${ridges.no}\n새벽 안개가 정말 아름답네요. 세 봉우리가 한 장에 다 들어간 사진은 처음 봅니다.\n필터를 쓰셨나요?` });
  const quarry = await answer(ridges.no, { name: 'Walker', com: `>>${keeper.no}\nNo filter, only the fog. This is the marble quarry on the way down.` }, await jpeg('quarry.jpg', 'marble', 4, 1500, 900));
  await answer(ridges.no, { com: `>>${quarry.no}\nThe purple in the far ridge is unreal. Going there in autumn.` });
  await answer(ridges.no, { com: 'Three of mine, all from the same roof, an hour apart.' }, await jpeg('roof-1.jpg', 'city', 5), await jpeg('roof-2.jpg', 'stars', 2), await jpeg('roof-3.jpg', 'sea', 2));
  await answer(ridges.no, { name: '山歩き', com: `>>${ridges.no}\n秋になったら、同じ場所からもう一度お願いします。` });
  return ridges.no;
}

async function shoot(url, fonts) {
  const browser = await launch({ env: { ...process.env, FONTCONFIG_FILE: fonts } });
  try {
    const { paint } = await painter(browser);
    const thread = await fill(url, paint);
    const look = async (path, options) => {
      const page = await browser.newPage({ baseURL: url, deviceScaleFactor: 2, ...options });
      await page.goto(path);
      await page.waitForFunction(() => [...document.images].every((image) => image.complete && image.naturalWidth > 0));
      const shot = await page.screenshot({ type: 'png' });
      await page.close();
      return `data:image/png;base64,${shot.toString('base64')}`;
    };
    const desktop = await look(`/photo/res/${thread}.html`, { viewport: { width: 1300, height: 920 }, colorScheme: 'light' });
    const phone = await look('/photo/catalog.html', { viewport: { width: 390, height: 800 }, colorScheme: 'dark', isMobile: true, hasTouch: true });
    return await compose(browser, desktop, phone);
  } finally {
    await browser.close();
  }
}

// Both on one sheet.
async function compose(browser, desktop, phone) {
  const page = await browser.newPage({ viewport: { width: WIDTH, height: HEIGHT } });
  await page.setContent(`<!doctype html><style>
    body { margin: 0; width: ${WIDTH}px; height: ${HEIGHT}px; overflow: hidden; position: relative; background: #e4dfd3; }
    img { display: block; position: absolute; }
    .desktop { left: 34px; top: 34px; width: 1110px; border-radius: 12px; box-shadow: 0 1px 0 #fff8 inset, 0 16px 44px #3a2f1c2e, 0 0 0 1px #0000001a; }
    .phone { right: 34px; bottom: 30px; width: 282px; border-radius: 34px; border: 8px solid #0b0c0e; box-shadow: 0 22px 60px #20160a66; }
  </style><img class="desktop" src="${desktop}"><img class="phone" src="${phone}">`);
  await page.waitForFunction(() => [...document.images].every((image) => image.complete));
  return page.screenshot({ type: 'png' });
}

const directory = await mkdtemp(join(tmpdir(), 'triptych-fonts-'));
try {
  const fonts = join(directory, 'fonts.conf');
  await writeFile(fonts, FONTS);
  await withBoard(SCREENSHOT, async ({ url }) => writeFile(target, await shoot(url, fonts)));
  const { size } = await stat(target);
  console.log(`${target}: ${Math.round(size / 1000)} kB`);
  if (size > LIMIT) throw new Error(`more than ${LIMIT / 1000} kB`);
} finally {
  await rm(directory, { recursive: true, force: true });
}
