import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  checkSizes,
  describeFile,
  describeFiles,
  filesIn,
  type Manifest,
  readManifest,
  readVerified,
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

describe('memory', () => {
  test.each(['gmac', 'sha256'] as const)('is found right or damaged by its %s', async (algorithm) => {
    const path = join(directory, 'pages-1.img');
    const bytes = randomBytes((2 << 20) + 100);
    writeFileSync(path, bytes);
    const described = await describeFile(directory, 'pages-1.img');
    expect(described.sha256).toBeUndefined();
    // As formats 1 and 2 have it.
    const sha256 = [0, 1, 2].map((i) =>
      createHash('sha256')
        .update(bytes.subarray(i << 20, (i + 1) << 20))
        .digest('hex'),
    );
    const file = algorithm === 'gmac' ? described : { path: 'pages-1.img', size: bytes.length, chunk: 1 << 20, sha256 };
    await verifyFile(directory, file);
    for (const at of [0, (1 << 20) + 77, bytes.length - 1]) {
      const other = Buffer.from(bytes);
      other[at]! ^= 0x80;
      writeFileSync(path, other);
      await expect(verifyFile(directory, file)).rejects.toMatchObject(invalid(/pages-1.img has changed between/));
      expect(thrown(() => readVerified(directory, file))).toMatchObject(invalid(/pages-1.img has changed between/));
    }
    rmSync(path);
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

  test.each([
    ['no JSON', 'no JSON at all\n', /holds no JSON object/],
    ['no object', 'null\n', /holds no JSON object/],
    ['no list of files', '{"version":1}\n', /has no list of files/],
    ['a list of something else', '{"version":1,"files":[null]}\n', /has no list of files/],
  ])('that is %s, with the right digest', (_, text, message) => {
    const body = text.slice(0, -1);
    const digest = createHash('sha256').update(body).digest('hex');
    writeFileSync(join(directory, 'checkpoint.json'), `${body}\n${digest}\n`);
    expect(thrown(() => readManifest(directory))).toMatchObject(invalid(message));
  });

  test.each([
    [['/a'], /a, which is no plain path/],
    [['../a'], /a, which is no plain path/],
    [['..'], /which is no plain path/],
    [['./core-1.img'], /which is no plain path/],
    [['a//b'], /which is no plain path/],
    [['a/../b'], /which is no plain path/],
    [['a/'], /which is no plain path/],
    [[''], /which is no plain path/],
    [[7], /which is no plain path/],
    [['a', 'b', 'a'], /the file a, twice/],
    [['core-1.img', 'sub/core-1.img'], /sub\/core-1.img, and another image of that name/],
    [['process/core-1.img', 'core-1.img'], /file core-1.img, and another image of that name/],
  ])('with the files %j is refused', async (paths, message) => {
    const files = paths.map((one) => ({ path: one, size: 1, chunk: 2, sha256: ['x'] })) as Manifest['files'];
    await writeManifest(directory, manifest(files));
    expect(thrown(() => readManifest(directory))).toMatchObject(invalid(message));
  });

  test.each<object>([
    { sha256: [] },
    {},
    { gmac: ['x', 'y', 'z'] },
    { sha256: ['x', 'y'], chunk: 0 },
    { gmac: 'xy' },
    // More than the addon takes, and than is to be held in memory at once.
    { gmac: ['x'], chunk: 2 ** 32 },
    { sha256: ['x'], chunk: (16 << 20) + 1 },
  ])('with a file whose digests are %j is refused', async (digests) => {
    const files = [{ path: 'a', size: 3, chunk: 2, ...digests }] as unknown as Manifest['files'];
    await writeManifest(directory, manifest(files));
    expect(thrown(() => readManifest(directory))).toMatchObject(invalid(/has not all digests of the file a;/));
  });

  test('that names another archive than those it lists is refused', async () => {
    const filesystems = [{ destination: '/data', file: '../tmpfs-0.tar' }];
    await writeManifest(directory, manifest([], { filesystems }));
    expect(thrown(() => readManifest(directory))).toMatchObject(
      invalid(/does not list the file .*tmpfs-0.tar of .data/),
    );
  });

  test('lists regular files, to which no symlink leads', async () => {
    mkdirSync(join(directory, 'real'));
    writeFileSync(join(directory, 'real/a.img'), 'x');
    const file = await describeFile(directory, 'real/a.img');
    const check = (path: string): unknown => thrown(() => checkSizes(directory, manifest([{ ...file, path }])));
    expect(() => checkSizes(directory, manifest([file]))).not.toThrow();
    symlinkSync('real', join(directory, 'process'));
    symlinkSync('real/a.img', join(directory, 'b.img'));
    mkdirSync(join(directory, 'c.img'));
    expect(check('process/a.img')).toMatchObject(invalid(/process\/a.img: process is no directory/));
    expect(check('b.img')).toMatchObject(invalid(/b.img: it is no regular file/));
    expect(check('c.img')).toMatchObject(invalid(/c.img: it is no regular file/));
    // Should it have become one since.
    const link = { ...file, path: 'b.img' };
    expect(thrown(() => readVerified(directory, link))).toMatchObject(invalid(/b.img: it is no regular file/));
    await expect(verifyFile(directory, link)).rejects.toMatchObject(invalid(/b.img: it is no regular file/));
  });

  test('names the file that is missing or has another size', () => {
    const files = [{ path: 'a', size: 1, chunk: 2, sha256: ['x'] }];
    expect(thrown(() => checkSizes(directory, manifest(files)))).toMatchObject(invalid(/incomplete: a is missing/));
    writeFileSync(join(directory, 'a'), 'four');
    expect(thrown(() => checkSizes(directory, manifest(files)))).toMatchObject(invalid(/a has 4 bytes, not 1/));
  });
});
