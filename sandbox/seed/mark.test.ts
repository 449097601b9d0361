import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { loadNative, openInterpreter } from '../../native';
import { Kernel, ProgramBuilder } from '../../syscall';
import { isRoot } from '../archive/testing/upper';
import { readMark, writeMark } from './mark';

const native = loadNative();
const kernel = new Kernel(native, openInterpreter(undefined, native));
let directory: string;
let fd: number;

beforeEach(() => {
  // Not everywhere is /tmp a filesystem with trusted attributes; tmpfs has them.
  directory = mkdtempSync('/dev/shm/silt-mark-');
  fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
});

afterEach(() => {
  closeSync(fd);
  rmSync(directory, { recursive: true });
});

/** As another silt, or the root of the host, would have set it. */
function set(value: string): void {
  const p = new ProgramBuilder();
  p.step('setting').call('fsetxattr', [fd, p.string('trusted.silt.seeded'), p.bytes(Buffer.from(value)), value.length, 0]); // prettier-ignore
  kernel.run(p.build());
}

(isRoot() ? describe : describe.skip)('the mark of an upper that has its seed', () => {
  test('is not there at first, and says then which archive it was', () => {
    expect(readMark(kernel, fd)).toBeUndefined();
    writeMark(kernel, fd, 'stat-1a-zz-9');
    expect(readMark(kernel, fd)).toBe('stat-1a-zz-9');
    writeMark(kernel, fd, `digest-${'0'.repeat(64)}`);
    expect(readMark(kernel, fd)).toBe(`digest-${'0'.repeat(64)}`);
  });

  test.each(['y', '', 'stat-1\n[2J', 'x'.repeat(4000)])('that is no archive says that there is one: %j', (value) => {
    set(value);
    expect(readMark(kernel, fd)).toBe('');
  });
});
