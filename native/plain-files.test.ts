import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
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

  test('entries are written up to the first that is another kind, or has no room', () => {
    const { bytes, places, used } = listed();
    const out = Buffer.alloc(1 << 16, 0xee);
    const job = Uint32Array.of(fd, 1, used[1]! - 1, 1024, 1, 100, 100 + 4 * 2048 + 100);
    // Each has a pax header for its time, and a block of contents.
    expect(native.plainFiles(bytes, places, './', everyId, job, out)).toBe(2);
    expect([job[1], job[5]]).toEqual([5, 100 + 4 * 2048]);
    const entry = out.subarray(100 + 2048, 100 + 2 * 2048);
    expect(entry.toString('latin1', 1024, 1029)).toBe('./a-\0');
    expect(entry.toString('latin1', 1536, 1539)).toBe('a-\0');
    expect(out[99]).toBe(0xee);
    expect(out[100 + 4 * 2048]).toBe(0xee);
    const short = Uint32Array.of(fd, 1, 4, 1024, 1, 0, 2048 + 2047);
    expect(native.plainFiles(bytes, places, './', everyId, short, out)).toBe(1);
    expect([short[1], short[5]]).toEqual([2, 2048]);
  });

  test('a directory is opened and its entry written; a file is not one', () => {
    const { bytes, places } = listed();
    const out = Buffer.alloc(4096);
    const job = Uint32Array.of(fd, 5, 1, 0, 1, 0, 4096);
    const opened = native.plainDirectory(bytes, places, './', everyId, job, out);
    expect(opened).toBeGreaterThan(2);
    closeSync(opened);
    expect([job[1], job[5]]).toEqual([6, 1536]);
    expect(out.toString('latin1', 1024, 1029)).toBe('./d/\0');
    const file = Uint32Array.of(fd, 1, 1, 0, 1, 0, 4096);
    expect(native.plainDirectory(bytes, places, './', everyId, file, out)).toBe(-1);
    expect([file[1], file[5]]).toEqual([1, 0]);
  });

  test('nothing outside of what is given is read or written', () => {
    const { bytes, places } = listed();
    const call =
      (numbers: readonly number[], ids = everyId): (() => number) =>
      () =>
        native.plainFiles(bytes, places, './', ids, Uint32Array.from(numbers), Buffer.alloc(4096));
    expect(call([fd, 60, 5, 0, 1, 0, 4096])).toThrow('out of range');
    expect(call([fd, 1, 1, 0, 1, 0, 4097])).toThrow('out of range');
    expect(call([fd, 1, 1, 0, 1, 9, 8])).toThrow('out of range');
    expect(call([fd, 1, 1, 0, 3, 0, 4096])).toThrow('out of range');
    expect(call([fd, 1, 1, 0, 1, 0, 4096], Uint32Array.of(1, 2))).toThrow('expected');
    // Places that lead out of the names, and a directory with a name longer than headers have.
    for (const place of [4095, 2 ** 32 - 1]) {
      places[1] = place;
      expect(call([fd, 1, 1, 1024, 1, 0, 4096])()).toBe(2);
    }
    places[1] = places[2]!;
    const job = Uint32Array.of(fd, 1, 1, 1024, 1, 0, 4096);
    for (const length of [86, 100, 101, 127, 128, 5000])
      expect(native.plainFiles(bytes, places, `./${'d'.repeat(length)}/`, everyId, job, Buffer.alloc(4096))).toBe(2);
  });
});
