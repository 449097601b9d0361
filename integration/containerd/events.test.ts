/** containerd's events: which, in which order, with what in them. */
import { containerdSuite, EventWatch, taskPid } from '../harness';

/** Milliseconds since 1970 of a time in an event: text up to containerd 1.6, an object of seconds and nanos since. */
function timeOf(value: unknown): number {
  if (typeof value === 'string') return Date.parse(value);
  return ((value as { seconds?: number } | undefined)?.seconds ?? NaN) * 1000;
}

containerdSuite('events', {}, (host) => {
  let watch: EventWatch;
  beforeAll(async () => {
    watch = await EventWatch.start(host());
  });
  afterAll(async () => {
    await watch.stop();
  });
  const topics = (id: string): string[] => watch.of(id).map(({ topic }) => topic.replace('/tasks/', ''));

  test('create, start, exit, delete, also for a process that ends at once', async () => {
    for (let round = 0; round < 10; round++) {
      const id = host().newId();
      await host().mustCtr(host().runWords(id, ['true'], { flags: ['--rm'] }));
      await watch.waitForTopic(id, '/tasks/delete');
      expect(topics(id)).toEqual(['create', 'start', 'exit', 'delete']);
    }
  });

  test('create and start carry the pid, exit and delete the status', async () => {
    const id = await host().startContainer(['sleep', '1000']);
    const pid = await taskPid(host(), id);
    await host().ctr(['tasks', 'delete', '--force', id]);
    await watch.waitForTopic(id, '/tasks/delete');
    const [create, start, exit, deleted] = watch.of(id).map(({ body }) => body);
    expect(create).toMatchObject({ container_id: id, pid, bundle: host().bundle(id) });
    expect(start).toMatchObject({ container_id: id, pid });
    expect(exit).toMatchObject({ container_id: id, id, pid, exit_status: 137 });
    expect(deleted).toMatchObject({ container_id: id, pid, exit_status: 137 });
    for (const body of [exit, deleted]) {
      const at = timeOf(body?.['exited_at']);
      expect(Math.abs(Date.now() - at)).toBeLessThan(60_000);
    }
    await host().mustCtr(['containers', 'delete', id]);
  });

  test('an exec is added, started and exits, before the container does', async () => {
    const id = await host().startContainer();
    await host().mustCtr(['tasks', 'exec', '--exec-id', 'one', id, 'true']);
    await host().mustCtr(['tasks', 'exec', '--exec-id', 'two', '--detach', id, 'sleep', '1000']);
    await host().ctr(['tasks', 'delete', '--force', id]);
    await watch.waitForTopic(id, '/tasks/delete');
    const steps = watch.of(id).map(({ topic, body }) => {
      const name = [body['exec_id'], body['id']].find((value) => typeof value === 'string');
      return `${topic.replace('/tasks/', '')} ${name ?? ''}`;
    });
    const execSteps = steps.filter((step) => step.endsWith(' one') || step.endsWith(' two'));
    expect(execSteps.slice(0, 5)).toEqual([
      'exec-added one',
      'exec-started one',
      'exit one',
      'exec-added two',
      'exec-started two',
    ]);
    expect(steps.indexOf('exit two')).toBeGreaterThan(0);
    expect(steps.indexOf('exit two')).toBeLessThan(steps.indexOf(`exit ${id}`));
    await host().mustCtr(['containers', 'delete', id]);
  });

  test('pause and resume are told', async () => {
    const id = await host().startContainer();
    await host().mustCtr(['tasks', 'pause', id]);
    await host().mustCtr(['tasks', 'resume', id]);
    await watch.waitForTopic(id, '/tasks/resumed');
    expect(topics(id)).toEqual(['create', 'start', 'paused', 'resumed']);
    await host().remove(id);
  });

  test('a container that runs out of memory is told before its exit', async () => {
    const id = host().newId();
    const flags = ['--rm', '--memory-limit', String(16 * 1024 * 1024)];
    await host().ctr(
      host().runWords(id, ['sh', '-c', 'head -c 300000000 /dev/zero | tail -n 1; sleep 0.5'], { flags }),
    );
    await watch.waitForTopic(id, '/tasks/oom');
  });
});
