/** `ctr tasks exec`: further processes in a running container. */
import { createHash, randomBytes } from 'node:crypto';
import { containerdSuite, untilRead, taskPid, taskStatus, waitFor } from '../harness';

containerdSuite('ctr tasks exec', {}, (host) => {
  let id = '';
  beforeAll(async () => {
    id = await host().startContainer(['sh', '-c', 'echo from init > /tmp/file; exec sleep 1000']);
  });
  afterAll(async () => {
    await host().remove(id);
  });

  test('passes exit status and both streams on', async () => {
    const result = await host().exec(id, ['sh', '-c', 'echo out; echo err >&2; exit 17']);
    expect(result).toMatchObject({ code: 17, stderr: 'err\n' });
    expect(result.stdout.toString()).toBe('out\n');
  });

  test('is inside of the container: its files, processes and host name', async () => {
    const result = await host().exec(id, ['sh', '-c', 'cat /tmp/file; ps -o pid,args | grep "[s]leep 1000"; hostname']);
    const inside = (await host().exec(id, ['hostname'])).stdout.toString();
    expect(result.stdout.toString()).toBe(`from init\n    1 sleep 1000\n${inside}`);
  });

  test('takes input to its end', async () => {
    const input = randomBytes(1_000_003);
    const result = await host().exec(id, ['sha256sum'], { stdin: input });
    expect(result.stdout.toString()).toBe(`${createHash('sha256').update(input).digest('hex')}  -\n`);
  });

  test('starts in the directory and as the user that is asked for', async () => {
    const flags = ['--cwd', '/home/guest', '--user', '1000'];
    expect((await host().exec(id, ['sh', '-c', 'pwd; id -u'], { flags })).stdout.toString()).toBe(
      '/home/guest\n1000\n',
    );
  });

  test('runs many at once, each with its own streams', async () => {
    const runs = Array.from({ length: 12 }, (_, index) =>
      host().exec(id, ['sh', '-c', `echo ${index}; ${untilRead}; exit ${index}`]),
    );
    const results = await Promise.all(runs);
    expect(results.map(({ code, stdout }) => [code, stdout.toString()])).toEqual(
      results.map((_, index) => [index, `${index}\n`]),
    );
  });

  test('refuses an id that is in use', async () => {
    const words = ['tasks', 'exec', '--exec-id', 'taken'];
    await host().mustCtr([...words, '--detach', id, 'sleep', '100']);
    const second = await host().ctr([...words, id, 'true']);
    expect(second.code).toBe(1);
    expect(second.stderr).toMatch(/already exists|exists already/);
    await host().mustCtr(['tasks', 'kill', '--exec-id', 'taken', '--signal', 'KILL', id]);
  });

  test('reports 128 + N for one that a signal ended', async () => {
    for (const [signal, number] of [
      ['TERM', 15],
      ['KILL', 9],
      ['USR1', 10],
    ] as const) {
      const command = host().startCtr([
        'tasks',
        'exec',
        '--exec-id',
        `signal-${signal}`,
        id,
        'sh',
        '-c',
        'echo up; exec sleep 100',
      ]);
      await command.waitForOutput(/up\n/);
      await host().mustCtr(['tasks', 'kill', '--exec-id', `signal-${signal}`, '--signal', signal, id]);
      expect((await command.ended).code).toBe(128 + number);
    }
  });

  test('ends with the container', async () => {
    const other = await host().startContainer();
    const command = host().startCtr(host().execWords(other, ['sh', '-c', 'echo up; exec sleep 100']));
    await command.waitForOutput(/up\n/);
    await host().mustCtr(['tasks', 'kill', '--signal', 'KILL', other]);
    expect((await command.ended).code).toBe(137);
    await host().remove(other);
  });

  test('is refused in a container that has exited', async () => {
    const other = await host().startContainer(['true']);
    await waitFor('the end of the container', async () => (await taskStatus(host(), other)) === 'STOPPED');
    const result = await host().exec(other, ['true']);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/^ctr: .*(stopped|not running|no running|exited|finished)/);
    expect(await taskStatus(host(), other)).toBe('STOPPED');
    await host().remove(other);
  });

  test('joins every cgroup of the container', async () => {
    const lines = (text: string): string[] => text.split('\n').map((line) => line.split(':').slice(1).join(':'));
    const own = lines((await host().exec(id, ['cat', '/proc/self/cgroup'])).stdout.toString());
    const init = lines((await host().exec(id, ['cat', '/proc/1/cgroup'])).stdout.toString());
    expect(own).toEqual(init);
    expect(await taskPid(host(), id)).toBeGreaterThan(1);
  });
});
