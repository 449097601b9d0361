import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VerifiedFile } from './verified-file';

const CHUNK = 8192;
const content = randomBytes(2 * CHUNK + 100);
let directory: string;
beforeAll(() => (directory = mkdtempSync(join(tmpdir(), 'silt-pages-'))));
afterAll(() => rmSync(directory, { recursive: true }));

const path = (): string => join(directory, 'pages');

const chunks = [0, 1, 2].map((i) => content.subarray(i * CHUNK, (i + 1) * CHUNK));
const DIGESTS = {
  sha256: chunks.map((chunk) => createHash('sha256').update(chunk).digest('hex')),
  // GMAC is AES-GCM of nothing, with the bytes as additional data (NIST SP 800-38D).
  gmac: chunks.map((chunk) => {
    const cipher = createCipheriv('aes-128-gcm', Buffer.alloc(16), Buffer.alloc(12));
    cipher.setAAD(chunk).final();
    return cipher.getAuthTag().toString('hex');
  }),
};

describe.each(['sha256', 'gmac'] as const)('of a file with digests by %s', (algorithm) => {
  function opened(bytes = content): VerifiedFile {
    writeFileSync(path(), bytes);
    const file = { path: 'process/pages-1.img', size: content.length, chunk: CHUNK, [algorithm]: DIGESTS[algorithm] };
    return new VerifiedFile(openSync(path(), 'r'), '/image', file);
  }

  test('bytes are given as far as their chunk goes', () => {
    const file = opened();
    expect(file.read(100, 200).equals(content.subarray(100, 300))).toBe(true);
    expect(file.read(CHUNK - 10, 200).equals(content.subarray(CHUNK - 10, CHUNK))).toBe(true);
    expect(file.read(2 * CHUNK, CHUNK).equals(content.subarray(2 * CHUNK))).toBe(true);
    file.close();
  });

  test('nothing is given of a chunk that has changed, of others everything', () => {
    const changed = Buffer.from(content);
    changed[CHUNK + 5]! ^= 1;
    const file = opened(changed);
    expect(file.read(0, 10)).toHaveLength(10);
    expect(() => file.read(CHUNK, 4)).toThrow(
      `the checkpoint /image is damaged: process/pages-1.img has changed between its bytes ${CHUNK} and ${2 * CHUNK}`,
    );
    expect(file.read(2 * CHUNK, 10)).toHaveLength(10);
    file.close();
  });

  test('what it has become shorter by is damaged', () => {
    const file = opened();
    truncateSync(path(), CHUNK + 1);
    expect(() => file.read(CHUNK, 1)).toThrow(/has changed/);
    file.close();
  });
});
