/** create, start, state, kill, delete and their kin, each a process of its own; what they print and how they fail beside runc. */
import { existsSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { commandLineSuite, isAlive, openFiles, runCommand, startCommand, waitFor, type Runtime } from '../harness';

commandLineSuite('the life of a container', (host) => {
  const both = (): Runtime[] => [host().silt, host().runc];
  const pidOf = async (runtime: Runtime, id: string): Promise<number> =>
    (JSON.parse(await runtime.must(['state', id])) as { pid: number }).pid;
  const ended = (runtime: Runtime, id: string): Promise<true> =>
    waitFor(`the end of ${id}`, async () => ((await runtime.status(id)) === 'stopped' ? true : undefined));

  test('goes from created to running to stopped, as runc has it', async () => {
    for (const runtime of both()) {
      const id = host().newId();
      const seen: string[] = [];
      await runtime.must(['create', '--bundle', host().sleeper(), id]);
      seen.push(await runtime.status(id));
      await runtime.must(['start', id]);
      seen.push(await runtime.status(id));
      await runtime.must(['pause', id]);
      seen.push(await runtime.status(id));
      await runtime.must(['resume', id]);
      seen.push(await runtime.status(id));
      await runtime.must(['kill', id, 'KILL']);
      await ended(runtime, id);
      await runtime.must(['delete', id]);
      expect(seen).toEqual(['created', 'running', 'paused', 'running']);
      expect((await runtime.run(['state', id])).code).toBe(1);
    }
  });

  test('one that was left frozen can be resumed, killed and deleted by force', async () => {
    const { silt } = host();
    const start = async (): Promise<string> => {
      const id = host().newId();
      await silt.must(['create', '--bundle', host().sleeper(), id]);
      await silt.must(['start', id]);
      freeze(await pidOf(silt, id));
      return id;
    };
    const resumed = await start();
    await silt.must(['resume', resumed]);
    await silt.must(['exec', resumed, 'true']);
    const killed = await start();
    await silt.must(['kill', killed, 'KILL']);
    await ended(silt, killed);
    await silt.must(['delete', killed]);
    freeze(await pidOf(silt, resumed));
    await silt.must(['delete', '--force', resumed]);
  });

  test('signals to all of it do not keep it from being deleted, nor what they find of it from being sent', async () => {
    const { silt } = host();
    for (let round = 0; round < 6; round++) {
      const id = host().newId();
      await silt.must(['run', '--detach', '--bundle', host().sleeper(), id]);
      const signals = ['URG', 'URG', 'URG', 'KILL'].map((signal) => silt.run(['kill', '--all', id, signal]));
      await silt.must(['delete', '--force', id]);
      for (const { code, stderr } of await Promise.all(signals))
        if (code !== 0) expect(stderr).toMatch(/does not exist.*\(CONTAINER_NOT_FOUND\)/);
      expect(existsSync(join(silt.root, id))).toBe(false);
    }
  }, 60_000);

  test('a container that was created and not started ends by the signals that end programs, as with runc', async () => {
    for (const runtime of both()) {
      for (const signal of ['TERM', 'INT']) {
        const id = host().newId();
        await runtime.must(['create', '--bundle', host().sleeper(), id]);
        await runtime.must(['kill', id, signal]);
        await ended(runtime, id);
        await runtime.must(['delete', id]);
      }
    }
  });

  // process 1 of its pid namespace, which gets no signal that it does not wait for. runc's is a Go program, whose status is 2.
  test('so it does when they come from elsewhere, and its program starts with none of them blocked', async () => {
    const prctl = process.arch === 'x64' ? 157 : 167;
    for (const [signal, number] of [
      ['TERM', 15],
      ['INT', 2],
      ['HUP', 1],
      ['QUIT', 3],
    ] as const) {
      for (const runtime of both()) {
        const id = host().newId();
        const pidFile = join(host().directory, `${id}.pid`);
        const words = (args: string[]): string => `${runtime.words(args).join(' ')} </dev/null >/dev/null 2>&1`;
        const create = words(['create', '--bundle', host().sleeper(), '--pid-file', pidFile, id]);
        const script = `syscall(${prctl}, 36, 1, 0, 0, 0); system("${create}") and die "create"; open(F, "${pidFile}"); my $pid = <F>;
          kill "${signal}", $pid; print waitpid($pid, 0) == $pid ? "status " . ($? >> 8) : "not mine";
          system("${words(['delete', id])}") and die "delete"; 1 while waitpid(-1, 0) > 0;`;
        const said = await runCommand(['perl', '-e', script], { env: host().environment, timeoutMs: 30_000 });
        expect(said.stdout.toString()).toBe(`status ${runtime === host().silt ? 128 + number : 2}`);
      }
    }
    const bundle = host().bundle(['grep', 'SigBlk', '/proc/self/status']);
    expect(await host().silt.must(['run', '--bundle', bundle, host().newId()])).toBe('SigBlk:\t0000000000000000\n');
  });

  test('fails as with runc where a command does not fit the state', async () => {
    const outcomes = [];
    for (const runtime of both()) {
      const id = host().newId();
      const codes: number[] = [];
      const go = async (...args: string[]): Promise<void> => void codes.push((await runtime.run(args)).code);
      await go('start', id);
      await go('kill', id, 'KILL');
      await go('delete', id);
      await go('delete', '--force', id);
      await go('create', '--bundle', host().sleeper(), id);
      await go('create', '--bundle', host().sleeper(), id);
      await go('resume', id);
      await go('start', id);
      await go('start', id);
      await go('delete', id);
      await go('kill', id, 'NOSUCH');
      await go('exec', id, 'no-such-program');
      await go('exec', id, 'sh', '-c', 'exit 7');
      await go('pause', id);
      await go('exec', id, 'true');
      await go('delete', '--force', id);
      outcomes.push(codes);
    }
    expect(outcomes[0]).toEqual(outcomes[1]);
    expect(outcomes[0]).toEqual([1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 1, 255, 7, 0, 255, 0]);
  });

  test('says what engines look for in the words of runc', async () => {
    const { silt } = host();
    expect((await silt.run(['state', 'nobody'])).stderr).toContain('does not exist');
    const id = host().newId();
    await silt.must(['create', '--bundle', host().sleeper(), id]);
    await silt.must(['kill', id, 'KILL']);
    await ended(silt, id);
    expect((await silt.run(['kill', id, 'TERM'])).stderr).toContain('container not running');
    await silt.must(['delete', id]);
  });

  test('prints the state and lists as runc does', async () => {
    const shapes = [];
    for (const runtime of both()) {
      const id = host().newId();
      await runtime.must(['create', '--bundle', host().sleeper({ annotations: { a: 'b' } }), id]);
      const state = JSON.parse(await runtime.must(['state', id])) as Record<string, unknown>;
      const listed = JSON.parse(await runtime.must(['list', '--format', 'json'])) as Record<string, unknown>[];
      const table = (await runtime.must(['list'])).split('\n')[0]!.split(/\s+/);
      const shape = (of: Record<string, unknown>): string[] =>
        Object.entries(of)
          .map(([key, value]) => `${key}: ${typeof value}`)
          .sort();
      expect(listed.map((one) => one['id'])).toEqual([id]);
      expect(await runtime.must(['list', '--quiet'])).toBe(`${id}\n`);
      shapes.push([shape(state), shape(listed[0]!), table, state['annotations']]);
      await runtime.must(['delete', id]);
      expect(await runtime.must(['list', '--format', 'json'])).toMatch(/^null\n?$/);
    }
    expect(shapes[0]).toEqual(shapes[1]);
  });

  test('run passes the exit status on, 128 and more for a signal, and leaves nothing', async () => {
    for (const [script, status] of [
      ['exit 42', 42],
      ['kill -9 $$', 0],
      ['true', 0],
    ] as const) {
      const id = host().newId();
      // Process 1 of a pid namespace gets no signal of its own, so the second is a child's.
      const result = await host().silt.run(['run', '--bundle', host().bundle(['sh', '-c', script]), id]);
      expect(result).toMatchObject({ code: status, stderr: '' });
      expect((await host().silt.run(['state', id])).code).toBe(1);
    }
  });

  test('run passes signals on', async () => {
    const script = 'trap "echo got it; exit 5" TERM; echo ready; while :; do sleep 0.1; done';
    const command = host().silt.start(['run', '--bundle', host().bundle(['sh', '-c', script]), host().newId()]);
    await command.waitForOutput(/ready/);
    expect(await command.stop('SIGTERM')).toMatchObject({ code: 5 });
    expect(command.stdout.toString()).toBe('ready\ngot it\n');
  });

  test('a program that is not there fails the creation and leaves nothing', async () => {
    const id = host().newId();
    const { code, stderr } = await host().silt.run(['run', '--bundle', host().bundle(['no-such-program']), id]);
    expect(code).toBe(1);
    expect(stderr).toContain('exec: "no-such-program": executable file not found in $PATH');
    expect((await host().silt.run(['list', '--quiet'])).stdout.toString()).not.toContain(id);
  });

  // As in many containers. What waits for all of a pid namespace to be reaped would wait for ever.
  test('a creation that fails ends where process 1 reaps nobody', async () => {
    const bundle = host().bundle(['true'], { hooks: { createRuntime: [{ path: '/bin/false' }] } });
    const log = join(host().directory, 'codes');
    const words = host().silt.words(['run', '--bundle', bundle, host().newId()]);
    const tries = `for i in 1 2 3 4 5 6 7 8; do timeout -s KILL 20 ${words.join(' ')} > ${log}.said 2>&1; echo $? >> ${log}; done`;
    const apart = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc', 'sh', '-c', `(${tries}) & exec sleep 1000`]; // prettier-ignore
    const { child, ended: over } = startCommand(apart, { env: host().environment });
    const codes = (): string => (existsSync(log) ? readFileSync(log, 'utf8') : '');
    await waitFor('all of them', () => codes().length >= 16, { timeoutMs: 90_000 });
    child.kill('SIGKILL');
    await over;
    expect(codes()).toBe('1\n'.repeat(8));
    expect(readFileSync(`${log}.said`, 'utf8')).toContain('HOOK_FAILED');
  }, 120_000);

  test('the log has the error in JSON for an engine', async () => {
    const log = join(host().directory, 'log.json');
    await host().silt.run(['--log', log, '--log-format', 'json', 'start', 'nobody']);
    const line = JSON.parse(readFileSync(log, 'utf8').trim().split('\n').at(-1)!) as { level: string; msg: string };
    expect(line).toMatchObject({ level: 'error', msg: expect.stringContaining('does not exist') as string });
  });

  test('the process is a child of the caller’s subreaper, which can wait for the pid in the pid file', async () => {
    // PR_SET_CHILD_SUBREAPER is option 36 of prctl, system call 157 on x86_64 and 167 on aarch64.
    const prctl = process.arch === 'x64' ? 157 : 167;
    const outcomes = [];
    for (const runtime of both()) {
      const id = host().newId();
      const pidFile = join(host().directory, `${id}.pid`);
      const words = (args: string[]): string => runtime.words(args).join(' ');
      const create = words(['create', '--bundle', host().bundle(['sh', '-c', 'exit 33']), '--pid-file', pidFile, id]);
      const script = `syscall(${prctl}, 36, 1, 0, 0, 0); system("${create} </dev/null >/dev/null 2>&1") and die "create"; open(F, "${pidFile}"); my $pid = <F>;
        system("${words(['start', id])}") and die "start"; print waitpid($pid, 0) == $pid ? "status " . ($? >> 8) : "not mine";
        system("${words(['delete', id])}") and die "delete"; 1 while waitpid(-1, 0) > 0;`;
      const result = await runCommand(['perl', '-e', script], { env: host().environment, timeoutMs: 30_000 });
      outcomes.push({ code: result.code, stdout: result.stdout.toString(), stderr: result.stderr });
    }
    expect(outcomes).toEqual([
      { code: 0, stdout: 'status 33', stderr: '' },
      { code: 0, stdout: 'status 33', stderr: '' },
    ]);
  });

  test('a container whose annotations name a pod joins it, and the last one to go ends it', async () => {
    const { silt } = host();
    const [pod, member] = [host().newId(), host().newId()];
    const annotations = { 'io.kubernetes.cri.container-type': 'container', 'io.kubernetes.cri.sandbox-id': pod };
    await silt.must([
      'run',
      '--detach',
      '--bundle',
      host().sleeper({ annotations: { 'io.kubernetes.cri.container-type': 'sandbox' } }),
      pod,
    ]);
    await silt.must(['run', '--detach', '--bundle', host().sleeper({ annotations }), member]);
    const [first, second] = [await pidOf(silt, pod), await pidOf(silt, member)];
    const namespace = (pid: number, kind: string): string => readlinkSync(`/proc/${pid}/ns/${kind}`);
    for (const kind of ['net', 'ipc', 'uts']) expect(namespace(second, kind)).toBe(namespace(first, kind));
    for (const kind of ['pid', 'mnt']) expect(namespace(second, kind)).not.toBe(namespace(first, kind));
    await silt.must(['delete', '--force', pod]);
    expect([isAlive(first), isAlive(second), await silt.status(member)]).toEqual([false, true, 'running']);
    await silt.must(['delete', '--force', member]);
    expect(isAlive(second)).toBe(false);
    const orphan = await silt.run(['create', '--bundle', host().sleeper({ annotations }), host().newId()]);
    expect(orphan).toMatchObject({ code: 1, stderr: expect.stringContaining('there is no such pod') as string });
  });

  test('hooks run from the commands that they belong to', async () => {
    const { silt } = host();
    const id = host().newId();
    const trace = join(host().directory, 'hooks');
    const hook = (name: string): object[] => [
      { path: '/bin/sh', args: ['sh', '-c', `cat > /dev/null; echo ${name} >> ${trace}`] },
    ];
    const kinds = ['createRuntime', 'poststart', 'poststop'];
    const hooks = Object.fromEntries(kinds.map((kind) => [kind, hook(kind)]));
    const seen = (): string[] => readFileSync(trace, 'utf8').trim().split('\n');
    await silt.must(['create', '--bundle', host().sleeper({ hooks }), id]);
    expect(seen()).toEqual(['createRuntime']);
    await silt.must(['start', id]);
    expect(seen()).toEqual(['createRuntime', 'poststart']);
    await silt.must(['delete', '--force', id]);
    expect(seen()).toEqual(kinds);
  });

  test('wait tells the exit status to whoever is not the parent', async () => {
    const { silt } = host();
    const id = host().newId();
    const script = 'until [ -e /tmp/end ]; do sleep 0.05; done; exit 9';
    await silt.must(['create', '--bundle', host().bundle(['sh', '-c', script]), id]);
    await silt.must(['start', id]);
    const waiting = silt.start(['wait', id]);
    // The status is to be had only by who holds the process before it is reaped.
    await waitFor('wait to hold the process', () =>
      [...openFiles(waiting.child.pid!).values()].some((file) => /pidfd/.test(file)),
    );
    await silt.must(['exec', id, 'sh', '-c', ': > /tmp/end']);
    expect((await waiting.ended).stdout.toString()).toBe(`${JSON.stringify({ id, exitStatus: 9 })}\n`);
    await silt.must(['delete', id]);
  });

  test('update, ps and events are those of runc', async () => {
    const outcomes = [];
    for (const runtime of both()) {
      const id = host().newId();
      await runtime.must(['run', '--detach', '--bundle', host().sleeper(), id]);
      await runtime.must(['update', '--pids-limit', '20', id]);
      await runtime.must(['update', '--memory', '64M', id]);
      await runtime.must(['update', '--resources', '-', id], { stdin: '{"memory":{"limit":33554432}}' });
      const { type, data } = JSON.parse(await runtime.must(['events', '--stats', id])) as { type: string; data: Record<string, { limit?: number; usage?: { limit?: number } }> }; // prettier-ignore
      const pids = JSON.parse(await runtime.must(['ps', '--format', 'json', id])) as number[];
      const table = (await runtime.must(['ps', id])).trim().split('\n');
      outcomes.push([
        type,
        Object.keys(data).sort(),
        data['pids']?.limit,
        data['memory']?.usage?.limit,
        pids.length,
        table.length,
        table[0],
      ]);
      expect(pids).toEqual([await pidOf(runtime, id)]);
      await runtime.must(['delete', '--force', id]);
    }
    expect(outcomes[0]).toEqual(outcomes[1]);
  });
});

/** As one does it who is killed before the thaw. */
function freeze(pid: number): void {
  const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
  const v1 = /^\d+:freezer:(.*)$/m.exec(lines)?.[1];
  if (v1 !== undefined) writeFileSync(`/sys/fs/cgroup/freezer${v1}/freezer.state`, 'FROZEN');
  else writeFileSync(`/sys/fs/cgroup${/^0::(.*)$/m.exec(lines)![1]!}/cgroup.freeze`, '1');
}
