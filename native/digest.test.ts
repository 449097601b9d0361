import { createCipheriv, createHash } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative } from './index';

const native = loadNative();
const directory = mkdtempSync(join(tmpdir(), 'silt-digest-'));
const bytes = Buffer.from(Array.from({ length: 700_000 }, (_, i) => (i * 7919) >> 5));
writeFileSync(join(directory, 'file'), bytes);
const fd = openSync(join(directory, 'file'), 'r');
afterAll(() => {
  closeSync(fd);
  rmSync(directory, { recursive: true });
});

const known = (part: Buffer): string => createHash('sha256').update(part).digest('hex');

function knownMac(part: Buffer): string {
  const cipher = createCipheriv('aes-128-gcm', Buffer.alloc(16), Buffer.alloc(12)).setAAD(part);
  cipher.final();
  return cipher.getAuthTag().toString('hex');
}

type Found = { found: string[]; error: number };

function digests(file: number, start: number, end: number, chunk: number, isGmac = false): Promise<Found> {
  const size = isGmac ? 16 : 32;
  const out = Buffer.alloc(Math.ceil((end - start) / chunk) * size);
  return new Promise((resolve) =>
    native.digestChunks(file, start, end, chunk, out, isGmac, (count, error) => {
      const found = Array.from({ length: count }, (_, i) => out.toString('hex', i * size, (i + 1) * size));
      resolve({ found, error });
    }),
  );
}

test.each([0, 1, 15, 16, 17, 55, 56, 64, 1000, 262_144, 262_145, 700_000])(
  '%i bytes have the digests that everybody else gets',
  (size) => {
    const part = bytes.subarray(0, size);
    expect(Buffer.from(native.sha256(part)).toString('hex')).toBe(known(part));
    expect(Buffer.from(native.gmac(part)).toString('hex')).toBe(knownMac(part));
  },
);

test.each([
  [false, known],
  [true, knownMac],
])('each chunk of a file has its digest, the last one too (GMAC: %p)', async (isGmac, wanted) => {
  const { found, error } = await digests(fd, 0, bytes.length, 300_000, isGmac);
  expect(error).toBe(0);
  expect(found).toEqual([0, 300_000, 600_000].map((at) => wanted(bytes.subarray(at, at + 300_000))));
});

test('only what lies between the offsets is read', async () => {
  expect(await digests(fd, 1000, 2500, 1000)).toEqual({
    found: [known(bytes.subarray(1000, 2000)), known(bytes.subarray(2000, 2500))],
    error: 0,
  });
});

test('a file that is too short has only the digests of its whole chunks', async () => {
  expect(await digests(fd, 600_000, 800_000, 50_000)).toEqual({
    found: [known(bytes.subarray(600_000, 650_000)), known(bytes.subarray(650_000, 700_000))],
    error: 0,
  });
});

test('what cannot be read has an errno', async () => {
  const place = openSync(directory, 'r');
  expect(await digests(place, 0, 10, 10)).toEqual({ found: [], error: 21 });
  closeSync(place);
});

test('room for too few digests is refused', () => {
  const run = (): void => native.digestChunks(fd, 0, 3, 1, Buffer.alloc(64), false, () => undefined);
  expect(run).toThrow('digestChunks: expected');
});
