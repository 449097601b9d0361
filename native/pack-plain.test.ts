import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, readlinkSync, rmSync, utimesSync, writeFileSync } from 'node:fs'; // prettier-ignore
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative } from './index';

const native = loadNative();

describe('files like most, for archives', () => {
  const directory = mkdtempSync(join(tmpdir(), 'silt-plain-'));
  const fd = openSync(directory, 'r');
  const names = ['b', 'a', 'a-', 'ab', 'ü'];
  for (const name of names) writeFileSync(join(directory, name), name);
  mkdirSync(join(directory, 'd'));
  for (const name of [...names, 'd']) utimesSync(join(directory, name), 1_700_000_000.5, 1_700_000_000.5);
  afterAll(() => {
    closeSync(fd);
    rmSync(directory, { recursive: true });
  });

  const everyId = Uint32Array.of(0, 0, 2 ** 32 - 1, 0, 0, 2 ** 32 - 1);
  const listed = (room = 4096): { bytes: Buffer; places: Uint32Array; used: Uint32Array; errno: number } => {
    const [bytes, places, used] = [Buffer.alloc(room), new Uint32Array(64), Uint32Array.of(5, 1)];
    const errno = native.readNames(fd, bytes, places, used);
    return { bytes, places, used, errno };
  };
  const nameAt = (bytes: Buffer, place: number): string =>
    bytes.toString('utf8', place + 2, place + 2 + bytes[place + 1]!);

  test('names are read behind what is there, in order of their bytes, each with its type and a NUL', () => {
    const { bytes, places, used, errno } = listed();
    expect(errno).toBe(0);
    const found = [...places.subarray(1, used[1])];
    expect(found.map((place) => nameAt(bytes, place))).toEqual(['a', 'a-', 'ab', 'b', 'd', 'ü']);
    expect(found.map((place) => [bytes[place], bytes[place + 2 + bytes[place + 1]!]])).toEqual(
      [8, 8, 8, 8, 4, 8].map((type) => [type, 0]),
    );
    expect(used[0]).toBe(5 + 3 * 6 + 'a a- ab b d uu'.replaceAll(' ', '').length);
  });

  test('too little room is EOVERFLOW, a file ENOTDIR, and nothing counts as used', () => {
    expect(listed(20)).toMatchObject({ errno: 75, used: Uint32Array.of(5, 1) });
    const file = openSync(join(directory, 'a'), 'r');
    const used = Uint32Array.of(0, 0);
    expect(native.readNames(file, Buffer.alloc(100), new Uint32Array(8), used)).toBe(20);
    closeSync(file);
    expect([...used]).toEqual([0, 0]);
    expect(() => native.readNames(fd, Buffer.alloc(8), new Uint32Array(8), Uint32Array.of(9, 0))).toThrow(
      'more is used',
    );
  });

  /** A walk through the names that were listed, with room for so many bytes from 100 on. */
  function walk({ room = 16384, entries = 100, largest = [1024, 1024], levels = 4, prefix = './' } = {}) {
    const { bytes, places, used } = listed();
    const out = Buffer.alloc(1 << 16, 0xee);
    const path = Buffer.alloc(100);
    path.write(prefix);
    const given = {
      names: bytes,
      places,
      used,
      levels: new Uint32Array(6 * levels),
      path,
      ids: everyId,
      job: Uint32Array.of(0, entries, 100, 100 + room, 0, 4096, ...largest, 1),
      out,
      sends: new Uint32Array(3 * 4),
    };
    given.levels.set([fd, 0, 0, 1, used[1]!, prefix.length]);
    const goOn = (): number =>
      native.packPlain(given.names, given.places, given.used, given.levels, given.path, given.ids, given.job, given.out, given.sends); // prettier-ignore
    return { ...given, given, goOn };
  }

  test('entries are written up to the first that is another kind, or has no room, and it can go on', () => {
    const { goOn, job, levels, out } = walk({ room: 2048 + 2047 });
    // Each has a pax header for its time, and a block of contents.
    expect(goOn()).toBe(1);
    expect([job[1], job[2], levels[3]]).toEqual([1, 100 + 2048, 2]);
    job[1] = 2;
    job[3] = 1 << 16;
    expect(goOn()).toBe(3);
    expect([job[1], job[2]]).toEqual([2, 100 + 3 * 2048]);
    job[1] = 100;
    expect(goOn()).toBe(2);
    // b, d, and the empty directory is left again; the next name is not ASCII.
    expect([job[0], job[1], job[2], levels[3]]).toEqual([0, 2, 100 + 4 * 2048 + 1536, 6]);
    const entry = out.subarray(100 + 2048, 100 + 2 * 2048);
    expect(entry.toString('latin1', 1024, 1029)).toBe('./a-\0');
    expect(entry.toString('latin1', 1536, 1539)).toBe('a-\0');
    expect(out[99]).toBe(0xee);
    expect(out[job[2]!]).toBe(0xee);
  });

  test('where it is in a tree is told, and what it has opened is open', () => {
    writeFileSync(join(directory, 'd/ü'), '');
    const { goOn, job, levels, path, places, names } = walk();
    expect(goOn()).toBe(2);
    rmSync(join(directory, 'd/ü'));
    expect([job[0], job[1], levels[3]]).toEqual([1, 5, 6]);
    const [inner, , , next, end, prefix] = levels.subarray(6);
    expect([end! - next!, path.toString('latin1', 0, prefix)]).toEqual([1, './d/']);
    expect(nameAt(names, places[next!]!)).toBe('ü');
    expect(readlinkSync(`/proc/self/fd/${inner}`)).toBe(join(directory, 'd'));
    closeSync(inner!);
  });

  test('larger files are opened to be sent, those beyond that are left', () => {
    const { goOn, job, sends } = walk({ largest: [0, 1] });
    expect(goOn()).toBe(2);
    expect([job[1], job[2], job[4], job[5]]).toEqual([1, 100 + 1536 + 511, 1, 4095]);
    expect([...sends.subarray(1, 3)]).toEqual([100 + 1536, 1]);
    expect(readFileSync(sends[0]!, 'latin1')).toBe('a');
    closeSync(sends[0]!);
  });

  test('a directory is not entered where there is no room for another one, or for its names', () => {
    expect(walk({ levels: 1 }).goOn()).toBe(2);
    const { goOn, job, given } = walk();
    writeFileSync(join(directory, 'd/f'), '');
    given.places = given.places.subarray(0, given.used[1]);
    const used = [...given.used];
    expect(goOn()).toBe(2);
    rmSync(join(directory, 'd/f'));
    expect([job[0], job[1], [...given.used]]).toEqual([0, 4, used]);
  });

  test('nothing outside of what is given is read or written', () => {
    const changed = (change: (given: ReturnType<typeof walk>['given']) => void): (() => number) => {
      const { given, goOn } = walk();
      change(given);
      return goOn;
    };
    const jobs: [number, number][] = [[0, 4], [2, 20000], [3, 65537], [4, 5], [8, 3]]; // prettier-ignore
    for (const [at, value] of jobs) expect(changed(({ job }) => (job[at] = value))).toThrow('of a walk');
    // Of levels and names: more in use than there is, and names behind those that are.
    for (const [at, value] of [[1, 4097], [2, 65], [3, 60], [4, 65], [5, 101]] as const)
      expect(changed(({ levels }) => (levels[at] = value))).toThrow('of a walk'); // prettier-ignore
    for (const at of [0, 1]) expect(changed(({ used }) => (used[at] = 5000))).toThrow('of a walk');
    expect(changed((given) => (given.ids = Uint32Array.of(1, 2)))).toThrow('of a walk');
    expect(changed((given) => (given.path = Buffer.alloc(99)))).toThrow('of a walk');
    expect(changed((given) => (given.used = Uint32Array.of(1)))).toThrow('of a walk');
    // Places that lead out of the names.
    for (const place of [4095, 2 ** 32 - 1]) expect(changed(({ places }) => (places[1] = place))()).toBe(2);
    // A directory with a name longer than headers have.
    for (const length of [86, 100]) expect(walk({ prefix: `./${'d'.repeat(length - 3)}/` }).goOn()).toBe(2);
  });
});

describe('writing a part of an archive', () => {
  const directory = mkdtempSync(join(tmpdir(), 'silt-part-'));
  afterAll(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'out');

  /** Has it written, with files of these contents in front of the bytes at these places. */
  function write(bytes: string, files: readonly [at: number, contents: string, size: number][], flags = 'w') {
    const fds = files.map(([, contents], i) => {
      writeFileSync(join(directory, `${i}`), contents);
      return openSync(join(directory, `${i}`), 'r');
    });
    const sends = Uint32Array.from(files.flatMap(([at, , size], i) => [fds[i]!, at, size]));
    const out = openSync(path, flags);
    const outcome = new Uint32Array(4);
    const started = native.startWriting(out, Buffer.from(bytes), sends, files.length, outcome);
    if (started) native.finishWriting();
    closeSync(out);
    const [sent] = outcome as unknown as [number];
    for (const fd of fds.slice(0, sent)) expect(() => closeSync(fd)).toThrow('EBADF');
    fds.slice(sent).forEach(closeSync);
    return { started, outcome: [...outcome], written: readFileSync(path, 'latin1') };
  }

  test('puts files between bytes, and closes them', () => {
    expect(write('abcd', [[1, '1234', 4], [3, '56', 1], [3, '', 0], [4, '78', 2]])).toEqual({
      started: true,
      outcome: [4, 0, 4, 0],
      written: 'a1234bc5d78',
    }); // prettier-ignore
  });

  test('says how far it came: at a file that is shorter, and where nothing can be sent', () => {
    const ENODATA = 61;
    const EINVAL = 22;
    expect(write('abcd', [[1, '1', 1], [3, '23', 4]])).toMatchObject({ outcome: [1, 2, 3, ENODATA], written: 'a1bc23' }); // prettier-ignore
    writeFileSync(path, '');
    expect(write('ab', [[1, '1', 1]], 'a')).toMatchObject({ outcome: [0, 0, 1, EINVAL], written: 'a' });
  });

  test('one at a time, and only what it is given', () => {
    expect(() => native.finishWriting()).toThrow('nothing was started');
    const out = openSync('/dev/null', 'w');
    const begin = (sends: number[], count: number, outcome = 4): boolean =>
      native.startWriting(out, Buffer.alloc(4), Uint32Array.from(sends), count, new Uint32Array(outcome));
    for (const [sends, count] of [[[0, 5, 1], 1], [[0, 1, 1], 2], [[0, 3, 1, 0, 2, 1], 2]] as const)
      expect(() => begin([...sends], count)).toThrow('expected'); // prettier-ignore
    expect(() => begin([], 0, 3)).toThrow('expected');
    expect([begin([], 0), begin([], 0)]).toEqual([true, false]);
    native.finishWriting();
    closeSync(out);
  });
});
