import { closeSync, copyFileSync, fstatSync, mkdtempSync, openSync, renameSync, rmSync, truncateSync, utimesSync, writeFileSync, writeSync } from 'node:fs'; // prettier-ignore
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative, openInterpreter } from '../../native';
import { Kernel } from '../../syscall';
import { identify, isBeingWritten, lastingIdentity } from './identity';

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'silt-identity-'));
  path = join(directory, 'archive.tar');
  writeFileSync(path, 'contents');
  // Times that can be put back exactly.
  utimesSync(path, 1_000_000_000, 1_000_000_000);
});

afterEach(() => rmSync(directory, { recursive: true }));

async function of(what: typeof identify, how: 'stat' | 'digest'): Promise<string> {
  const fd = openSync(path, 'r');
  try {
    return await what(fd, how);
  } finally {
    closeSync(fd);
  }
}

const sameTimes = (change: () => void): void => {
  change();
  utimesSync(path, 1_000_000_000, 1_000_000_000);
};

describe.each([identify, lastingIdentity])('what an archive is found again by (%p)', (what) => {
  test('stays while nothing changes, and is fit for a name', async () => {
    for (const how of ['stat', 'digest'] as const) {
      expect(await of(what, how)).toBe(await of(what, how));
      expect(await of(what, how)).toMatch(/^[0-9a-z-]{20,200}$/);
    }
  });

  test.each<[string, () => void]>([
    ['written to, its size and time put back', () => sameTimes(() => writeFileSync(path, 'CONTENTS'))],
    ['replaced by another file of that size and time', () => sameTimes(() => { writeFileSync(`${path}.2`, 'CONTENTS'); renameSync(`${path}.2`, path); })], // prettier-ignore
    ['longer', () => writeFileSync(path, 'contents!')],
  ])('is another when the archive is %s', async (_what, change) => {
    const before = { stat: await of(what, 'stat'), digest: await of(what, 'digest') };
    change();
    for (const how of ['stat', 'digest'] as const) expect(await of(what, how)).not.toBe(before[how]);
  });

  test('is the same for a copy and for another time only where it is the digest', async () => {
    const before = { stat: await of(what, 'stat'), digest: await of(what, 'digest') };
    copyFileSync(path, `${path}.2`);
    renameSync(`${path}.2`, path);
    expect(await of(what, 'digest')).toBe(before.digest);
    expect(await of(what, 'stat')).not.toBe(before.stat);
  });
});

// Kernels before 6.13 take the times of files from a clock that stands still for milliseconds.
test('a change at once after a look is seen', async () => {
  const fd = openSync(path, 'r+');
  for (let i = 0; i < 20; i++) {
    writeSync(fd, `${i}`, 0);
    const before = await identify(fd, 'stat');
    writeSync(fd, `${i + 1}`, 0);
    expect(await identify(fd, 'stat')).not.toBe(before);
  }
  closeSync(fd);
});

test('the lasting one leaves out the number of the device', async () => {
  const fd = openSync(path, 'r');
  const { dev, ino } = fstatSync(fd);
  expect(await identify(fd, 'stat')).toContain(`-${dev.toString(36)}-${ino.toString(36)}-`);
  expect(await lastingIdentity(fd, 'stat')).toMatch(new RegExp(`^stat-${ino.toString(36)}-`));
  closeSync(fd);
});

test('the digest of a large archive is of all of it, and an empty one has one', async () => {
  truncateSync(path, 0);
  truncateSync(path, 40 << 20);
  const before = await of(identify, 'digest');
  const fd = openSync(path, 'r+');
  for (const offset of [0, 20 << 20, (40 << 20) - 1]) {
    writeSync(fd, 'x', offset);
    expect(await of(identify, 'digest')).not.toBe(before);
    writeSync(fd, '\0', offset);
    expect(await of(identify, 'digest')).toBe(before);
  }
  closeSync(fd);
  truncateSync(path, 0);
  expect(await of(identify, 'digest')).not.toBe(before);
});

test('an archive that somebody has open for writing is told', () => {
  const native = loadNative();
  const kernel = new Kernel(native, openInterpreter(undefined, native));
  const fd = openSync(path, 'r');
  expect(isBeingWritten(kernel, fd)).toBe(false);
  const writer = openSync(path, 'r+');
  expect(isBeingWritten(kernel, fd)).toBe(true);
  closeSync(writer);
  expect(isBeingWritten(kernel, fd)).toBe(false);
  closeSync(fd);
});
