/** The flags of the runc that this machine has, command by command: silt takes each, or says by name why not. */
import { siltProgram, commandLineSuite, mustRun } from '../harness';
import { commandFlagsOfOthers } from '../../cli/other-runtimes';

/** Long names of flags, as they stand at the beginning of lines of a help text. */
async function flagsIn(program: string, command: readonly string[]): Promise<string[]> {
  const { stdout, stderr } = await mustRun([program, ...command, '--help']);
  const lines = `${stdout.toString()}${stderr}`.matchAll(/^\s+(?:-\w, )?--([a-z][\w-]*)/gim);
  return [...lines].map(([, name]) => name!);
}

commandLineSuite('flags of runc', (host) => {
  test.each([
    ...['create', 'start', 'run', 'exec', 'kill', 'delete', 'state', 'list', 'ps', 'events', 'checkpoint', 'restore'],
    ...['pause', 'resume', 'update', 'spec', 'features'],
  ])('%s', async (command) => {
    const known = [...(await flagsIn(siltProgram, [command])), ...Object.keys(commandFlagsOfOthers[command] ?? {})];
    const runcs = await flagsIn(host().runc.program, [command]);
    expect(runcs.filter((name) => !known.includes(name))).toEqual([]);
  });

  test('before the command', async () => {
    const known = await flagsIn(siltProgram, []);
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
