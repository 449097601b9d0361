/** Mounts that a kubelet wants read-only with all that is mounted below them (`recursiveReadOnly: Enabled`). */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from '../harness';
import { criSuite } from '../harness/cri/suite';

// The releases before ask only runc's shim what it can do, and refuse such mounts to all others.
criSuite('recursively read-only mounts', { needs: 2.2 }, (kubelet) => {
  const tree = (): string => join(kubelet().containerd.directory, 'tree');
  beforeAll(async () => {
    mkdirSync(join(tree(), 'inner'), { recursive: true });
    await mustRun(['mount', '-t', 'tmpfs', 'inner', join(tree(), 'inner')]);
  });
  afterAll(() => mustRun(['umount', join(tree(), 'inner')]));

  test('neither the mount nor what is mounted in it can be written to', async () => {
    const plain = { containerPath: '/plain', hostPath: tree(), readonly: true };
    const whole = { ...plain, containerPath: '/whole', recursiveReadOnly: true };
    await kubelet().withPod({}, async (pod) => {
      const id = await pod.run(['sleep', '1000'], { mounts: [plain, whole] });
      const write = (path: string): string => `(touch ${path}) 2>&1 | grep -o Read-only || echo written`;
      expect(await pod.sh(id, `${write('/plain/f')}; ${write('/plain/inner/f')}`)).toBe('Read-only\nwritten');
      expect(await pod.sh(id, `${write('/whole/f')}; ${write('/whole/inner/f')}`)).toBe('Read-only\nRead-only');
    });
  });
});
