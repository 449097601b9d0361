import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  checkSizes,
  describeFile,
  describeFiles,
  filesIn,
  type Manifest,
  readManifest,
  verifyFile,
  writeManifest,
} from './manifest';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'silt-manifest-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const invalid = (message: RegExp): object => ({
  code: 'CHECKPOINT_INVALID',
  message: expect.stringMatching(message) as string,
});
const manifest = (files: Manifest['files'], changes: object = {}): Manifest =>
  ({ version: 1, silt: '9.9', mounts: [], files, ...changes }) as unknown as Manifest;

function thrown(body: () => unknown): unknown {
  try {
    body();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

describe('the digests of a file', () => {
  test.each([0, 1, (16 << 20) + 5, (65 << 20) + 1])(
    'of %i bytes are those of its chunks, and tell where it has changed',
    async (size) => {
      const path = join(directory, 'upper.tar');
      const bytes = Buffer.alloc(size, 'some pattern');
      writeFileSync(path, bytes);
      const file = await describeFile(directory, 'upper.tar');
      const chunks = Array.from({ length: Math.ceil(size / file.chunk) }, (_, i) => bytes.subarray(i * file.chunk, (i + 1) * file.chunk)); // prettier-ignore
      expect(file).toMatchObject({ path: 'upper.tar', size });
      expect(file.sha256).toEqual(chunks.map((chunk) => createHash('sha256').update(chunk).digest('hex')));
      await verifyFile(directory, file);
      if (size === 0) return;
      bytes[size - 1]! ^= 1;
      writeFileSync(path, bytes);
      const from = (chunks.length - 1) * file.chunk;
      await expect(verifyFile(directory, file)).rejects.toMatchObject(
        invalid(new RegExp(`upper.tar has changed between its bytes ${from} and ${size}$`)),
      );
      truncateSync(path, size - 1);
      await expect(verifyFile(directory, file)).rejects.toMatchObject(
        invalid(/became shorter while it was read|has changed/),
      );
    },
  );

  test('of many files come in their order', async () => {
    const names = Array.from({ length: 100 }, (_, i) => `core-${i}.img`);
    for (const name of names) writeFileSync(join(directory, name), name);
    const files = await describeFiles(directory, names);
    expect(files).toEqual(await Promise.all(names.map((name) => describeFile(directory, name))));
    await expect(describeFiles(directory, [...names, 'none'])).rejects.toThrow(/ENOENT.*none/);
  });

  test('of memory are of smaller chunks', async () => {
    writeFileSync(join(directory, 'upper.tar'), '');
    const usual = await describeFile(directory, 'upper.tar');
    rmSync(join(directory, 'upper.tar'));
    writeFileSync(join(directory, 'pages-1.img'), '');
    const memory = await describeFile(directory, 'pages-1.img');
    expect(memory.chunk).toBeLessThan(usual.chunk);
    expect(filesIn(directory)).toEqual(['pages-1.img']);
  });
});

describe('the manifest', () => {
  const path = (): string => join(directory, 'checkpoint.json');

  test('is read as it was written, and is no file of its own list', async () => {
    const written = manifest([{ path: 'a', size: 1, chunk: 2, sha256: ['x'] }]);
    await writeManifest(directory, written);
    expect(readManifest(directory)).toEqual(written);
    expect(filesIn(directory)).toEqual([]);
  });

  test('is refused when it is not there, changed, cut short, or of a newer silt, which is named', async () => {
    expect(thrown(() => readManifest(directory))).toMatchObject(invalid(/holds no checkpoint: .*ENOENT/));
    await writeManifest(directory, manifest([]));
    const text = readFileSync(path(), 'utf8');
    for (const other of [text.replace('9.9', '9.8'), text.slice(0, -30), text.slice(0, 20), '']) {
      writeFileSync(path(), other);
      expect(thrown(() => readManifest(directory))).toMatchObject(invalid(/is damaged or was changed/));
    }
    await writeManifest(directory, manifest([], { version: 99 }));
    expect(thrown(() => readManifest(directory))).toMatchObject(
      invalid(/of format 99, .*restore it with silt 9.9 or later/),
    );
  });

  test('names the file that is missing or has another size', () => {
    const files = [{ path: 'a', size: 1, chunk: 2, sha256: ['x'] }];
    expect(thrown(() => checkSizes(directory, manifest(files)))).toMatchObject(invalid(/incomplete: a is missing/));
    writeFileSync(join(directory, 'a'), 'four');
    expect(thrown(() => checkSizes(directory, manifest(files)))).toMatchObject(invalid(/a has 4 bytes, not 1/));
  });
});
