import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { imageOf, message, numbers } from './image.fixture';
import { bytesOf, numberOf, parseFields, readImage, textOf, type WireField } from './image-file';
import { separateTerminals, terminalKey } from './terminals';

const directory = mkdtempSync(join(tmpdir(), 'silt-terminals-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const [PTY, CONTROLLING, EXTERNAL] = [1n, 4n, 5n];
const KEYS = [terminalKey(0x8800, 7), terminalKey(0x500, 9)];

interface Terminal {
  readonly type: bigint;
  readonly rdev: bigint;
  readonly dev: bigint;
  readonly sid: bigint;
  readonly flags?: bigint;
}

/** Writes images in which the terminals have the ids 1, 2, …, and returns what they are afterwards. */
function separate(terminals: readonly Terminal[]): {
  saved: ReturnType<typeof separateTerminals>;
  infos: WireField[][];
  files: WireField[][];
} {
  const id = (i: number): bigint => BigInt(i + 1);
  const infos = terminals.map(({ type, rdev, dev, sid }, i) => [
    ...numbers(1, [id(i)]),
    ...numbers(2, [type]),
    ...numbers(6, [sid]),
    ...numbers(8, [rdev]),
    ...numbers(13, [dev]),
    ...numbers(14, [0n]),
  ]);
  const files = terminals.map(({ flags = 2n }, i) => [
    ...numbers(1, [11n]),
    ...numbers(2, [id(i) + 100n]),
    message(19, [...numbers(1, [id(i) + 100n]), ...numbers(2, [id(i)]), ...numbers(3, [flags]), message(4, [])]),
  ]);
  writeFileSync(join(directory, 'tty-info.img'), imageOf(...infos));
  writeFileSync(join(directory, 'files.img'), imageOf(...files));
  const saved = separateTerminals(directory, KEYS);
  const read = (name: string): WireField[][] => readImage(join(directory, name)).entries.map(parseFields);
  return { saved, infos: read('tty-info.img'), files: read('files.img') };
}

const terminal = { type: EXTERNAL, rdev: 0x8800n, dev: 7n, sid: 1n };
const controlling = { type: EXTERNAL, rdev: 0x500n, dev: 9n, sid: 1n };
const inner = { type: PTY, rdev: 0x8801n, dev: 7n, sid: 5n };

test('each open file description of the terminal is given for itself, with its flags', () => {
  const { saved, infos } = separate([terminal, { ...controlling, flags: 0x802n }]);
  expect(saved).toEqual([
    { key: 'tty[0:0]', flags: 2 },
    { key: 'tty[0:1]', flags: 0x802 },
  ]);
  expect(infos.map((info) => terminalKey(numberOf(info, 8), numberOf(info, 13)))).toEqual(['tty[0:0]', 'tty[0:1]']);
});

test('/dev/tty of a terminal within the container is opened by its path', () => {
  const { saved, infos, files } = separate([terminal, inner, controlling, { ...controlling, sid: 5n }]);
  expect(saved).toHaveLength(2);
  expect(numberOf(infos[3]!, 2)).toBe(Number(CONTROLLING));
  expect(infos[3]!.some(({ number }) => number === 14)).toBe(false);
  const opened = parseFields(bytesOf(files[4]!, 3));
  expect(textOf(opened, 6)).toBe('/dev/tty');
  expect(numberOf(parseFields(bytesOf(files[3]!, 19)), 6)).toBe(numberOf(opened, 1));
});

test('what is not the container’s terminal stays as it is', () => {
  const checkpointFile = { type: EXTERNAL, rdev: 0x8803n, dev: 4n, sid: 0n };
  const { saved, infos } = separate([checkpointFile, inner]);
  expect(saved).toEqual([]);
  expect(infos.map((info) => numberOf(info, 8))).toEqual([0x8803, 0x8801]);
});

test('a /dev/tty that may be either is refused', () => {
  expect(() => separate([inner, { ...controlling, sid: 0n }])).toThrow('which one it is cannot be told');
});
