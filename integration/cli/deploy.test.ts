/** What `deploy/` ships: the drop-ins are read by this run's containerd, and the installer's script does its work on a node. */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { baseDirectory, checkout, findPeerProgram, mustRun, onMachinesContainerd, peerRelease } from '../harness';

const deploy = join(checkout, 'deploy');
const containerd = findPeerProgram(process.env['SILT_TEST_PEER'] ?? 'system');

(containerd === undefined ? test.skip : test)(
  'the drop-in for this version of containerd gives it the runtime',
  async () => {
    const file = peerRelease() >= 2 ? 'silt.toml' : 'silt-1.x.toml';
    const dump = (await mustRun([containerd!, '--config', join(deploy, 'containerd', file), 'config', 'dump'])).stdout;
    const table =
      /\n *\[.*containerd\.runtimes\.silt\]\n([^[]*(?:\[[^\n\]]*"[^\n\]]*\][^[]*|\[[^\n\]]*'[^\n\]]*\][^[]*)*)/.exec(
        dump.toString(),
      )?.[1];
    expect(table).toMatch(/runtime_type = ['"]io\.containerd\.silt\.v1['"]/);
    expect(table).toMatch(/pod_annotations = \[['"]dev\.gvisor\.\*['"]\]/);
  },
);

/** The mounts of a root in which the machine's programs run, but nothing of the machine is changed. */
function borrowing(root: string): string {
  for (const name of ['usr', 'proc', 'sys', 'dev', 'tmp', 'run', 'etc'])
    mkdirSync(join(root, name), { recursive: true });
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, join(root, name));
  return ['usr', 'proc', 'sys', 'dev'].map((name) => `mount --rbind /${name} ${root}/${name}`).join(' && ');
}

onMachinesContainerd(
  'the installer puts silt on a node, and restarts containerd once',
  async () => {
    const directory = mkdtempSync(join(baseDirectory(), 'silt-deploy-'));
    try {
      const [image, node] = [join(directory, 'image'), join(directory, 'node')];
      const mounts = [borrowing(image), borrowing(node)];
      for (const name of ['silt', 'host', 'fakes']) mkdirSync(join(image, name));
      for (const name of ['local', 'etc/containerd']) mkdirSync(join(node, name), { recursive: true });
      mounts.push(`mount --bind ${node}/local ${node}/usr/local`, `mount --rbind ${node} ${image}/host`);
      const env = { ...process.env, DESTDIR: join(directory, 'built') };
      await mustRun([join(checkout, 'tools', 'install'), '/usr/local'], { env });
      cpSync(join(directory, 'built/usr/local'), join(image, 'silt'), { recursive: true });
      cpSync(join(deploy, 'install-on-node'), join(image, 'install-on-node'));
      // The node's systemd, and the wait for the end of the pod.
      writeFileSync(join(image, 'fakes/nsenter'), '#!/bin/sh\necho "$@" >> /host/restarts\n');
      writeFileSync(join(image, 'fakes/sleep'), '#!/bin/sh\n');
      for (const name of ['nsenter', 'sleep']) chmodSync(join(image, 'fakes', name), 0o755);
      writeFileSync(join(node, 'etc/containerd/config.toml'), 'version = 2\n# the operator’s own\n');
      const script = `${mounts.join(' && ')} && exec chroot ${image} /install-on-node`;
      const install = async (): Promise<string> =>
        (
          await mustRun(['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script], {
            env: { PATH: '/fakes:/usr/sbin:/usr/bin:/sbin:/bin' },
          })
        ).stdout.toString();

      expect(await install()).toContain('silt is installed on this node');
      const config = readFileSync(join(node, 'etc/containerd/config.toml'), 'utf8');
      expect(config).toContain('the operator’s own');
      expect(config).toMatch(/runtimes\.silt\]\n +runtime_type = "io\.containerd\.silt\.v1"\n +pod_annotations = /);
      expect(readFileSync(join(node, 'local/lib/silt/node')).length).toBeGreaterThan(1e6);

      expect(await install()).toContain('silt is installed on this node');
      expect(readFileSync(join(node, 'etc/containerd/config.toml'), 'utf8')).toBe(config);
      expect(readFileSync(join(node, 'restarts'), 'utf8')).toBe('--target 1 --mount -- systemctl restart containerd\n');
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
  60_000,
);
