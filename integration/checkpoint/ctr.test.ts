/** Going on from a checkpoint by `ctr` alone. */
import { checkpointSuite, siltTest, waitFor, type Containerd } from '../harness';

/** Has a word that it finds once, in memory only, and says it again and again. */
const sayer = [
  'sh',
  '-c',
  'read word < /proc/sys/kernel/random/uuid; while :; do echo $word > /said; sleep 0.02; done',
];

checkpointSuite('ctr containers restore --live', {}, (host) => {
  siltTest('goes on from where the checkpoint was taken', async () => {
    const id = await host().startContainer(sayer);
    const image = 'silt.test/to-be-restored:1';
    const word = await said(host(), id);
    await host().mustCtr(['containers', 'checkpoint', '--image', '--task', id, image]);
    await host().remove(id);
    const restored = host().newId('r');
    const { code, stderr } = await host().ctr(['containers', 'restore', '--live', restored, image]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    await host().exec(restored, ['rm', '/said']);
    expect(await said(host(), restored)).toBe(word);
    await host().remove(restored);
    await host().mustCtr(['images', 'rm', image]);
  });
});

/** What a container says, once it does. */
function said(host: Containerd, id: string): Promise<string> {
  return waitFor(`${id} to say its word`, async () =>
    (await host.exec(id, ['sh', '-c', 'cat /said 2> /dev/null'])).stdout.toString().trim(),
  );
}
