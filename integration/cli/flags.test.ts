/** The flags of the runc and the runscs that are here, command by command: silt takes each, or says by name why not. */
import { siltProgram, commandLineSuite, mustRun, testIf } from '../harness';
import { findRunscs } from '../harness/runsc';
import { commandFlagsOfOthers, flagsOfOthers } from '../../cli/other-runtimes';

/** Long names of flags, as they stand at the beginning of lines of a help text. */
async function flagsIn(program: string, command: readonly string[]): Promise<string[]> {
  const { stdout, stderr } = await mustRun([program, ...command, '--help']);
  const lines = `${stdout.toString()}${stderr}`.matchAll(/^\s+(?:-\w, )?--([a-z][\w-]*)/gim);
  return [...lines].map(([, name]) => name!);
}

/** What silt's command takes, has no use for, or refuses. A switch that is on unless `--no-…` is given is one of Go's with two values. */
async function knownTo(command: readonly string[]): Promise<string[]> {
  const { stdout, stderr } = await mustRun([siltProgram, ...command, '--help']);
  const named = [...`${stdout.toString()}${stderr}`.matchAll(/^\s+(?:-\w, )?--([a-z][\w-]*)/gim)].map(
    ([, name]) => name!,
  );
  const others = command[0] === undefined ? flagsOfOthers : commandFlagsOfOthers[command[0]];
  return [...named, ...named.map((name) => name.replace(/^no-/, '')), ...Object.keys(others ?? {})];
}

commandLineSuite('flags of runc', (host) => {
  test.each([
    ...['create', 'start', 'run', 'exec', 'kill', 'delete', 'state', 'list', 'ps', 'events', 'checkpoint', 'restore'],
    ...['pause', 'resume', 'update', 'spec', 'features'],
  ])('%s', async (command) => {
    const known = await knownTo([command]);
    const runcs = await flagsIn(host().runc.program, [command]);
    expect(runcs.filter((name) => !known.includes(name))).toEqual([]);
  });

  test('before the command', async () => {
    const known = await knownTo([]);
    expect((await flagsIn(host().runc.program, [])).filter((name) => !known.includes(name))).toEqual([]);
  });

  test('an unknown one is an error of each', async () => {
    for (const args of [
      ['--nosuch', 'list'],
      ['list', '--nosuch'],
      ['exec', '--nosuch', 'x', 'true'],
    ]) {
      const { code, stderr } = await host().silt.run(args);
      expect([code, stderr]).toEqual([args[0] === 'exec' ? 255 : 1, expect.stringContaining('nosuch')]);
    }
  });
});

describe('flags of runsc', () => {
  const runscs = findRunscs();
  /** In Go's own form: two blanks, one dash; those of the first line stand behind the usage. */
  const flagsOf = async (path: string, ...words: string[]): Promise<string[]> => {
    const { stdout, stderr } = await mustRun([path, ...words]);
    const found = [...`${stdout.toString()}${stderr}`.matchAll(/ {2}-([A-Za-z][\w-]*)/g)].map(([, name]) => name!);
    if (found.length === 0) throw new Error(`no flag in what ${words.join(' ')} says: ${stdout.toString()}${stderr}`);
    return found;
  };
  /** Those that have flags. */
  const commands = [
    ...['checkpoint', 'create', 'delete', 'do', 'events', 'exec', 'install', 'kill', 'list', 'ps', 'restore'],
    ...['run', 'spec', 'uninstall', 'wait'],
  ];

  testIf(runscs.length > 0, 'there is no runsc (make peers fetches one)')(
    'of each command, and before it',
    async () => {
      const unknown: string[] = [];
      const known = new Map<string, string[]>();
      for (const command of commands) known.set(command, await knownTo([command]));
      const global = await knownTo([]);
      for (const { name, path } of runscs) {
        for (const flag of await flagsOf(path, 'flags')) if (!global.includes(flag)) unknown.push(`${name}: --${flag}`);
        for (const command of commands) {
          const missing = (await flagsOf(path, 'help', command)).filter((flag) => !known.get(command)!.includes(flag));
          unknown.push(...missing.map((flag) => `${name}: ${command} --${flag}`));
        }
      }
      expect(unknown).toEqual([]);
    },
  );
});
