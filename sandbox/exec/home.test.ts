import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative } from '../../native';
import { C, Kernel, ProgramBuilder } from '../../syscall';
import { homeOf } from './home';

const kernel = new Kernel(loadNative(), -1);
const PASSWD = `root:x:0:0:root:/root:/bin/sh
# a comment
app:x:1000:1000::/srv/app:/bin/sh
app-again:x:1000:1000::/srv/other:/bin/sh
relative:x:1001:1001::home:/bin/sh
short:x:1002
empty:x:1003:1003:::/bin/sh
`;

let top: string;
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'silt-home-'));
});
afterEach(() => rmSync(top, { recursive: true }));

/** A layer with an /etc, and a passwd in it if there is text for one. */
function layer(name: string, passwd?: string): string {
  const path = join(top, name);
  mkdirSync(join(path, 'etc'), { recursive: true });
  if (passwd !== undefined) writeFileSync(join(path, 'etc/passwd'), passwd);
  return path;
}

describe('the home of a uid', () => {
  test.each([
    [0, '/root'],
    [1000, '/srv/app'],
    // A home that is no absolute path, a line cut short, no home, nobody.
    [1001, '/'],
    [1002, '/'],
    [1003, '/'],
    [1004, '/'],
  ])('%d is %s', (uid, home) => {
    expect(homeOf(kernel, [layer('one', PASSWD)], uid)).toBe(home);
  });

  test('is / without a layer that has users', () => {
    expect(homeOf(kernel, [], 0)).toBe('/');
    expect(homeOf(kernel, [layer('none'), join(top, 'not-there')], 0)).toBe('/');
  });

  test('is what the topmost layer that has users says, and no other', () => {
    const layers = [layer('top'), layer('middle', 'root:x:0:0::/middle:\n'), layer('base', PASSWD)];
    expect([homeOf(kernel, layers, 0), homeOf(kernel, layers, 1000)]).toEqual(['/middle', '/']);
  });

  test('is read from a layer that is given as an open directory', () => {
    const fd = openSync(layer('open', PASSWD), constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      expect(homeOf(kernel, [fd], 1000)).toBe('/srv/app');
    } finally {
      closeSync(fd);
    }
  });
});

describe('a layer is a stranger’s', () => {
  const base = () => layer('base', 'root:x:0:0::/base:\n');

  test('a symlink leads nowhere but inside of it', () => {
    const outside = join(top, 'outside');
    writeFileSync(outside, 'root:x:0:0::/outside:\n');
    const absolute = layer('absolute');
    symlinkSync(outside, join(absolute, 'etc/passwd'));
    const climbing = layer('climbing');
    symlinkSync('../../outside', join(climbing, 'etc/passwd'));
    const whole = join(top, 'whole');
    mkdirSync(whole);
    symlinkSync('/etc', join(whole, 'etc'));
    expect([absolute, climbing, whole].map((one) => homeOf(kernel, [one, base()], 0))).toEqual(Array(3).fill('/base'));
  });

  test('a symlink that stays inside is followed, an absolute one from the layer’s root', () => {
    const inside = layer('inside');
    writeFileSync(join(inside, 'users'), 'root:x:0:0::/inside:\n');
    symlinkSync('/users', join(inside, 'etc/passwd'));
    expect(homeOf(kernel, [inside], 0)).toBe('/inside');
  });

  test('a fifo is not waited for', () => {
    const fifo = layer('fifo');
    const p = new ProgramBuilder();
    p.call('mknodat', [C.AT_FDCWD, p.string(join(fifo, 'etc/passwd')), C.S_IFIFO | 0o644, 0]);
    kernel.run(p.build());
    expect(homeOf(kernel, [fifo, base()], 0)).toBe('/base');
  });

  test('a directory is no list of users', () => {
    const directory = layer('directory');
    mkdirSync(join(directory, 'etc/passwd'));
    expect(homeOf(kernel, [directory, base()], 0)).toBe('/base');
  });

  test('a file of more than a mebibyte is not read', () => {
    const huge = layer('huge', 'root:x:0:0::/huge:\n');
    truncateSync(join(huge, 'etc/passwd'), (1 << 20) + 1);
    expect(homeOf(kernel, [huge, base()], 0)).toBe('/base');
    truncateSync(join(huge, 'etc/passwd'), 1 << 20);
    expect(homeOf(kernel, [huge, base()], 0)).toBe('/huge');
  });

  test('nothing of it stays open', () => {
    const before = readdirSync('/proc/self/fd');
    homeOf(kernel, [layer('none'), base()], 0);
    expect(readdirSync('/proc/self/fd').filter((fd) => !before.includes(fd))).toEqual([]);
  });
});
