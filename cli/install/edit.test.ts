import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { refusal } from '../../errors/testing/refusal';
import { applyEdit, diffOf, planEdit } from './edit';

const home = mkdtempSync(join(tmpdir(), 'silt-edit-'));
afterAll(() => rmSync(home, { recursive: true }));
let count = 0;
function file(text: string): string {
  const path = join(home, `${++count}.json`);
  writeFileSync(path, text);
  return path;
}

describe('an edit', () => {
  test('keeps the old file, its mode, and no other trace', () => {
    const path = file('one\n');
    chmodSync(path, 0o600);
    expect(applyEdit(planEdit(path, () => 'two\n')!)).toBe(`${path}.~1~`);
    expect(applyEdit(planEdit(path, () => 'three\n')!)).toBe(`${path}.~2~`);
    expect([path, `${path}.~1~`, `${path}.~2~`].map((one) => readFileSync(one, 'utf8'))).toEqual([
      'three\n',
      'one\n',
      'two\n',
    ]);
    expect(statSync(path).mode & 0o7777).toBe(0o600);
    expect(readdirSync(home).filter((name) => name.includes('silt-'))).toEqual([]);
  });

  test('makes a file with its directories', () => {
    const path = join(home, 'a', 'b', 'c.json');
    const edit = planEdit(path, (before) => (before === undefined ? 'new\n' : 'old\n'))!;
    expect(applyEdit(edit)).toBeUndefined();
    expect(readFileSync(path, 'utf8')).toBe('new\n');
  });

  test('changes the file that a link leads to', () => {
    const path = file('one\n');
    const link = join(home, 'link');
    symlinkSync(path, link);
    applyEdit(planEdit(link, () => 'two\n')!);
    expect(readlinkSync(link)).toBe(path);
    expect(readFileSync(path, 'utf8')).toBe('two\n');
  });

  test('is none when nothing changes', () => {
    expect(planEdit(file('one\n'), (before) => before)).toBeUndefined();
    expect(planEdit(file('one\n'), () => undefined)).toBeUndefined();
  });

  test('shows itself as a diff', () => {
    const path = file('a\nb\nc\nd\ne\n');
    const edit = planEdit(path, (before) => before!.replace('e\n', 'E\nf\n'))!;
    expect(diffOf(edit)).toBe(`--- ${path}\n+++ ${path}\n@@ -2,4 +2,5 @@\n b\n c\n d\n-e\n+E\n+f\n`);
  });

  test('of what cannot be read is refused', () => {
    expect(refusal(() => planEdit(home, () => 'x'))).toMatchObject({
      code: 'ENGINE_CONFIG_INVALID',
      message: `${home} is left as it is: it is no regular file`,
    });
  });

  test('of a link that leads nowhere is refused: the file would take its place', () => {
    const link = join(home, 'dangling');
    symlinkSync('nowhere', link);
    expect(refusal(() => planEdit(link, () => 'x')).message).toBe(
      `${link} is left as it is: it is a symbolic link to what is not there`,
    );
    expect(readlinkSync(link)).toBe('nowhere');
  });

  test('of a fifo does not wait for it', () => {
    const fifo = join(home, 'fifo');
    execFileSync('mkfifo', [fifo]);
    expect(refusal(() => planEdit(fifo, () => 'x')).message).toMatch(/it is no regular file/);
  });

  test('of what is not UTF-8 is refused: it would not come back as it was', () => {
    const path = join(home, 'latin1.json');
    const bytes = Buffer.from('{"a": "\xe9"}', 'latin1');
    writeFileSync(path, bytes);
    expect(refusal(() => planEdit(path, () => 'x')).message).toMatch(/it is not UTF-8/);
    expect(readFileSync(path)).toEqual(bytes);
  });

  test('of an empty file, and of one that may only be read', () => {
    const path = file('');
    chmodSync(path, 0o444);
    applyEdit(planEdit(path, (before) => `${before}x\n`)!);
    expect(readFileSync(path, 'utf8')).toBe('x\n');
    expect(statSync(path).mode & 0o7777).toBe(0o444);
  });
});
