/** What this host has of things that silt refuses, in words for a refusal. */
import { readFileSync } from 'node:fs';

/** @param root where /proc and /sys are */
export function resctrlOfHost(root = ''): string {
  const filesystems = readFileSync(`${root}/proc/filesystems`, 'latin1');
  if (!/\tresctrl$/m.test(filesystems))
    return 'this host has none either: /proc/filesystems does not list resctrl, which takes a processor and a kernel with it; leave it out';
  const mounted = /^\S+ (\S+) resctrl /m.exec(readFileSync(`${root}/proc/self/mounts`, 'latin1'))?.[1];
  const where = mounted === undefined ? 'not mounted; mount it on /sys/fs/resctrl' : `mounted on ${mounted}`;
  return `this host has it, ${where}: a createRuntime hook, which is given the container’s pid, can write that into a group’s tasks`;
}
