/** The life of a container under Docker: signals, pauses, restarts, health, and the events that tell of it. */
import { waitFor } from '../harness';
import { dockerRuntime, dockerSuite } from '../harness/docker';

dockerSuite('the life of a container under docker', {}, (host) => {
  const status = (id: string): Promise<string> => host().inspect(id, '.State.Status');
  const exitCode = (id: string): Promise<string> => host().inspect(id, '.State.ExitCode');
  const ended = (id: string): Promise<boolean> => waitFor('its end', async () => (await status(id)) === 'exited');
  const PATIENT = 'trap "echo term; exit 3" TERM; trap "echo usr1" USR1; echo ready; while :; do sleep 0.05; done';
  const ready = async (id: string): Promise<void> => {
    await waitFor('the container to be ready', async () => (await host().must('logs', id)).includes('ready'));
  };

  test('stop sends SIGTERM and waits for the end', async () => {
    const id = await host().background([], PATIENT);
    await ready(id);
    await host().must('stop', id);
    expect([await status(id), await exitCode(id)]).toEqual(['exited', '3']);
    expect(await host().must('logs', id)).toBe('ready\nterm\n');
    await host().must('rm', id);
  });

  test('stop kills what does not end in time', async () => {
    const id = await host().background([], 'trap "" TERM; echo ready; while :; do sleep 0.05; done');
    await ready(id);
    await host().must('stop', '--time=1', id);
    expect(await exitCode(id)).toBe('137');
    await host().must('rm', id);
  });

  test('kill sends any signal', async () => {
    const id = await host().background([], PATIENT);
    await ready(id);
    await host().must('kill', '--signal=USR1', id);
    await waitFor('the signal', async () => (await host().must('logs', id)).includes('usr1'));
    expect(await status(id)).toBe('running');
    await host().must('kill', id);
    await ended(id);
    expect(await exitCode(id)).toBe('137');
    await host().must('rm', id);
  });

  test('pause freezes it, unpause lets it go on', async () => {
    const id = await host().background([], 'while :; do echo x >> /tmp/count; sleep 0.02; done');
    await host().shell(id, 'until [ -s /tmp/count ]; do :; done');
    await host().must('pause', id);
    expect(await status(id)).toBe('paused');
    expect((await host().docker('exec', id, 'true')).stderr).toMatch(/is paused, unpause the container before exec/);
    await host().must('unpause', id);
    expect(await status(id)).toBe('running');
    await host().shell(id, 'n=$(wc -l < /tmp/count); until [ $(wc -l < /tmp/count) -gt $n ]; do :; done');
    await host().must('rm', '--force', id);
  });

  test('restart ends it and starts it again, as another process', async () => {
    const id = await host().background();
    const first = await host().inspect(id, '.State.Pid');
    await host().must('restart', '--time=0', id);
    expect(await host().inspect(id, '.State.Pid')).not.toBe(first);
    expect(await host().shell(id, 'echo alive')).toBe('alive\n');
    await host().must('rm', '--force', id);
  });

  test('created, then started; started again after its end', async () => {
    const id = (await host().must('create', `--runtime=${dockerRuntime}`, 'busybox', 'sh', '-c', 'echo run')).trim();
    expect(await status(id)).toBe('created');
    await host().must('start', '--attach', id);
    await host().must('start', '--attach', id);
    expect(await host().must('logs', id)).toBe('run\nrun\n');
    await host().must('rm', id);
  });

  test('--restart=on-failure starts it again until it has failed often enough', async () => {
    const id = await host().background(['--restart=on-failure:2'], 'echo try; exit 1');
    const count = (): Promise<string> => host().inspect(id, '.RestartCount');
    await waitFor('two restarts', async () => (await count()) === '2' && (await status(id)) === 'exited');
    expect(await host().must('logs', id)).toBe('try\ntry\ntry\n');
    await host().must('rm', id);
  });

  test('a health check is run in it and its outcome shown', async () => {
    const flags = ['--health-cmd=test -e /tmp/healthy', '--health-interval=100ms', '--health-retries=1'];
    const id = await host().background(flags);
    const health = (wanted: string): Promise<boolean> =>
      waitFor(wanted, async () => (await host().inspect(id, '.State.Health.Status')) === wanted);
    await health('unhealthy');
    await host().shell(id, 'touch /tmp/healthy');
    await health('healthy');
    await host().must('rm', '--force', id);
  });

  test('events come in order', async () => {
    const since = Math.floor(Date.now() / 1000) - 1;
    const id = await host().background([], 'trap "exit 0" TERM; echo ready; while :; do sleep 0.05; done');
    await ready(id);
    await host().must('pause', id);
    await host().must('unpause', id);
    await host().must('exec', id, 'true');
    await host().must('stop', id);
    await host().must('rm', id);
    const flags = [
      `--since=${since}`,
      `--until=${Math.ceil(Date.now() / 1000) + 1}`,
      `--filter=container=${id}`,
      '--format={{.Status}}',
    ];
    const seen = (await host().must('events', ...flags))
      .trim()
      .split('\n')
      .map((line) => line.split(':')[0]);
    expect(seen).toEqual([
      ...['create', 'start', 'pause', 'unpause', 'exec_create', 'exec_start', 'exec_die'],
      ...['kill', 'die', 'stop', 'destroy'],
    ]);
  });
});
