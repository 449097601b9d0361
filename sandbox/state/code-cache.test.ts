import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleForTest } from '../../tools/bundle-for-test';

const bundle = bundleForTest(join(__dirname, 'code-cache.ts'));
const root = mkdtempSync(join(tmpdir(), 'silt-code-'));
const program = join(root, 'program.js');
const cache = join(root, 'cache/code-greet');
afterAll(() => {
  bundle.remove();
  rmSync(root, { recursive: true });
});
beforeEach(() => rmSync(join(root, 'cache'), { recursive: true, force: true }));

/** Loads the program in a Node of its own, calls it, and keeps its code. Returns what it says. */
function run(flags: readonly string[] = [], siltRoot = root, how = 'done'): string {
  const script = `
    const cached = require(${JSON.stringify(bundle.file)}).loadCached(${JSON.stringify(program)}, 'greet', require);
    process.stdout.write(cached === undefined ? 'none' : cached.exports.greet());
    cached?.keep(${JSON.stringify(how)});
  `;
  const env = { SILT_ROOT: siltRoot };
  return spawnSync(process.execPath, [...flags, '-e', script], { env, encoding: 'utf8' }).stdout;
}

const write = (word: string): void =>
  writeFileSync(program, `exports.greet = () => { const { sep } = require('node:path'); return '${word}' + sep; };\n`);

(process.getuid?.() === 0 ? describe : describe.skip)('a bundle with its code', () => {
  test('is kept once it has run, by host root alone, and then left as it is', () => {
    write('hello');
    expect(run()).toBe('hello/');
    const { mode, ino, mtimeMs } = statSync(cache);
    expect(mode & 0o777).toBe(0o600);
    expect(readdirSync(join(root, 'cache'))).toEqual(['code-greet']);
    expect(run()).toBe('hello/');
    expect(statSync(cache)).toMatchObject({ ino, mtimeMs });
  });

  test('is kept of one that fails until one succeeds', () => {
    write('hello');
    const inodeAfter = (how: string): number => {
      expect(run([], root, how)).toBe('hello/');
      return statSync(cache).ino;
    };
    const first = inodeAfter('failed');
    expect(inodeAfter('failed')).toBe(first);
    const whole = inodeAfter('done');
    expect(whole).not.toBe(first);
    expect(inodeAfter('failed')).toBe(whole);
    expect(inodeAfter('done')).toBe(whole);
  });

  test('does not make silt’s root again when that is gone', () => {
    write('hello');
    const gone = join(root, 'gone');
    expect(run([], gone)).toBe('hello/');
    expect(existsSync(gone)).toBe(false);
  });

  test('is not taken for another bundle of the same name and length', () => {
    write('hello');
    run();
    const { atime, mtime } = statSync(program);
    rmSync(program);
    write('hallo');
    utimesSync(program, atime, mtime);
    expect(run()).toBe('hallo/');
    expect(run()).toBe('hallo/');
  });

  test('is made anew under other flags of V8', () => {
    write('hello');
    run();
    const { ino } = statSync(cache);
    expect(run(['--no-turbofan'])).toBe('hello/');
    expect(statSync(cache).ino).not.toBe(ino);
  });

  test.each([
    ['cut short', (): void => truncateSync(cache, 1000)],
    ['empty', (): void => truncateSync(cache, 0)],
    ['of another kind', (): void => writeFileSync(cache, 'x'.repeat(5000))],
  ])('is compiled again when what was kept is %s', (_, damage) => {
    write('hello');
    run();
    const whole = readFileSync(cache).length;
    damage();
    expect(run()).toBe('hello/');
    expect(readFileSync(cache).length).toBe(whole);
  });

  test('is none when there is no such file', () => {
    rmSync(program);
    expect(run()).toBe('none');
  });
});
