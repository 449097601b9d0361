import { TIMED_COMMANDS, useOf } from './code-use';
import { buildCommandLine } from './command-line';

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
