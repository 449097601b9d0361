/**
 * With a user namespace the finished root filesystem is locked: its mounts are those of the plan, and root of the container, with
 * every right that it can have there, changes none of them.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Containerd, containerdSuite, siltTest, taskPid } from '../harness';

interface SpecMounts {
  readonly mounts: readonly { readonly destination: string }[];
  readonly linux: { readonly maskedPaths?: readonly string[]; readonly readonlyPaths?: readonly string[] };
}

/** The mount points of a process, with its mount options, as the process sees them. */
function mountsOf(pid: number): Map<string, string> {
  const lines = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').trim().split('\n');
  return new Map(lines.map((line) => [line.split(' ')[4]!, line.split(' ')[5]!]));
}

function specOf(host: Containerd, id: string): SpecMounts {
  const bundle = join(host.paths.state, 'io.containerd.runtime.v2.task', host.namespace, id);
  return JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as SpecMounts;
}

/** What root of the container tries, and what the kernel answers when a mount is locked (mount_namespaces(7)). */
const attacks: readonly (readonly [what: string, command: string])[] = [
  ['make /sys writable', 'mount -o remount,bind,rw /sys'],
  ['make /proc/sys writable', 'mount -o remount,bind,rw /proc/sys'],
  ['allow devices on the root', 'mount -o remount,bind,dev /'],
  ['take the mask off /sys/firmware', 'umount /sys/firmware'],
  ['uncover /proc/sys', 'umount -l /proc/sys'],
  ['uncover /proc', 'umount -l /proc'],
  ['allow devices on a copy of the root', 'mkdir -p /copy && mount --bind / /copy && mount -o remount,bind,dev /copy'],
  ['make a copy of /sys writable', 'mkdir -p /copy2 && mount --rbind /sys /copy2 && mount -o remount,bind,rw /copy2'],
  ['take the mask off in a namespace of its own', 'unshare -m umount /sys/firmware'],
  ['make a device node', 'mknod /disk b 254 0'],
  ['make a device node in /dev', 'mknod /dev/disk b 254 0'],
];

containerdSuite('the lock on a root filesystem', { userns: 'auto' }, (host) => {
  siltTest('holds the mounts of the plan and no other', async () => {
    const id = await host().startContainer();
    const spec = specOf(host(), id);
    const found = [...mountsOf(await taskPid(host(), id)).keys()];
    const planned = [
      '/',
      ...spec.mounts.map(({ destination }) => destination),
      ...(spec.linux.maskedPaths ?? []),
      ...(spec.linux.readonlyPaths ?? []),
    ];
    expect(found.filter((mount) => !planned.includes(mount))).toEqual([]);
    expect(spec.mounts.map(({ destination }) => destination).filter((path) => !found.includes(path))).toEqual([]);
    await host().remove(id);
  });

  for (const [what, command] of attacks) {
    siltTest(`root of the container cannot ${what}`, async () => {
      const flags = ['--cap-add', 'CAP_SYS_ADMIN', '--cap-add', 'CAP_MKNOD'];
      const id = await host().startContainer(['sleep', '1000'], { flags });
      const before = mountsOf(await taskPid(host(), id));
      const result = await host().exec(id, ['sh', '-c', command]);
      expect(result.stderr).toMatch(/denied|not permitted|Invalid argument|Operation not permitted/i);
      expect(result.code).not.toBe(0);
      const after = mountsOf(await taskPid(host(), id));
      for (const [path, options] of before) expect([path, after.get(path)]).toEqual([path, options]);
      await host().remove(id);
    });
  }
});
