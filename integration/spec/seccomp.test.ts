/** `linux.seccomp` of the spec (config-linux.md, "Seccomp"), looked at from inside; what runc knows of it under runc as well. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hostArch, syscallNumbers } from '../../syscall';
import { commandLineSuite, mustRun, type Runtime, startCommand, waitFor } from '../harness';

commandLineSuite('seccomp', (host) => {
  const runtimes = (): readonly Runtime[] => [host().silt, host().runc];
  const bundle = (script: string, seccomp: object, process: object = {}): string =>
    host().bundle(['sh', '-c', script], { linux: { seccomp }, process });
  const allowBut = (...syscalls: object[]): object => ({ defaultAction: 'SCMP_ACT_ALLOW', syscalls });
  const mkdirs = ['mkdir', 'mkdirat'];

  test.each<[string, object, string, string]>([
    ['an errno of its own', allowBut({ names: mkdirs, action: 'SCMP_ACT_ERRNO', errnoRet: 122 }), 'mkdir /tmp/a 2>&1', "mkdir: can't create directory '/tmp/a': Disk quota exceeded\n"], // prettier-ignore
    ['EPERM without one', allowBut({ names: mkdirs, action: 'SCMP_ACT_ERRNO' }), 'mkdir /tmp/a 2>&1', "mkdir: can't create directory '/tmp/a': Operation not permitted\n"], // prettier-ignore
    ['a signal', allowBut({ names: mkdirs, action: 'SCMP_ACT_KILL_PROCESS' }), 'mkdir /tmp/a; echo $?', '159\n'],
    ['a trap', allowBut({ names: mkdirs, action: 'SCMP_ACT_TRAP' }), 'mkdir /tmp/a; echo $?', '159\n'],
    ['a line in the log', allowBut({ names: mkdirs, action: 'SCMP_ACT_LOG' }), 'mkdir /tmp/a; echo $?', '0\n'],
    ['one argument of a call', allowBut(...[{ name: 'chmod', index: 1 }, { name: 'fchmodat', index: 2 }].map(({ name, index }) => ({ names: [name], action: 'SCMP_ACT_ERRNO', args: [{ index, value: 0o700, valueTwo: 0, op: 'SCMP_CMP_EQ' }] }))), 'busybox chmod 700 /tmp 2> /dev/null; echo $?; busybox chmod 755 /tmp; echo $?', '1\n0\n'], // prettier-ignore
  ])('%s', async (_, seccomp, script, output) => {
    for (const runtime of runtimes()) {
      const { stdout } = await runtime.run(['run', '--bundle', bundle(script, seccomp), host().newId()]);
      expect(stdout.toString()).toBe(output);
    }
  });

  test.each([
    ['defaultErrnoRet', { defaultErrnoRet: 122 }, 'Disk quota exceeded'],
    ['without it EPERM', {}, 'Operation not permitted'],
  ])('what no rule names: %s', async (_, field, said) => {
    const names = Object.keys(syscallNumbers(hostArch)).filter((name) => !mkdirs.includes(name));
    const seccomp = { defaultAction: 'SCMP_ACT_ERRNO', ...field, syscalls: [{ names, action: 'SCMP_ACT_ALLOW' }] };
    for (const runtime of runtimes()) {
      const at = bundle('echo inside; mkdir /tmp/a 2>&1', seccomp);
      const { stdout } = await runtime.run(['run', '--bundle', at, host().newId()]);
      expect(stdout.toString()).toBe(`inside\nmkdir: can't create directory '/tmp/a': ${said}\n`);
    }
  });

  // runc 1.1 refuses them.
  test('the flags LOG and SPEC_ALLOW', async () => {
    const flags = ['LOG', 'SPEC_ALLOW'].map((name) => `SECCOMP_FILTER_FLAG_${name}`);
    const seccomp = { ...allowBut({ names: mkdirs, action: 'SCMP_ACT_ERRNO' }), flags };
    const at = bundle('mkdir /tmp/a 2> /dev/null; echo $?', seccomp);
    expect(await host().silt.must(['run', '--bundle', at, host().newId()])).toMatch(/^1\n?$/);
  });

  test('a startContainer hook that it ends is told of, as with runc', async () => {
    const at = host().bundle(['true'], {
      linux: { seccomp: allowBut({ names: mkdirs, action: 'SCMP_ACT_KILL_PROCESS' }) },
      hooks: { startContainer: [{ path: '/bin/busybox', args: ['mkdir', '/tmp/a'] }] },
    });
    for (const runtime of runtimes()) {
      const { code, stderr } = await runtime.run(['run', '--bundle', at, host().newId()]);
      expect([code, stderr]).toEqual([1, expect.stringContaining('bad system call')]);
    }
  });

  describe('a listener', () => {
    const notify = (path: string): object => ({
      ...allowBut({ names: mkdirs, action: 'SCMP_ACT_NOTIFY' }),
      listenerPath: path,
      listenerMetadata: 'for the agent',
    });
    const agent = async (name: string): Promise<{ socket: string; log: string; stop: () => Promise<unknown> }> => {
      const [program, socket, log] = ['agent', `${name}.sock`, `${name}.log`].map((one) =>
        join(host().directory, one),
      ) as [string, string, string];
      if (!existsSync(program)) await mustRun(['gcc', '-O1', '-o', program, join(__dirname, 'seccomp-agent.c')]);
      const running = startCommand([program, socket, log], { keepStdinOpen: true });
      await waitFor('the agent', () => existsSync(socket));
      return {
        socket,
        log,
        stop: () => {
          running.child.stdin!.end();
          return running.ended;
        },
      };
    };
    const refused = "mkdir: can't create directory '/tmp/a': Disk quota exceeded\n";

    test.each([true, false])('gets the state and answers; noNewPrivileges %p', async (noNewPrivileges) => {
      for (const [i, runtime] of runtimes().entries()) {
        const { socket, log, stop } = await agent(`${noNewPrivileges ? 'nnp' : 'priv'}${i}`);
        const id = host().newId();
        const at = bundle('mkdir /tmp/a 2>&1; exec sleep 1000', notify(socket), { noNewPrivileges });
        await runtime.must(['create', '--bundle', at, id]);
        await runtime.must(['start', id]);
        const { stdout } = await runtime.run(['exec', id, 'sh', '-c', 'mkdir /tmp/a 2>&1']);
        expect(stdout.toString()).toBe(refused);
        const { pid } = JSON.parse(await runtime.must(['state', id])) as { pid: number };
        const states = readFileSync(log, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as object); // prettier-ignore
        const common = { fds: ['seccompFd'], metadata: 'for the agent' };
        // runc says its own version of the spec.
        const wanted = i === 0 ? { ociVersion: '1.0.2', ...common } : common;
        expect(states[0]).toMatchObject({ ...wanted, pid, state: { id, status: 'creating', pid, bundle: at } });
        expect(states[1]).toMatchObject({ ...wanted, state: { id, status: 'running', pid, bundle: at } });
        expect(states[1]).not.toMatchObject({ pid });
        await runtime.must(['delete', '--force', id]);
        await stop();
      }
    });

    test('that nobody is at fails the creation, and names it', async () => {
      const path = join(host().directory, 'nobody.sock');
      const { code, stderr } = await host().silt.run(['run', '--bundle', bundle('true', notify(path)), host().newId()]);
      expect([code, stderr]).toEqual([1, expect.stringContaining(`failed to connect with seccomp agent ${path}`)]);
    });

    test.each<[string, object, string]>([
      ['without a path', allowBut({ names: ['mkdir'], action: 'SCMP_ACT_NOTIFY' }), '$.linux.seccomp.listenerPath'],
      ['for the calls that hand it over', { ...allowBut({ names: ['sendmsg'], action: 'SCMP_ACT_NOTIFY' }), listenerPath: '/x' }, '$.linux.seccomp.syscalls[0]'], // prettier-ignore
      ['for all calls', { defaultAction: 'SCMP_ACT_NOTIFY', listenerPath: '/x' }, '$.linux.seccomp.defaultAction'],
    ])('%s is refused by its path', async (_, seccomp, jsonPath) => {
      const { stderr } = await host().silt.run(['run', '--bundle', bundle('true', seccomp), host().newId()]);
      expect(stderr).toContain(jsonPath);
    });
  });
});
