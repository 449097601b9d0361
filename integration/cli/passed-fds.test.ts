/** Fds that a container or an exec is handed, pids and pidfds that an engine is told, by the flags of runc and runsc. */
import { closeSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { commandLineSuite, runCommand, type CommandResult } from '../harness';
import { FdSocket } from '../harness/fd-socket';

commandLineSuite('what is handed on', (host) => {
  /** Runs silt with files open: by their numbers, what stands in them. */
  const withFds = (open: Readonly<Record<number, string>>, args: readonly string[]): Promise<CommandResult> => {
    const redirections = Object.entries(open).map(([fd, text]) => {
      const file = join(host().directory, `fd-${fd}`);
      writeFileSync(file, text);
      return `${fd}<${file}`;
    });
    const script = `exec ${redirections.join(' ')}; exec "$@"`;
    return runCommand(['bash', '-c', script, 'sh', ...host().silt.words(args)], { env: host().environment });
  };
  const READ = 'cat <&3; cat <&4; ls /proc/self/fd';

  test('--preserve-fds: from 3 on, with the same numbers', async () => {
    const bundle = host().bundle(['sh', '-c', READ]);
    const run = await withFds({ 3: 'three\n', 4: 'four\n' }, [
      'run',
      '--bundle',
      bundle,
      '--preserve-fds=2',
      host().newId(),
    ]);
    expect(run.stdout.toString()).toMatch(/^three\nfour\n0\n1\n2\n3\n4\n/);
  });

  test('--pass-fd: under another number, also where silt’s own are meanwhile', async () => {
    const bundle = host().bundle(['sh', '-c', `${READ}; cat <&99`]);
    const flags = ['--pass-fd=8:3', '--pass-fd', '7:4', '--pass-fd=8:99'];
    const run = await withFds({ 7: 'seven\n', 8: 'eight\n' }, ['run', '--bundle', bundle, ...flags, host().newId()]);
    expect(run.stdout.toString()).toMatch(/^eight\nseven\n0\n1\n2\n3\n4\n(5\n)?99\n/);
  });

  test('a program that is not there is told although its number was where errors are told', async () => {
    const bundle = host().bundle(['/bin/nothing']);
    const run = await withFds({ 7: 'seven\n' }, ['run', '--bundle', bundle, '--pass-fd=7:4', host().newId()]);
    expect(run.stderr).toMatch(/exec: "\/bin\/nothing": .*no such file or directory/);
  });

  test('to an exec, beside the pid by both of its names', async () => {
    const { silt } = host();
    const id = host().newId();
    await silt.must(['run', '--detach', '--bundle', host().sleeper(), id]);
    const [outer, inner] = ['outer', 'inner'].map((name) => join(host().directory, name));
    const flags = ['--pass-fd=9:5', `--pid-file=${outer}`, `--internal-pid-file=${inner}`];
    const exec = await withFds({ 9: 'nine\n' }, ['exec', ...flags, id, 'sh', '-c', 'cat <&5; echo $$; sleep 0.2']);
    expect(exec.stdout.toString()).toBe(`nine\n${readFileSync(inner!, 'utf8')}\n`);
    expect(Number(readFileSync(outer!, 'utf8'))).toBeGreaterThan(Number(readFileSync(inner!, 'utf8')));
    await silt.must(['delete', '--force', id]);
  });

  test.each<[string[], RegExp]>([
    [['--preserve-fds=1'], /--preserve-fds=1: fd 3 is not open/],
    [['--pass-fd=77:5'], /--pass-fd=77:5: fd 77 is not open/],
    [['--pass-fd=9:5', '--pass-fd=9:5'], /fd 5 of the container is given twice/],
    [['--pass-fd=9:1'], /number from 3 to 299/],
    [['--pass-fd=9'], /It is HOST:GUEST/],
    [['--exec-fd=9'], /--exec-fd of run is not supported: give the program by its path/],
  ])('%j is refused', async (flags, message) => {
    const run = await withFds({ 9: '' }, ['run', '--bundle', host().bundle(['true']), ...flags, host().newId()]);
    expect(run.stderr).toMatch(message);
    expect(run.code).toBe(1);
  });

  test('--pidfd-socket: the pidfd of the first process, and of an exec', async () => {
    const { silt } = host();
    const id = host().newId();
    const path = join(host().directory, `${id}.sock`);
    const socket = new FdSocket(path);
    await silt.must(['create', '--bundle', host().sleeper(), `--pidfd-socket=${path}`, id]);
    const pidOf = (pidfd: number): number =>
      Number(/^Pid:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${pidfd}`, 'latin1'))?.[1]);
    const first = socket.receive();
    const { pid } = JSON.parse(await silt.must(['state', id])) as { pid: number };
    expect(pidOf(first)).toBe(pid);
    await silt.must(['start', id]);
    const pidFile = join(host().directory, `${id}.pid`);
    const flags = ['--detach', `--pidfd-socket=${path}`, `--pid-file=${pidFile}`];
    await silt.must(['exec', ...flags, id, 'sleep', '1000']);
    const further = socket.receive();
    expect(pidOf(further)).toBe(Number(readFileSync(pidFile, 'utf8')));
    for (const fd of [first, further]) closeSync(fd);
    socket.close();
    await silt.must(['delete', '--force', id]);
  });
});
