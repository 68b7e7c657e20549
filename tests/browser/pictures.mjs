// Pictures to post: painted by Chromium itself, and small files made by hand that a browser would not make.
import { readFile } from 'node:fs/promises';

const motifs = new URL('motifs.js', import.meta.url);

// A painter: `paint(motif, seed, width, height, type)` answers the bytes of a picture file.
export async function painter(browser) {
  const page = await browser.newPage();
  await page.evaluate(await readFile(motifs, 'utf8'));
  const paint = async (motif, seed = 1, width = 320, height = 240, type = 'image/jpeg', quality = 0.86) => {
    const options = { motif, seed, width, height, type, quality };
    const base64 = await page.evaluate(async (wanted) => {
      const canvas = new OffscreenCanvas(wanted.width, wanted.height);
      const context = canvas.getContext('2d', { willReadFrequently: true });
      globalThis.paint(context, wanted.motif, wanted.seed);
      const blob = await canvas.convertToBlob({ type: wanted.type, quality: wanted.quality });
      return await new Promise((done) => {
        const reader = new FileReader();
        reader.onload = () => done(reader.result.split(',')[1]);
        reader.readAsDataURL(blob);
      });
    }, options);
    return Buffer.from(base64, 'base64');
  };
  return { paint, close: () => page.close() };
}

// A GIF of one colour, the smallest picture there is; `comment` goes into a comment block.
export function gif(side, comment = '') {
  const blocks = Buffer.from(comment).length ? [Buffer.from([0x21, 0xfe]), ...inBlocks(Buffer.from(comment)), Buffer.from([0])] : [];
  const size = Buffer.from([side & 255, side >> 8, side & 255, side >> 8]);
  const colours = Buffer.from([0x80, 0, 0, 0xa3, 0x34, 0x1f, 0xf4, 0xf2, 0xec]);
  const frame = Buffer.concat([Buffer.from([0x2c, 0, 0, 0, 0]), size, Buffer.from([0])]);
  return Buffer.concat([Buffer.from('GIF89a'), size, colours, ...blocks, frame, Buffer.from([2]), ...inBlocks(onlyZeros(side * side)), Buffer.from([0, 0x3b])]);
}

// The same text put where viewers do not look: before the picture's data and behind its end.
export function polyglots(pictures, text) {
  const bytes = Buffer.from(text);
  const jpeg = pictures.jpeg;
  const comment = Buffer.concat([Buffer.from([0xff, 0xfe, (bytes.length + 2) >> 8, (bytes.length + 2) & 255]), bytes]);
  return {
    'jpeg with a comment': ['image/jpeg', 'jpg', Buffer.concat([jpeg.subarray(0, 2), comment, jpeg.subarray(2)])],
    'jpeg with a tail': ['image/jpeg', 'jpg', Buffer.concat([jpeg, bytes])],
    'png with a tail': ['image/png', 'png', Buffer.concat([pictures.png, bytes])],
    'gif with a comment': ['image/gif', 'gif', gif(16, text)],
    'gif with a tail': ['image/gif', 'gif', Buffer.concat([gif(17), bytes])],
    'webp with a tail': ['image/webp', 'webp', Buffer.concat([pictures.webp, bytes])],
  };
}

function inBlocks(bytes) {
  const blocks = [];
  for (let from = 0; from < bytes.length; from += 255) {
    const block = bytes.subarray(from, from + 255);
    blocks.push(Buffer.from([block.length]), block);
  }
  return blocks;
}

// LZW as GIF has it, cleared before the codes grow: every pixel is a code of three bits.
function onlyZeros(pixels) {
  const codes = [];
  for (let pixel = 0; pixel < pixels; pixel++) {
    if (pixel % 2 === 0) codes.push(4);
    codes.push(0);
  }
  codes.push(5);
  const bytes = Buffer.alloc(Math.ceil((codes.length * 3) / 8));
  codes.forEach((code, index) => {
    for (let bit = 0; bit < 3; bit++) if (code & (1 << bit)) bytes[(index * 3 + bit) >> 3] |= 1 << ((index * 3 + bit) & 7);
  });
  return bytes;
}
