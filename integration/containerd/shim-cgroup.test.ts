/** `ShimCgroup` of the options of containerd's runc shim: of silt, whose shims are many pods', the sandbox is in it. */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packAny, RuncOptions } from '../../proto';
import { type Containerd, containerdSuite, isAlive, sandboxPid, siltTest, waitFor } from '../harness';
import { ShimClient } from '../harness/shim-client';

const INVALID = 3;

function makeBundle(host: Containerd, id: string): string {
  const bundle = mkdtempSync(join(host.directory, 'bundle-'));
  mkdirSync(join(bundle, 'rootfs/bin'), { recursive: true });
  copyFileSync('/bin/busybox', join(bundle, 'rootfs/bin/busybox'));
  const spec = {
    ociVersion: '1.1.0',
    process: { cwd: '/', args: ['/bin/busybox', 'sleep', '1000'], user: { uid: 0, gid: 0 } },
    root: { path: 'rootfs' },
    linux: {
      cgroupsPath: `/${host.mark}/${id}`,
      namespaces: ['mount', 'pid', 'ipc', 'uts', 'network'].map((type) => ({ type })),
    },
  };
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
  return bundle;
}

containerdSuite('a cgroup for shims', { onlyPeer: 'system' }, (host) => {
  siltTest('has the sandbox of each pod, and nothing once that has ended', async () => {
    const path = `/${host().mark}/shims`;
    const roots = ['/sys/fs/cgroup/pids', '/sys/fs/cgroup/memory', '/sys/fs/cgroup'].filter((root) =>
      existsSync(join(root, 'cgroup.procs')),
    );
    const made = roots.map((root) => join(root, path));
    for (const directory of made) mkdirSync(directory, { recursive: true });
    const id = host().newId();
    const bundle = makeBundle(host(), id);
    const shim = await ShimClient.start(host(), id, 'ttrpc', bundle);
    const create = (shimCgroup: string): Promise<unknown> =>
      shim.task('Create', { id, bundle, options: packAny(RuncOptions, { shimCgroup }) });

    await expect(create(`${path}/nowhere`)).rejects.toMatchObject({
      status: INVALID,
      message: expect.stringContaining(`ShimCgroup ${path}/nowhere: no hierarchy has such a cgroup`) as string,
    });
    await create(path);
    const sandbox = sandboxPid(host(), id);
    for (const directory of made) expect(readFileSync(join(directory, 'cgroup.procs'), 'utf8')).toBe(`${sandbox}\n`);
    // The container is where its spec says, and not there.
    const { pid } = await shim.task('Start', { id });
    expect(readFileSync(`/proc/${pid}/cgroup`, 'utf8')).not.toContain(path);
    await shim.task('Kill', { id, signal: 9 });
    await shim.task('Wait', { id });
    await shim.task('Delete', { id });
    await waitFor('the end of the pod', () => !isAlive(sandbox));
    for (const directory of made) rmdirSync(directory);
    await shim.task('Shutdown', { id });
    await shim.close();
    await waitFor('the shim’s socket to be gone', () => !existsSync(shim.path));
  });
});
