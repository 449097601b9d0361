import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildCommandLine } from '../command-line';
import { bashCompletion, describeCommands, fishCompletion, manualPages, zshCompletion } from './index';

const { silt } = buildCommandLine();
const commands = describeCommands(silt);
const home = mkdtempSync(join(tmpdir(), 'silt-reference-'));
afterAll(() => rmSync(home, { recursive: true }));

function has(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
}

test('every command and its flags are described', () => {
  const names = commands.map(({ words }) => words.join(' '));
  expect(names.slice(0, 1)).toEqual(['']);
  expect(names).toEqual(expect.arrayContaining(['spec', 'tar rootfs-upper', 'install', 'completion']));
  const upper = commands.find(({ words }) => words.join(' ') === 'tar rootfs-upper')!;
  expect(upper.options.map(({ long, value }) => [long, value])).toEqual([
    ['--file', '<path>'],
    ['--live', undefined],
    ['--help', undefined],
  ]);
  expect(upper.arguments).toMatchObject([{ usage: '<container-id>', isContainer: true }]);
});

describe('bash', () => {
  /** What bash offers for the last word; `silt list -q` gives two ids, other ones with --root. */
  function complete(...words: string[]): string[] {
    const fake = join(home, 'silt');
    writeFileSync(fake, '#!/bin/sh\n[ "$1" = --root ] && echo other || printf "web\\nworker\\n"\n');
    chmodSync(fake, 0o755);
    const array = words.map((word) => `'${word}'`).join(' ');
    const script = `${bashCompletion(commands)}\nCOMP_WORDS=(silt ${array}); COMP_CWORD=${words.length}; _silt; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const env = { PATH: `${home}:${process.env['PATH']}` };
    const { status, stdout, stderr } = spawnSync('bash', ['--norc', '-c', script], { encoding: 'utf8', env });
    expect([status, stderr]).toEqual([0, '']);
    return stdout.split('\n').filter((line) => line !== '');
  }

  test.each<[string, string[], string[]]>([
    ['commands', ['sp'], ['spec']],
    ['global flags', ['--log-'], ['--log-format']],
    ['values of a flag', ['--log-format', 'js'], ['json', 'json-k8s']],
    ['a command behind a flag with a value', ['--log', '/x', 'unin'], ['uninstall']],
    ['a command of a command', ['tar', ''], ['rootfs-upper', '--help']],
    ['a command’s flags', ['tar', 'rootfs-upper', '--f'], ['--file']],
    ['containers', ['tar', 'rootfs-upper', 'w'], ['web', 'worker']],
    [
      'containers of another root',
      ['--root', '/x', 'tar', 'rootfs-upper', ''],
      ['--file', '--live', '--help', 'other'],
    ],
    ['nothing where a file is named', ['tar', 'rootfs-upper', '--file', ''], []],
  ])('offers %s', (_, words, expected) => {
    expect(complete(...words)).toEqual(expected);
  });
});

test.each<[string, string, (flag: string) => string]>([
  ['zsh', zshCompletion(commands), (flag) => `'${flag}[`],
  ['fish', fishCompletion(commands), (flag) => ` -l ${flag.slice(2)} `],
])('%s is told every flag', (_, text, form) => {
  const flags = commands.flatMap(({ options }) => options.map(({ long }) => long));
  expect(flags.filter((flag) => !text.includes(form(flag)))).toEqual([]);
});

for (const [shell, text] of [
  ['zsh', zshCompletion(commands)],
  ['fish', fishCompletion(commands)],
] as const) {
  const known = has(shell);
  (known ? test : test.skip)(`${shell} takes it${known ? '' : ` [skipped: there is no ${shell}]`}`, () => {
    const { status, stderr } = spawnSync(shell, ['-n'], { input: text, encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
  });
}

describe('manual pages', () => {
  const pages = manualPages(commands, '0.1.0');

  test('are one for each command', () => {
    expect(pages.map(({ file }) => file)).toEqual(commands.map(({ words }) => `${['silt', ...words].join('-')}.1`));
  });

  const known = has('groff');
  (known ? test : test.skip)(`are set without a warning${known ? '' : ' [skipped: there is no groff]'}`, () => {
    const input = pages.map(({ text }) => text).join('');
    const { status, stderr } = spawnSync('groff', ['-man', '-ww', '-Tutf8'], { input, encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
  });

  test('have every flag with what it is for', () => {
    const { text } = pages.find(({ file }) => file === 'silt-tar-rootfs-upper.1')!;
    expect(text).toContain('\\fB\\-\\-file\\fR \\fI<path>\\fR\nthe file to write; standard output without it\n');
    expect(text).toContain('.B silt tar rootfs\\-upper\n[options] <container\\-id>\n');
  });
});
