import { Command } from 'commander';
import { TIMED_COMMANDS, useOf } from './code-use';
import { addCommands, buildCommandLine } from './command-line';
import { Frame } from './frame';

describe('which code a command line uses', () => {
  test('is that of a command that there is', () => {
    const names = buildCommandLine().silt.commands.map((command) => command.name());
    expect(TIMED_COMMANDS.filter((name) => !names.includes(name))).toEqual([]);
  });

  test.each([
    [['list'], 'list'],
    [['--root', '/run/x', '--log-format', 'json', 'create', '--bundle', '.', 'state'], 'create'],
    [['--help'], 'other'],
    [['check'], 'other'],
    [[], 'other'],
  ])('%j: %s', (args, use) => expect(useOf(args)).toBe(use));
});

describe('which commands are made', () => {
  function added(...names: string[]): string[] {
    const silt = new Command('silt').enablePositionalOptions();
    for (const name of names) addCommands(silt, new Frame(silt), name);
    return silt.commands.map((command) => command.name());
  }
  const all = buildCommandLine().silt.commands.map((command) => command.name());

  test.each(TIMED_COMMANDS)('for %s itself alone', (name) => expect(added(name, 'nosuch', 'list')).toEqual([name]));

  test.each(['completion', 'nosuch', '--', 'constructor', ''])('for %j all of them, once', (name) =>
    expect(added(name, 'list')).toEqual(all),
  );
});
