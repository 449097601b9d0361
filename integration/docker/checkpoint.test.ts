/** `docker checkpoint` and `docker start --checkpoint`, with the machine's dockerd and its containerd. */
import { isSilt, testIf, waitFor } from '../harness';
import { findCriu } from '../harness/criu';
import { dockerSuite } from '../harness/docker';

const criu = findCriu();
const criuTest = testIf(isSilt && 'path' in criu, 'path' in criu ? 'is about silt' : criu.reason);

dockerSuite('docker checkpoint', 'path' in criu ? { criu: criu.path } : {}, (host) => {
  /** Counts in memory, on its stdout and in a file. */
  const COUNTING = 'i=0; while :; do i=$((i+1)); echo $i; echo $i > /count; sleep 0.02; done';
  const flags = ['--network=none'];
  const countOf = async (id: string): Promise<number> => Number(await host().shell(id, 'cat /count'));
  const counts = (id: string, beyond: number): Promise<boolean> =>
    waitFor(`it to count beyond ${beyond}`, async () => (await countOf(id)) > beyond);
  const checkpoints = async (id: string): Promise<string[]> =>
    (await host().must('checkpoint', 'ls', id)).trim().split('\n').slice(1).sort();

  /** dockerd refuses a checkpoint whose content containerd still has from when it was made, until that is collected. */
  const start = (id: string, checkpoint: string): Promise<boolean> =>
    waitFor(`docker to start it from ${checkpoint}`, async () => {
      const { code, stderr } = await host().docker('start', '--checkpoint', checkpoint, id);
      if (code !== 0 && !/content sha256:\w+: already exists/.test(stderr)) throw new Error(stderr);
      return code === 0;
    });

  criuTest('a container is saved while it runs on, and again at its end, and goes on from either', async () => {
    const id = await host().background(flags, COUNTING);
    await waitFor('it to count', async () => (await host().must('logs', id)).includes('5'));
    await host().must('checkpoint', 'create', '--leave-running', id, 'first');
    const first = await countOf(id);
    await counts(id, first + 20);
    await host().must('checkpoint', 'create', id, 'second');
    await waitFor('its end', async () => (await host().inspect(id, '.State.Status')) === 'exited');
    expect(await checkpoints(id)).toEqual(['first', 'second']);
    await start(id, 'second');
    const restored = await countOf(id);
    expect(restored).toBeGreaterThan(first + 15);
    await counts(id, restored + 5);
    const log = (await host().must('logs', id)).trim().split('\n').map(Number);
    expect(log.at(-1)).toBeGreaterThan(restored);
    await host().must('kill', id);
    await start(id, 'first');
    // It was saved before `first` was read, and has run since.
    expect(await countOf(id)).toBeLessThan(restored);
    await counts(id, first + 5);
    await host().must('kill', id);
    expect(await host().inspect(id, '.State.ExitCode')).toBe('137');
    await host().must('checkpoint', 'rm', id, 'first');
    expect(await checkpoints(id)).toEqual(['second']);
    await host().must('rm', id);
  });

  criuTest('with a terminal', async () => {
    const id = await host().background([...flags, '--tty'], COUNTING);
    await counts(id, 3);
    await host().must('checkpoint', 'create', id, 'terminal');
    await start(id, 'terminal');
    await counts(id, (await countOf(id)) + 3);
    expect(await host().shell(id, 'tty < /proc/1/fd/1')).toBe('/dev/pts/0\n');
    await host().must('rm', '--force', id);
  });

  criuTest('what cannot be saved is told by docker, and the container runs on', async () => {
    const id = await host().background(flags, COUNTING);
    await counts(id, 1);
    await host().must('exec', '--detach', id, 'sleep', '1000');
    const { code, stderr } = await host().docker('checkpoint', 'create', id, 'refused');
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining('brought into the container by exec') as string,
    });
    await counts(id, await countOf(id));
    expect(await checkpoints(id)).toEqual([]);
    await host().must('rm', '--force', id);
  });
});
