/** stdin, stdout and stderr through containerd's fifos: every byte, in order, and nobody waits for a reader that is gone. */
import { createHash, randomBytes } from 'node:crypto';
import { containerdSuite, deleteTask, siltTest, taskStatus, waitFor } from '../harness';

const mebibyte = 1024 * 1024;

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Makes 64 MiB of noise in the container, prints it on one stream and its checksum on the other. */
function noiseScript(data: string, sum: string): string[] {
  const make = 'dd if=/dev/urandom of=/tmp/noise bs=1M count=64 2>/dev/null';
  return ['sh', '-c', `${make}; sha256sum < /tmp/noise ${sum}; cat /tmp/noise ${data}`];
}

containerdSuite('streams', {}, (host) => {
  test('64 MiB of stdout arrive as written', async () => {
    const result = await host().run(noiseScript('', '>&2'));
    expect(result.code).toBe(0);
    expect(result.stdout.length).toBe(64 * mebibyte);
    expect(result.stderr).toBe(`${sha256(result.stdout)}  -\n`);
  });

  test('64 MiB of stderr arrive as written', async () => {
    // One digit a byte, so that what is compared survives as text.
    const script = 'yes 0123456789abcde | head -c 67108864 > /tmp/text; sha256sum < /tmp/text; cat /tmp/text >&2';
    const result = await host().run(['sh', '-c', script]);
    expect(result.stderr.length).toBe(64 * mebibyte);
    expect(result.stdout.toString()).toBe(`${sha256(Buffer.from(result.stderr))}  -\n`);
  });

  test('64 MiB go in by stdin and come out by stdout', async () => {
    const input = randomBytes(64 * mebibyte);
    const result = await host().run(['cat'], { stdin: input });
    expect(result.code).toBe(0);
    expect(sha256(result.stdout)).toBe(sha256(input));
  });

  test('64 MiB of the output of an exec arrive as written', async () => {
    const id = await host().startContainer();
    const result = await host().exec(id, noiseScript('', '>&2'));
    expect(result.stderr).toBe(`${sha256(result.stdout)}  -\n`);
    await host().remove(id);
  });

  test('the last lines of a process that ends at once are never lost', async () => {
    const expected = Array.from({ length: 20_000 }, (_, index) => `${index + 1}\n`).join('');
    for (let round = 0; round < 10; round++) {
      const result = await host().run(['seq', '20000']);
      expect(result.stdout.toString() === expected).toBe(true);
    }
  });

  test('a client that is killed takes neither the container nor its streams with it', async () => {
    const id = host().newId();
    const echo = 'while read line; do echo "got $line"; [ "$line" = end ] && exit 5; done; echo "stdin ended"';
    const first = host().startCtr(host().runWords(id, ['sh', '-c', echo]), { keepStdinOpen: true, stdin: 'one\n' });
    await first.waitForOutput(/got one\n/);
    await first.stop('SIGKILL');
    const second = host().startCtr(['tasks', 'attach', id], { keepStdinOpen: true, stdin: 'two\nend\n' });
    await second.waitForOutput(/got two\ngot end\n/);
    expect((await second.ended).code).toBe(5);
    await host().remove(id);
  });

  siltTest('delete waits for no fifo that nobody drains', async () => {
    const id = host().newId();
    // Its output goes to fifos whose reader, ctr, ends at once; after 64 KiB the writer blocks.
    await host().mustCtr(host().runWords(id, ['sh', '-c', 'yes'], { flags: ['--detach'] }));
    await waitFor('the writer to run', async () => (await taskStatus(host(), id)) === 'RUNNING');
    const before = performance.now();
    await host().ctr(['tasks', 'kill', '--signal', 'KILL', id]);
    await waitFor('the end of the writer', async () => (await taskStatus(host(), id)) === 'STOPPED');
    expect(await deleteTask(host(), id)).toBe(137);
    expect(performance.now() - before).toBeLessThan(5000);
    await host().mustCtr(['containers', 'delete', id]);
  });
});
