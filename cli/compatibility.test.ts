import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildCommandLine } from './command-line';
import { commandFlagsOfOthers, flagsOfOthers } from './other-runtimes';

const text = readFileSync(join(__dirname, '..', 'docs', 'compatibility.md'), 'utf8');
const { silt } = buildCommandLine();

/** The names in the first column of a chapter's table. */
function namesIn(chapter: string): string[] {
  const body = text.split(`\n## ${chapter}\n`)[1]!.split('\n## ')[0]!;
  const rows = [...body.matchAll(/^\| (`.+?`) \| .+ \|$/gm)];
  return rows.flatMap(([, first]) => [...first!.matchAll(/`([^`]+)`/g)].map(([, name]) => name!));
}

test('docs/compatibility.md has every global flag, once', () => {
  const own = silt.options.map(({ long }) => long!.slice(2)).filter((name) => name !== 'version');
  expect(namesIn('Global flags').sort()).toEqual([...own, ...Object.keys(flagsOfOthers)].sort());
});

test('docs/compatibility.md has every flag of a command that silt does not have', () => {
  const all = Object.entries(commandFlagsOfOthers).flatMap(([command, flags]) =>
    Object.keys(flags).map((flag) => `${command} --${flag}`),
  );
  expect(namesIn('Flags of commands').sort()).toEqual(all.sort());
});

test('a flag is not both a command’s own and another runtime’s', () => {
  for (const [name, flags] of Object.entries(commandFlagsOfOthers)) {
    const command = silt.commands.find((one) => one.name() === name)!;
    const own = command.options.map(({ long }) => long!.slice(2));
    expect(Object.keys(flags).filter((flag) => own.includes(flag))).toEqual([]);
  }
});

test('what it says silt does not have, silt does not have', () => {
  const commands = silt.commands.map((command) => command.name());
  expect(namesIn('Commands of runsc that silt does not have').filter((name) => commands.includes(name))).toEqual([]);
});
