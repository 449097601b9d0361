import { closeSync, lstatSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'; // prettier-ignore
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative } from './index';

const native = loadNative();

/** make-files.h. */
const [FILE, DIRECTORY, SYMLINK, CLOSED] = [0, 1, 2, 3];
const [OWNER, MODE, TIME, MOVED] = [1, 2, 4, 8];
const RECORD = 5;
const [EBADF, EEXIST, EINVAL, ENODATA] = [9, 17, 22, 61];

interface Record {
  readonly kind: number;
  readonly set?: number;
  readonly directory?: number;
  readonly name?: string;
  readonly other?: number | string;
  readonly mode?: number;
  readonly uid?: number;
  readonly seconds?: number;
  readonly size?: number;
  readonly contents?: number;
}

describe('files and directories that are made from records', () => {
  const top = mkdtempSync(join(tmpdir(), 'silt-make-'));
  const root = join(top, 'root');
  const archive = join(top, 'archive');
  let rootFd = -1;
  let archiveFd = -1;
  let table = new Int32Array(0);

  beforeEach(() => {
    mkdirSync(root);
    writeFileSync(archive, 'in the archive');
    rootFd = openSync(root, 'r');
    archiveFd = openSync(archive, 'r');
    table = new Int32Array(64).fill(-1);
    table[0] = rootFd;
  });
  afterEach(() => {
    table.forEach((fd, i) => i > 0 && fd >= 0 && closeSync(fd));
    [rootFd, archiveFd].forEach((fd) => closeSync(fd));
    rmSync(root, { recursive: true });
  });
  afterAll(() => rmSync(top, { recursive: true }));

  function encode(records: readonly Record[]): [records: Uint32Array, names: Buffer] {
    const words = new Uint32Array(records.length * 16);
    const names = Buffer.alloc(64 << 10);
    let used = 0;
    const put = (text: string): number => {
      const at = used;
      used += names.write(`${text}\0`, at, 'latin1');
      return at;
    };
    records.forEach((record, i) => {
      const { kind, set = 0, directory = 0, name = '', other = 0, mode = 0o644, uid = 0 } = record;
      const { seconds = 0, size = 0, contents = 0 } = record;
      const places = [put(name), typeof other === 'string' ? put(other) : other];
      words.set([kind, set, directory, ...places, mode, uid, 0, seconds, 0, 0, 0, size, 0, contents, 0], i * 16);
    });
    return [words, names];
  }
  const data = Buffer.from('some contents');
  function make(records: readonly Record[], from = 0): number {
    return native.makeFiles(Uint32Array.of(archiveFd, from, records.length), ...encode(records), data, table);
  }
  const failure = (index: number, step: number, errno: number): number => (index * 16 + step) * 4096 + errno;

  test('are what the records say', () => {
    const umask = process.umask(0);
    const outcome = make([
      { kind: DIRECTORY, name: 'd', other: 1 },
      { kind: FILE, directory: 1, name: 'f', set: TIME, size: 4, contents: 5, mode: 0o640, seconds: 1000 },
      { kind: FILE, directory: 1, name: 'moved', set: MOVED | MODE, size: 7, contents: 7, mode: 0o4755 },
      { kind: SYMLINK, name: 'l', other: '/etc/passwd', set: TIME, seconds: 2000 },
      { kind: CLOSED, directory: 1, set: MODE | TIME, mode: 0o1777, seconds: 3000 },
    ]);
    process.umask(umask);
    expect(outcome).toBe(-1);
    expect(table[1]).toBe(-1);
    expect(readFileSync(join(root, 'd/f'), 'utf8')).toBe('cont');
    expect(readFileSync(join(root, 'd/moved'), 'utf8')).toBe('archive');
    expect(readlinkSync(join(root, 'l'))).toBe('/etc/passwd');
    expect(
      ['d/f', 'd/moved', 'l', 'd'].map((name) => lstatSync(join(root, name))).map(({ mode, mtimeMs }) => [mode & 0o7777, mtimeMs]), // prettier-ignore
    ).toEqual([
      [0o640, 1_000_000],
      [0o4755, expect.any(Number)],
      [0o777, 2_000_000],
      [0o1777, 3_000_000],
    ]);
  });

  test('what has the name already is neither opened nor followed, and stops the job where it is', () => {
    const secret = join(top, 'secret');
    writeFileSync(secret, 'untouched');
    symlinkSync(secret, join(root, 'link'));
    symlinkSync(top, join(root, 'away'));
    for (const kind of [FILE, DIRECTORY, SYMLINK])
      for (const name of ['link', 'away']) {
        const records = [{ kind: FILE, name: 'before' }, { kind, name, other: kind === SYMLINK ? 'x' : 1, size: 4 }, { kind: FILE, name: 'behind' }]; // prettier-ignore
        expect(make(records)).toBe(failure(1, 0, EEXIST));
        expect(readdirSync(root).sort()).toEqual(['away', 'before', 'link']);
        rmSync(join(root, 'before'));
      }
    expect(readFileSync(secret, 'utf8')).toBe('untouched');
    rmSync(secret);
  });

  test('nothing but one component is a name', () => {
    for (const name of ['', '.', '..', '/', 'a/b', '../x', '/etc/x', 'd/', 'n'.repeat(256)])
      for (const kind of [FILE, DIRECTORY, SYMLINK])
        expect(make([{ kind, name, other: kind === SYMLINK ? 'x' : 1 }])).toBe(failure(0, RECORD, EINVAL));
    expect(readdirSync(root)).toEqual([]);
    expect(readdirSync(top).sort()).toEqual(['archive', 'root']);
    expect(make([{ kind: FILE, name: 'n'.repeat(255) }])).toBe(-1);
  });

  test('nothing outside of what is given is read or written', () => {
    const [records, names] = encode([{ kind: FILE, name: 'f' }]);
    const job = (first: number, end: number) => (): number =>
      native.makeFiles(Uint32Array.of(archiveFd, first, end), records, names, data, table);
    expect(job(0, 2)).toThrow('not there');
    expect(job(1, 0)).toThrow('not there');
    expect(() => native.makeFiles(Uint32Array.of(0, 0), records, names, data, table)).toThrow('expected');
    // A name that does not end, one that is not there, contents that are not all there, a directory that is none.
    const long = { kind: FILE, name: 'x'.repeat(100) };
    const [words] = encode([long]);
    const cut = Buffer.alloc(50, 'x');
    for (const place of [0, 49, 50, 2 ** 32 - 1]) {
      words[3] = place;
      expect(native.makeFiles(Uint32Array.of(archiveFd, 0, 1), words, cut, data, table)).toBe(failure(0, RECORD, EINVAL)); // prettier-ignore
    }
    expect(make([{ kind: FILE, name: 'a', size: 10, contents: 4 }])).toBe(failure(0, RECORD, EINVAL));
    expect(make([{ kind: FILE, name: 'b', size: 1, contents: 2 ** 32 - 1 }])).toBe(failure(0, RECORD, EINVAL));
    expect(make([{ kind: FILE, name: 'c', directory: 64 }])).toBe(failure(0, 0, EBADF));
    expect(make([{ kind: FILE, name: 'c', directory: 5 }])).toBe(failure(0, 0, EBADF));
    expect(make([{ kind: CLOSED, directory: 5 }])).toBe(failure(0, RECORD, EINVAL));
    expect(make([{ kind: DIRECTORY, name: 'd', other: 64 }])).toBe(failure(0, RECORD, EINVAL));
    expect(make([{ kind: DIRECTORY, name: 'd', other: 0 }])).toBe(failure(0, RECORD, EINVAL));
    expect(make([{ kind: 4, name: 'd' }])).toBe(failure(0, RECORD, EINVAL));
  });

  test('an archive that ends too early, and an owner that cannot be, are failures of their steps', () => {
    expect(make([{ kind: FILE, name: 'a', set: MOVED, size: 15 }])).toBe(failure(0, 1, ENODATA));
    expect(make([{ kind: FILE, name: 'b', set: OWNER, uid: 2 ** 32 - 1 }])).toBe(-1);
  });

  test('two threads make the same, and the first failure of all is told', () => {
    const many: Record[] = [];
    for (let i = 0; i < 900; i++) many.push({ kind: FILE, name: `f${i}`, size: i % 14, contents: 0 });
    const start = (records: readonly Record[]): number => {
      const job = Uint32Array.of(archiveFd, 0, records.length);
      expect(native.startMaking(job, ...encode(records), data, table)).toBe(true);
      expect(native.startMaking(job, ...encode(records), data, table)).toBe(false);
      expect(() => native.finish()).toThrow('no program');
      return native.finishMaking();
    };
    expect(start(many)).toBe(-1);
    expect(readdirSync(root)).toHaveLength(900);
    for (let i = 0; i < 900; i++) expect(readFileSync(join(root, `f${i}`)).equals(data.subarray(0, i % 14))).toBe(true);
    expect(() => native.finishMaking()).toThrow('nothing was started');
    rmSync(root, { recursive: true });
    mkdirSync(root);
    table[0] = openSync(root, 'r');
    const bad = many.map((record, i) => (i === 500 || i === 700 ? { ...record, set: MOVED, size: 15 } : record));
    expect(start([...bad.slice(0, 800), { kind: FILE, name: 'f0' }])).toBe(failure(500, 1, ENODATA));
    closeSync(table[0]);
    table[0] = rootFd;
  });
});
