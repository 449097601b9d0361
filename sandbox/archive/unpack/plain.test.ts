/** Entries like most, which a loop in C applies: the same comes of them as when TypeScript applies each. */
import { closeSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { SiltError } from '../../../errors';
import { loadNative } from '../../../native';
import { fileWith, withFile } from '../testing/archive-file';
import { archive, base256, entry, pax, seal } from '../testing/tar-bytes';
import { isRoot, look, makeTmpfs, setXattr, type Seen, type Upper } from '../testing/upper';
import { unpack, type UnpackOptions } from './index';
import { performPrivileged } from './privileged';

const native = loadNative();
/** The loop that leaves every entry to others. */
const withoutLoop: typeof native = {
  ...native,
  unpackPlain: (job) => {
    job.fill(0, 5, 7);
    return 0;
  },
};
const dir = (name: string, mode = '0000755\0'): Buffer => entry({ name, type: '5', mode });
const file = (name: string, contents: string | Buffer = ''): Buffer => entry({ name }, contents);

(isRoot() ? describe : describe.skip)('entries like most', () => {
  let upper: Upper;
  beforeEach(() => void (upper = makeTmpfs()));
  afterEach(() => upper.close());

  /** What comes of an archive in a new upper: the tree, or the error. */
  async function outcome(data: Buffer, options: Partial<UnpackOptions>): Promise<unknown> {
    const made = makeTmpfs();
    try {
      const warnings: string[] = [];
      const runner = options.runner ?? native;
      const privileged: UnpackOptions['privileged'] = (request) => performPrivileged(native, request);
      const onWarning = (message: string): void => void warnings.push(message);
      const given = { runner, upperFd: made.fd, privileged, onWarning, ...options };
      const result = await withFile(data, (archiveFd) => unpack({ ...given, archiveFd })).catch((error: unknown) => {
        if (error instanceof SiltError) return [error.code, error.message];
        throw error;
      });
      // What was made when it fails depends on how much is made at once.
      return Array.isArray(result) ? result : [result, warnings, timeless(look(made.path))];
    } finally {
      made.close();
    }
  }

  /** Directories that the archive says nothing of have the time at which they were made. */
  function timeless(tree: Record<string, Seen>): unknown {
    return Object.fromEntries(
      Object.entries(tree).map(([name, seen]) => [
        name,
        { ...seen, mtime: seen.mtime.replace(/^1[789]\d{8}\..*/, '') },
      ]),
    );
  }

  /** Numbers below a limit, from a seed. */
  function randomFrom(seed: number): (limit: number) => number {
    let state = seed * 2654435761 + 1;
    return (limit) => {
      state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
      return Math.floor((state / 2 ** 32) * limit);
    };
  }

  function randomArchive(seed: number): Buffer {
    const random = randomFrom(seed);
    const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
    // Now and then anything has any name.
    const stranger = random(2) === 0;
    const name = (own: readonly string[] = ['e', '.f', 'n'.repeat(40)]): string => {
      const directories = Array.from({ length: random(3) }, () => pick(['a', 'b', 'c']));
      const base = stranger && random(20) === 0 ? pick(['a', 'e', 'l']) : pick(own);
      return `${pick(['', './', './'])}${[...directories, base].join('/')}`;
    };
    const files: string[] = ['a'];
    const all = ['a', 'b', 'c'].flatMap((top) => [top, `${top}/a`, `${top}/b`, `${top}/c`]);
    const parts = random(4) > 0 ? ['./', ...all].map((path) => dir(path)) : [];
    for (let i = 0; i < 30; i++) {
      // Most are as usual, so that the loop gets to what is not.
      const odd = <T>(usual: T, ...others: T[]): T => (random(12) === 0 ? pick(others) : usual);
      const fields = {
        name: name(),
        mode: pick(['0000644\0', '0004755\0', '0000600 ', '000644 \0', '0100644\0']),
        uid: odd<string | Buffer>(pick(['0000000\0', '0001750\0']), base256(70000n, 8)),
        mtime: odd<string | Buffer>(pick(['00000001000\0', '00000002000 ']), base256(-5n, 12)),
        magic: odd(pick(['ustar\x0000', 'ustar  \0']), '', 'ustar\x0099'),
        ...(random(12) === 0 && { prefix: pick(['a', './b', 'c/a', stranger ? '..' : 'b']) }),
      };
      if (random(4) === 0) {
        const records = [
          ['mtime', odd(pick(['1000.5', '1500000000.123456789', '7']), '-1.5')],
          ['atime', '1'],
          ['ctime', '2'],
          ['path', name(['p'])],
          ['linkpath', pick(files)],
          ...odd<[string, string][]>([], [['uid', '5']], [['SCHILY.xattr.user.x', 'y']], [['comment', 'c']]),
        ] as [string, string][];
        parts.push(pax(records.filter(([key]) => random(3) === 0 || key.startsWith('S'))));
      }
      const kind = random(20);
      if (kind < 11) {
        const contents = 'x'.repeat(pick([0, 3, 511, 512, 5000, 70000]));
        parts.push(entry({ ...fields, type: pick(['0', '0', '\0', '7']) }, contents));
        files.push(fields.name);
      } else if (kind < 15) {
        const mode = pick(['0000755\0', '0002775\0', '0000500\0']);
        parts.push(entry({ ...fields, type: '5', name: `${name(['a', 'b', 'c'])}${pick(['/', ''])}`, mode }));
      } else if (kind < 17) {
        parts.push(entry({ ...fields, type: '2', name: name(['l']), linkname: pick(['a', '/', '../..', 'd/e']) }));
      } else if (kind < 19 && (stranger || files.length > 1)) {
        parts.push(
          entry({ ...fields, type: '1', name: name(['h']), linkname: stranger ? pick(files) : files.at(-1)! }),
        );
      } else parts.push(entry({ ...fields, type: pick(['3', '6']), name: name(['o']), mode: '0000000\0' }));
    }
    // Of some a block is changed, mostly so that its checksum is right.
    const whole = archive(...parts);
    if (random(3) === 0) {
      const at = random(whole.length / 512) * 512;
      whole[at + random(512)] = random(256);
      if (random(4) > 0) seal(whole.subarray(at, at + 512));
    }
    return whole;
  }

  test('random archives give the same tree, or the same error, as without the loop', async () => {
    let applied = 0;
    const counting: typeof native = {
      ...native,
      unpackPlain: (job, ...rest) => {
        const length = native.unpackPlain(job, ...rest);
        applied += job[5]!;
        return length;
      },
    };
    let failures = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const data = randomArchive(seed);
      const expected = await outcome(data, { runner: withoutLoop });
      expect([seed, await outcome(data, { runner: counting })]).toEqual([seed, expected]);
      if (seed % 10 === 0)
        expect([seed, await outcome(gzipSync(data), { runner: counting })]).toEqual([seed, expected]);
      if (typeof (expected as unknown[])[0] === 'string') failures++;
    }
    expect(failures).toBeGreaterThan(6);
    expect(failures).toBeLessThan(54);
    expect(applied).toBeGreaterThan(250);
  }, 120_000);

  const link = (name: string, linkname: string): Buffer => entry({ name, type: '1', linkname });
  const badPax = (field: object): Buffer => {
    const whole = pax([['mtime', '7']]);
    return Buffer.concat([entry({ name: 'x', type: 'x', size: whole.subarray(124, 136), ...field }).subarray(0, 512), whole.subarray(512)]); // prettier-ignore
  };
  test.each<[string, Buffer, RegExp | undefined]>([
    ['a hard link in the place of the directory that its target is in', archive(dir('a/'), file('a/f'), link('a', 'a/f'), dir('a/'), file('a/f')), /it replaces/],
    ['the same beside another', archive(dir('a/'), file('a/f'), link('a', 'a/f'), entry({ name: 'a/g', type: '6' })), /it replaces/],
    ['a hard link to its own name', archive(dir('b/'), file('b/x'), file('c'), link('c', 'c'), link('b', 'b')), undefined],
    ['a pax header whose mode is no number', archive(badPax({ mode: 'zzzzzzz\0' }), file('a')), /mode is not a number/],
    ['a pax header whose time is no number', archive(badPax({ mtime: 'bad' }), file('a')), /mtime is not a number/],
    ['an archive cut in the padding', archive(file('a'), ...Array.from({ length: 20 }, (_, i) => file(`f${i}`, 'abc'))).subarray(0, 512 + 1024 * 20 - 300), /the archive ends/],
  ])('%s comes out the same', async (_, data, message) => {
    for (const bytes of [data, gzipSync(data)]) {
      const expected = await outcome(bytes, { runner: withoutLoop });
      expect(await outcome(bytes, {})).toEqual(expected);
      if (message) expect(expected).toMatchObject([expect.stringMatching(/^ARCHIVE/), expect.stringMatching(message)]);
      else expect(Object.keys((expected as object[])[2]!)).toContain('b/x');
    }
  }); // prettier-ignore

  test('limits are those of all entries, whoever applies them', async () => {
    const data = archive(dir('./'), dir('d/'), ...Array.from({ length: 50 }, (_, i) => file(`d/f${i}`, 'abc')));
    for (const limits of [
      { maxEntries: 52 },
      { maxEntries: 51 },
      { maxBytes: 150 },
      { maxBytes: 149 },
      { maxDepth: 1 },
    ]) {
      const expected = await outcome(data, { runner: withoutLoop, limits });
      expect([limits, await outcome(data, { limits })]).toEqual([limits, expected]);
    }
  });

  /** Gives the archive to the loop alone. @returns where it stopped, what it applied, and the failure. */
  function run(
    data: Buffer,
    { end = data.length, memory = false } = {},
  ): { at: number; entries: number; failure: unknown } {
    const fd = fileWith(data);
    const name = Buffer.alloc(1027);
    const most = Number.MAX_SAFE_INTEGER;
    const job = Float64Array.of(upper.fd, memory ? -1 : fd, 0, data.length, end, most, most, 100, 0, 0, 0);
    const length = native.unpackPlain(job, memory ? data : Buffer.alloc(0), name);
    closeSync(fd);
    const [at = 0, entries = 0, step, errno] = [job[2], job[5], job[8], job[9]];
    return { at, entries, failure: errno === 0 ? undefined : [name.toString('latin1', 0, length), step, errno] };
  }

  test('the loop stops at what has its name already, and follows no link', () => {
    mkdirSync(`${upper.path}/outside`);
    symlinkSync('outside', join(upper.path, 'link'));
    const first = dir('d/');
    for (const next of [file('link'), file('link/x'), dir('link/x/'), dir('link/'), file('d'), entry({ name: 'link', type: '2', linkname: 'x' }), entry({ name: 'x', type: '1', linkname: 'link/y' }), file('missing/x')]) {
      expect(run(archive(first, next, file('behind')))).toEqual({ at: 512, entries: 1, failure: undefined });
      expect(readdirSync(upper.path).sort()).toEqual(['d', 'link', 'outside']);
      expect(readdirSync(`${upper.path}/outside`)).toEqual([]);
      rmdirSync(join(upper.path, 'd'));
    } // prettier-ignore
  });

  test('the loop takes nothing for a name that leads out of the directory', () => {
    expect(run(archive(dir('d/'))).at).toBe(512);
    for (const name of ['../x', '/x', 'd/../../x', '..', './..', 'd//x', 'd/./x', `${'n'.repeat(50)}/..`, ''])
      for (const type of ['0', '1', '2', '5'])
        for (const data of [entry({ name, type, linkname: 'y' }), entry({ name: 'y', type: '1', linkname: name })])
          expect([name, type, run(archive(data)).at]).toEqual([name, type, 0]);
    expect(readdirSync(upper.path)).toEqual(['d']);
  });

  test('the loop leaves directories alone that hand something on', () => {
    mkdirSync(`${upper.path}/acl`);
    setXattr(`${upper.path}/acl`, 'system.posix_acl_default', Buffer.from('AgAAAAEABwD/////BAAFAP////8gAAUA/////w==', 'base64')); // prettier-ignore
    const setGid = archive(dir('gid/', '0002755\0'));
    expect(run(setGid).at).toBe(512);
    for (const name of ['acl/f', 'gid/f']) expect(run(archive(file(name)))).toMatchObject({ at: 0, entries: 0 });
  });

  test('more directories than are kept open get their times and modes', async () => {
    const names = Array.from({ length: 150 }, (_, i) => `d${i}`);
    const data = archive(
      ...names.map((name) => dir(`${name}/`, '0000500\0')),
      ...names.map((name) => file(`${name}/f`)),
    );
    expect(await outcome(data, {})).toEqual(await outcome(data, { runner: withoutLoop }));
  });

  test('of what cannot be written the first entry is told', async () => {
    const small = makeTmpfs({ size: '1M' });
    const big = Buffer.alloc(300_000, 'x');
    const names = ['./a', './d/b', './d/c', './d/d', './e'];
    const data = archive(dir('./d/'), ...names.map((name) => file(name, big)));
    const loading = withFile(data, (archiveFd) =>
      unpack({ runner: native, archiveFd, upperFd: small.fd, privileged: () => undefined }),
    );
    await expect(loading).rejects.toMatchObject({
      code: 'NO_SPACE',
      message: expect.stringMatching(/\.\/(d\/)?[a-e]/) as string,
    });
    small.close();
  });

  test('contents in memory and in a file, of all sizes, are what the archive has', () => {
    const sizes = [0, 1, 512, 65_536, 65_537, 300_000, 1_000_000];
    const contents = sizes.map((size) => Buffer.alloc(size, `${size},`));
    const data = archive(...contents.flatMap((bytes, i) => [file(`s${i}`), file(`f${i}`, bytes)]));
    for (const memory of [false, true]) {
      expect(run(data, { memory }).entries).toBe(2 * sizes.length);
      for (const [i, bytes] of contents.entries()) {
        expect(readFileSync(`${upper.path}/f${i}`).equals(bytes)).toBe(true);
        rmSync(`${upper.path}/f${i}`);
        rmSync(`${upper.path}/s${i}`);
      }
    }
  });

  test('an archive that has become shorter fails at the entry', () => {
    const whole = archive(file('a'), file('b', Buffer.alloc(200_000)));
    const fd = fileWith(whole.subarray(0, 100_000));
    const name = Buffer.alloc(1027);
    const job = Float64Array.of(upper.fd, fd, 0, whole.length, whole.length, 1000, 1e9, 100, 0, 0, 0);
    const length = native.unpackPlain(job, Buffer.alloc(0), name);
    expect([name.toString('latin1', 0, length), ...job.subarray(8)]).toEqual(['b', 1, 61, 512]);
    closeSync(fd);
  });

  test('a job that is none is refused', () => {
    const data = archive(file('x'));
    const name = Buffer.alloc(1027);
    const good = [upper.fd, -1, 0, data.length, data.length, 10, 10, 10, 0, 0, 0];
    const refused = (at: number, value: number) => (): number =>
      native.unpackPlain(
        Float64Array.from(good, (number, i) => (i === at ? value : number)),
        data,
        name,
      );
    for (const [at, value] of [
      [0, -1],
      [1, -2],
      [2, 10_000],
      [2, NaN],
      [3, 10_000],
      [4, 10_000],
      [5, -1],
      [6, Infinity],
      [7, 2 ** 40],
    ] as const)
      // prettier-ignore
      expect(refused(at, value)).toThrow('expected');
    expect(() => native.unpackPlain(Float64Array.from(good), data, Buffer.alloc(1000))).toThrow('expected');
    expect(() => native.unpackPlain(Float64Array.of(1), data, name)).toThrow('expected');
    expect(readdirSync(upper.path)).toEqual([]);
  });
});
