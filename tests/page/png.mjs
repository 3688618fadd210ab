// Smaller screenshots. In: a PNG as Chromium writes it, RGB of 8 bits. Out: the same picture with a palette of 256 colours. Of a page of
// text nobody sees the difference, and the repository keeps a third.

import { deflateSync, inflateSync } from "node:zlib";

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/** That of PNG; Node.js 18 of Debian 12 has none. */
function crc32(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return ~sum >>> 0;
}

function chunks(png) {
  const found = [];
  for (let at = SIGNATURE.length; at < png.length; ) {
    const length = png.readUInt32BE(at);
    found.push({ type: png.toString("latin1", at + 4, at + 8), data: png.subarray(at + 8, at + 8 + length) });
    at += length + 12;
  }
  return found;
}

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}

/** The predictor of Paeth, RFC 2083 section 6.6. */
function paeth(left, up, corner) {
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

/** The bytes of the pixels, without the filters of the lines. */
function unfiltered(data, width, height, size) {
  const line = width * size;
  const out = Buffer.alloc(line * height);
  for (let y = 0; y < height; y += 1) {
    const filter = data[y * (line + 1)];
    for (let x = 0; x < line; x += 1) {
      const at = y * line + x;
      const left = x >= size ? out[at - size] : 0;
      const up = y > 0 ? out[at - line] : 0;
      const corner = x >= size && y > 0 ? out[at - line - size] : 0;
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
      out[at] = data[y * (line + 1) + 1 + x] + guess;
    }
  }
  return out;
}

const parts = (color) => [color >> 16, (color >> 8) & 255, color & 255];
const distance = ([r, g, b], [x, y, z]) => (r - x) ** 2 + (g - y) ** 2 + (b - z) ** 2;

/** The palette, and for each colour its place in it: the most frequent one first, then those that would be seen the most as another. */
function palette(pixels, size) {
  const counts = new Map();
  for (let at = 0; at < pixels.length; at += size) {
    const color = pixels.readUIntBE(at, 3);
    counts.set(color, (counts.get(color) ?? 0) + 1);
  }
  const left = [...counts].sort(([a, m], [b, n]) => n - m || a - b).map(([color, count]) => ({ color, count, rgb: parts(color), place: 0, error: Infinity }));
  const kept = [];
  for (let next = left[0]; next?.error > 0 && kept.length < 256; next = left.reduce((worst, one) => (one.count * one.error > worst.count * worst.error ? one : worst))) {
    for (const one of left) {
      const error = distance(one.rgb, next.rgb);
      if (error < one.error) [one.error, one.place] = [error, kept.length];
    }
    kept.push(next.color);
  }
  return { kept, places: new Map(left.map(({ color, place }) => [color, place])) };
}

export function smaller(png) {
  const all = chunks(png);
  const header = Buffer.from(all[0].data);
  const [width, height, kind] = [header.readUInt32BE(0), header.readUInt32BE(4), header[9]];
  const size = { 2: 3, 6: 4 }[kind];
  const data = inflateSync(Buffer.concat(all.filter(({ type }) => type === "IDAT").map(({ data }) => data)));
  const pixels = unfiltered(data, width, height, size);
  const { kept, places } = palette(pixels, size);
  // No filter: of a palette it makes nothing smaller.
  const lines = Buffer.alloc((width + 1) * height);
  for (let at = 0; at < width * height; at += 1) lines[at + 1 + Math.floor(at / width)] = places.get(pixels.readUIntBE(at * size, 3));
  header[9] = 3;
  const colors = Buffer.from(kept.flatMap((color) => [color >> 16, (color >> 8) & 255, color & 255]));
  const body = deflateSync(lines, { level: 9, memLevel: 9 });
  return Buffer.concat([SIGNATURE, chunk("IHDR", header), chunk("PLTE", colors), chunk("IDAT", body), chunk("IEND", Buffer.alloc(0))]);
}
