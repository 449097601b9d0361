/** A pod that containerd runs is saved as a whole by the command line. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { criSuite } from '../harness/cri/suite';
import { findCriu } from '../harness/criu';
import { isSilt, runCommand, siltProgram, testIf, waitFor } from '../harness';
import type { CommandResult } from '../harness/command';

const criu = findCriu();
const criuTest = testIf(isSilt && 'path' in criu, 'path' in criu ? 'is about silt' : criu.reason);
const counter = ['sh', '-c', 'i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.02; done'];

criSuite('checkpoints of pods', 'path' in criu ? { criu: criu.path } : {}, (kubelet) => {
  criuTest('all of its containers at one moment, and they run on, or end', async () => {
    await kubelet().withPod({}, async (pod) => {
      const { containerd } = kubelet();
      const ids = [await pod.run(counter, { name: 'web' }), await pod.run(counter, { name: 'log' })];
      const countOf = async (id: string): Promise<number> => Number(await pod.sh(id, 'cat /count'));
      const silt = (...args: string[]): Promise<CommandResult> =>
        runCommand([siltProgram, '--root', join(containerd.siltRoot, containerd.namespace), ...args], {
          env: containerd.environment,
        });
      for (const id of ids) await waitFor(`${id} to count`, async () => (await countOf(id)) > 3);

      const image = join(containerd.directory, 'saved');
      const { code, stderr } = await silt('checkpoint', '--leave-running', '--image-path', image, pod.id);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      const { containers } = JSON.parse(readFileSync(join(image, 'pod.json'), 'utf8')) as {
        containers: { name: string; first: boolean; directory: string }[];
      };
      expect(containers.filter(({ first }) => first).map(({ directory }) => directory)).toEqual([pod.id]);
      const named = containers.filter(({ first }) => !first).map(({ name, directory }) => [name, directory]);
      expect(Object.fromEntries(named)).toEqual({ web: ids[0], log: ids[1] });
      for (const id of ids) {
        const at = await countOf(id);
        await waitFor(`${id} to go on`, async () => (await countOf(id)) > at + 3);
      }

      const last = await silt('checkpoint', '--image-path', join(containerd.directory, 'last'), pod.id);
      expect(last.stderr).toBe('');
      for (const id of ids) {
        await waitFor('its end', async () => (await pod.status(id)).state === 'CONTAINER_EXITED');
        expect(await pod.status(id)).toMatchObject({ exitCode: 137 });
      }
    });
  });
});
