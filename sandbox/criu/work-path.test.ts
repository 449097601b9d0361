import {
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeInWorkPath } from './work-path';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(realpathSync(tmpdir()), 'silt-work-path-'));
  writeFileSync(join(root, 'precious'), 'precious');
});
afterEach(() => {
  expect(readFileSync(join(root, 'precious'), 'utf8')).toBe('precious');
  rmSync(root, { recursive: true });
});

const written = (path: string): string => readFileSync(join(root, path, 'dump.log'), 'utf8');

test('one that the caller wants is made, and may be a symlink', () => {
  writeInWorkPath({ path: join(root, 'a/b') }, 'dump.log', 'one');
  expect(written('a/b')).toBe('one');
  symlinkSync('a', join(root, 'link'));
  writeInWorkPath({ path: join(root, 'link') }, 'dump.log', 'two');
  expect(written('a')).toBe('two');
});

test.each([
  ['a file', (path: string) => writeFileSync(path, 'a longer one of before')],
  ['a symlink', (path: string) => symlinkSync('precious', path)],
  ['a symlink to nothing', (path: string) => symlinkSync('nothing', path)],
  ['a link to another file', (path: string) => linkSync(join(root, 'precious'), path)],
])('what is there under the name of the file goes: %s', (_, make) => {
  make(join(root, 'dump.log'));
  writeInWorkPath({ path: root }, 'dump.log', 'new');
  expect(written('.')).toBe('new');
  expect(lstatSync(join(root, 'dump.log'))).toMatchObject({ nlink: 1 });
});

const asRoot = process.getuid?.() === 0 ? test : test.skip;

asRoot('one that was found is there already, without symlinks, and root’s', () => {
  const write = (path: string) => () => writeInWorkPath({ path: join(root, path), found: true }, 'dump.log', 'log');
  const code = (name: string): unknown => expect.objectContaining({ code: name });
  expect(write('a/b')).toThrow(code('ENOENT') as Error);
  mkdirSync(join(root, 'a/b'), { recursive: true });
  write('a/b')();
  expect(written('a/b')).toBe('log');
  symlinkSync('a', join(root, 'link'));
  expect(write('link')).toThrow(code('ENOTDIR') as Error);
  expect(write('link/b')).toThrow(code('ENOTDIR') as Error);
  chownSync(join(root, 'a'), 1000, 1000);
  expect(write('a/b')).toThrow(/its part a belongs to another user than root/);
});
