/** A pod that containerd runs is saved as a whole by the command line, and one container of it by CRI. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startRegistry } from '../harness/cri/registry';
import { criSuite } from '../harness/cri/suite';
import { findCriu } from '../harness/criu';
import { type Containerd, imageName, isSilt, mustRun, runCommand, siltProgram, testIf, waitFor } from '../harness';
import type { TestPod } from '../harness/cri/kubelet';
import type { CommandResult } from '../harness/command';
import { readPodManifest } from '../../sandbox/checkpoint-image/pod';

const criu = findCriu();
const criuTest = testIf(isSilt && 'path' in criu, 'path' in criu ? 'is about silt' : criu.reason);
const counter = ['sh', '-c', 'i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.02; done'];

criSuite('checkpoints of pods', 'path' in criu ? { criu: criu.path } : {}, (kubelet) => {
  const silt = (...args: string[]): Promise<CommandResult> => {
    const { siltRoot, namespace, environment } = kubelet().containerd;
    return runCommand([siltProgram, '--root', join(siltRoot, namespace), ...args], { env: environment });
  };

  criuTest('all of its containers at one moment, and they run on, or end', async () => {
    await kubelet().withPod({}, async (pod) => {
      const { containerd } = kubelet();
      const ids = [await pod.run(counter, { name: 'web' }), await pod.run(counter, { name: 'log' })];
      const countOf = (id: string): Promise<number> => countIn(pod, id);
      for (const id of ids) await waitFor(`${id} to count`, async () => (await countOf(id)) > 3);

      const image = join(containerd.directory, 'saved');
      const { code, stderr } = await silt('checkpoint', '--leave-running', '--image-path', image, pod.id);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      const { containers } = readPodManifest(image);
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

  const restorePath = 'dev.gvisor.internal.restore.path';

  criuTest('a new pod goes on from it by an annotation: each container by its name, once', async () => {
    const image = join(kubelet().containerd.directory, 'checkpoints/pod');
    await kubelet().withPod({}, async (pod) => {
      const ids = [await pod.run(counter, { name: 'web' }), await pod.run(counter, { name: 'log' })];
      for (const id of ids) await waitFor('it to count', async () => (await countIn(pod, id)) > 50);
      const { stderr } = await silt('checkpoint', '--image-path', image, pod.id);
      expect(stderr).toBe('');
    });
    const annotations = { [restorePath]: image, 'dev.gvisor.container-name-remap.1': 'log=journal' };
    await kubelet().withPod({ annotations }, async (pod) => {
      const first = async (name: string, attempt = 0): Promise<number> => {
        const id = await pod.run(counter, { name, attempt });
        const count = await waitFor(`${name} to count`, () => countIn(pod, id));
        await waitFor(`${name} to go on`, async () => (await countIn(pod, id)) > count);
        if (name === 'web') await pod.stopContainer(id);
        return count;
      };
      expect(await first('init')).toBeLessThan(50);
      expect(await first('web')).toBeGreaterThanOrEqual(50);
      expect(await first('journal')).toBeGreaterThanOrEqual(50);
      // As a kubelet starts it again.
      expect(await first('web', 1)).toBeLessThan(50);
    });
  });

  criuTest('two of its containers ask for one at once: each is answered, and the shim serves on', async () => {
    const own = (name: string): string => `dev.gvisor.internal.checkpoint.${name}`;
    const { directory } = kubelet().containerd;
    const image = join(directory, 'checkpoints/asked-twice');
    await kubelet().withPod({ annotations: { [own('path')]: image, [own('resume')]: 'true' } }, async (pod) => {
      const shared = join(directory, 'asked-twice');
      mkdirSync(shared);
      const at = (name: string, file: string): string => join(shared, `${name}.${file}`);
      const names = ['web', 'log'];
      const ids: string[] = [];
      for (const name of names) {
        // From outside: with an exec in it a container cannot be saved.
        await mustRun(['mkfifo', at(name, 'go')]);
        const script = `exec 3<> /dev/gvisor/checkpoint; echo > /shared/${name}.waits; read -r go < /shared/${name}.go
          echo 1 >&3; cat <&3 > /shared/${name}.outcome; echo > /shared/${name}.heard; while :; do sleep 1; done`;
        const mounts = [{ hostPath: shared, containerPath: '/shared' }];
        ids.push(await pod.run(['sh', '-c', script], { name, mounts, annotations: { [own('enable')]: 'true' } }));
      }
      for (const name of names) await waitFor('it to wait', () => Promise.resolve(existsSync(at(name, 'waits'))));
      for (const name of names) writeFileSync(at(name, 'go'), '\n');
      const outcomes: string[] = [];
      for (const name of names) {
        await waitFor('its answer', () => Promise.resolve(existsSync(at(name, 'heard'))));
        outcomes.push(...readFileSync(at(name, 'outcome'), 'utf8').trim().split('\n'));
      }
      // One that asked when the checkpoint of the other was there already is told that its own could not be taken.
      expect(outcomes.every((outcome) => ['resume', 'error'].includes(outcome))).toBe(true);
      expect(outcomes).toContain('resume');
      expect(existsSync(join(image, 'pod.json'))).toBe(true);
      for (const id of ids) expect(await pod.sh(id, 'echo here')).toBe('here');
    });
  });

  criuTest('from nowhere else than where the operator allows it', async () => {
    await kubelet().withPod({ annotations: { [restorePath]: '/elsewhere/pod' } }, async (pod) => {
      await expect(pod.run(counter)).rejects.toThrow(
        /below none of the directories that checkpoint-directories allows/,
      );
    });
  });
});

criSuite('CheckpointContainer', { needs: 2, ...('path' in criu ? { criu: criu.path } : {}) }, (kubelet) => {
  criuTest('saves a container, which runs on, and a new one in another pod is created from the archive', async () => {
    const { containerd, client } = kubelet();
    const registry = await startRegistry(containerd);
    const archive = join(containerd.directory, 'checkpoint.tar');
    try {
      // At the restore containerd pulls the image that the container had, by its digest.
      const image = `${registry.address}/${imageName}`.replace(/:1$/, `@${await digestOf(containerd)}`);
      await containerd.mustCtr(['images', 'tag', imageName, image]);
      await kubelet().withPod({ name: 'before' }, async (pod) => {
        const id = await pod.run(counter, { name: 'counter' });
        const goesOn = (beyond: number): Promise<unknown> =>
          waitFor('it to count', async () => (await countIn(pod, id)) > beyond);
        await goesOn(3);
        await client.call('CheckpointContainer', { containerId: id, location: archive });
        await goesOn((await countIn(pod, id)) + 3);
        expect((await pod.status(id)).state).toBe('CONTAINER_RUNNING');
      });
      const listing = await mustRun(['tar', '-tf', archive]);
      expect(listing.stdout.toString().split('\n')).toEqual(
        expect.arrayContaining(['checkpoint/pstree.img', 'checkpoint/checkpoint.json', 'dump.log', 'stats-dump']),
      );
      await kubelet().withPod({ name: 'after' }, async (pod) => {
        const id = await pod.run(counter, { name: 'counter', image: archive });
        const first = await countIn(pod, id);
        expect(first).toBeGreaterThan(3);
        // It has this pod's network now.
        expect(await pod.sh(id, 'ip -4 addr show dev eth0')).toContain(`${(await pod.podStatus()).ip}/`);
        await waitFor('it to count', async () => (await countIn(pod, id)) > first + 3);
      });
    } finally {
      registry.close();
    }
  });
});

async function countIn(pod: TestPod, id: string): Promise<number> {
  return Number(await pod.sh(id, 'cat /count 2> /dev/null || true'));
}

async function digestOf(containerd: Containerd): Promise<string> {
  const listing = (await containerd.mustCtr(['images', 'ls', `name==${imageName}`])).stdout.toString();
  return /sha256:\w+/.exec(listing)![0];
}
