/** A running container is saved, and goes on in a new one. */
import {
  checkpointIn,
  checkpointSuite,
  restoreContainer,
  siltTest,
  takeCheckpoint,
  taskStatus,
  waitFor,
  type Containerd,
} from '../harness';

/** Counts in memory, and says so in files of the upper and of a tmpfs, one of them held open. */
const counter = [
  'sh',
  '-c',
  'echo tmpfs > /run/saved; exec 5> /log; i=0; while :; do i=$((i+1)); echo $i > /count; echo $i >&5; sleep 0.02; done',
];

async function read(host: Containerd, id: string, path: string): Promise<string> {
  return (await host.exec(id, ['cat', path])).stdout.toString().trim();
}

async function countOf(host: Containerd, id: string): Promise<number> {
  let count = 0;
  await waitFor(`${id} to count`, async () => {
    count = Number(await read(host, id, '/count'));
    return count > 0;
  });
  return count;
}

checkpointSuite('ctr containers checkpoint', {}, (host) => {
  siltTest('the image that it makes of a container holds its task, which goes on from there', async () => {
    const id = await host().startContainer(counter);
    await countOf(host(), id);
    const image = 'silt.test/of-a-container:1';
    await host().mustCtr(['containers', 'checkpoint', '--image', '--rw', '--task', id, image]);
    const at = await countOf(host(), id);
    await waitFor('it to go on', async () => (await countOf(host(), id)) > at + 5);
    await host().remove(id);
    const restored = await restoreContainer(host(), await checkpointIn(host(), image));
    await waitFor('it to go on', async () => (await countOf(host(), restored)) > at);
    await host().remove(restored);
    await host().mustCtr(['images', 'rm', image]);
  });
});

for (const userns of ['none', 'auto'] as const) {
  checkpointSuite(`restore, userns = "${userns}"`, { userns }, (host) => {
    siltTest('a shell goes on where it was, with its files', async () => {
      const id = await host().startContainer(counter);
      await countOf(host(), id);
      const checkpoint = await takeCheckpoint(host(), id);
      const at = await countOf(host(), id);
      expect(await taskStatus(host(), id)).toBe('RUNNING');
      await waitFor('it to go on', async () => (await countOf(host(), id)) > at + 5);
      await host().remove(id);
      const restored = await restoreContainer(host(), checkpoint);
      const first = await countOf(host(), restored);
      await waitFor('it to go on', async () => (await countOf(host(), restored)) > first + 5);
      expect(await read(host(), restored, '/run/saved')).toBe('tmpfs');
      const log = (await read(host(), restored, '/log')).split('\n').map(Number);
      expect(log).toEqual(log.map((_, i) => i + 1));
      await host().remove(restored);
    });
  });
}
