/** Commands that cannot be started: exit status and text are those of runc, which users and their scripts know. */
import { containerdSuite, isSilt, siltTest, taskStatus, type CommandResult } from '../harness';

const runc = 'io.containerd.runc.v2';

/**
 * What a person reads: the part of the message about the program, without the names of a runtime's own stages and without the kind of
 * error that ctr adds at the end (runc knows one kind only, `unknown`).
 */
function essence({ code, stderr }: CommandResult): string {
  const text = /exec: "[^"]*": .*|exec \/\S+: .*/.exec(stderr)?.[0] ?? stderr;
  return `${code} ${text.trim().replace(/: (unknown|invalid argument)$/, '')}`;
}

const commands: readonly (readonly [string, readonly string[]])[] = [
  ['a name that is nowhere on PATH', ['no-such-program']],
  ['a path that is not there', ['/no/such/program']],
  ['a file that is not executable', ['/etc/not-executable']],
  ['a relative path that is not there', ['./no-such-program']],
  ['a directory', ['/etc']],
];

containerdSuite('errors of start', {}, (host) => {
  test.each(commands)('run of %s fails as with runc', async (_, command) => {
    const result = await host().run(command);
    expect(result.code).toBe(1);
    expect(essence(result)).toBe(essence(await host().run(command, { runtime: runc })));
  });

  test('the usual mistakes have the usual words', async () => {
    expect((await host().run(['no-such-program'])).stderr).toContain(
      'exec: "no-such-program": executable file not found in $PATH',
    );
    expect((await host().run(['/no/such/program'])).stderr).toContain(
      '"/no/such/program": stat /no/such/program: no such file or directory',
    );
    expect((await host().run(['/etc/not-executable'])).stderr).toContain(
      'exec: "/etc/not-executable": permission denied',
    );
  });

  test.each([
    ['with an interpreter that is not there', '/bin/missing-interpreter', 'no such file or directory'],
    ['that is no program', '/bin/not-a-program', 'exec format error'],
  ])('run of a file %s fails with the reason', async (_, file, reason) => {
    const result = await host().run([file]);
    expect(result.code).not.toBe(0);
    expect(result.stderr).toContain(`exec ${file}: ${reason}`);
  });

  test.each(commands)('exec of %s fails as with runc, and the container lives on', async (_, command) => {
    const [id, peer] = [await host().startContainer(), await host().startContainer(undefined, { runtime: runc })];
    const result = await host().exec(id, command, { timeoutMs: 15_000 });
    expect(result.code).toBe(1);
    expect(essence(result)).toBe(essence(await host().exec(peer, command)));
    expect(await taskStatus(host(), id)).toBe('RUNNING');
    expect((await host().exec(id, ['echo', 'alive'])).stdout.toString()).toBe('alive\n');
    await host().remove(id);
    await host().remove(peer);
  });

  test('a failed start leaves no task', async () => {
    const id = host().newId();
    expect((await host().ctr(host().runWords(id, ['no-such-program']))).code).toBe(1);
    expect(await taskStatus(host(), id)).toBeUndefined();
    await host().ctr(['containers', 'delete', id]);
  });

  test('a working directory that is not there is made, as runc does', async () => {
    for (const one of [{}, { runtime: runc }]) {
      const { stdout } = await host().run(['pwd'], { flags: ['--cwd', '/made/for/it'], ...one });
      expect(stdout.toString()).toBe('/made/for/it\n');
    }
  });

  siltTest('messages of silt name no stage of runc', async () => {
    expect(isSilt).toBe(true);
    expect((await host().run(['no-such-program'])).stderr).not.toMatch(/runc/);
  });
});
