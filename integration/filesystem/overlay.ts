/** What the tests of overlay modes share: where the engine keeps a container's upper, snapshots, a seed with everything in it. */
import { mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  mustRun,
  plainNames,
  readTar,
  runCommand,
  siltProgram,
  type CommandLine,
  type Containerd,
  type TarEntry,
} from '../harness';

export const annotation = 'dev.gvisor.tar.rootfs.upper';
export const overlayAnnotation = 'dev.gvisor.flag.overlay2';

export function seedFlags(path: string): string[] {
  return ['--annotation', `${annotation}=${path}`];
}

export function overlayFlags(mode: string): string[] {
  return ['--annotation', `${overlayAnnotation}=${mode}`];
}

/** A new file with an owner, a deletion, and a directory in place of another. */
export const seedEntries: TarEntry[] = [
  { name: './', type: 'directory' },
  { name: './etc/', type: 'directory' },
  { name: './etc/group', type: 'char', mode: 0, device: { major: 0, minor: 0 } },
  { name: './lower/', type: 'directory' },
  { name: './lower/replaced/', type: 'directory', pax: { 'SCHILY.xattr.trusted.overlay.opaque': 'y' } },
  { name: './lower/replaced/new', content: 'only this is here\n' },
  { name: './srv/', type: 'directory' },
  { name: './srv/data', content: 'seeded\n', uid: 1000, gid: 2000, mode: 0o640 },
];

/** The directory of containerd's overlay snapshotter that takes a container's changes. */
export async function engineUpper(host: Containerd, id: string): Promise<string> {
  const text = (await host.mustCtr(['snapshots', 'mounts', '/nowhere', id])).stdout.toString();
  const upper = /upperdir=([^,\s]+)/.exec(text)?.[1];
  if (upper === undefined) throw new Error(`no upperdir in ${text}`);
  return upper;
}

export interface HandMounted {
  readonly root: string;
  readonly upper: string;
  readonly unmount: () => Promise<void>;
}

/** An overlay of the busybox that a command line has, mounted as a person would. */
export async function mountOverlay({ directory, rootfs }: CommandLine): Promise<HandMounted> {
  const base = mkdtempSync(join(directory, 'overlay-'));
  const [root, upper, work] = ['root', 'upper', 'work'].map((name) => join(base, name)) as [string, string, string];
  for (const path of [root, upper, work]) mkdirSync(path);
  const options = `lowerdir=${rootfs},upperdir=${upper},workdir=${work}`;
  await mustRun(['mount', '-t', 'overlay', '-o', options, 'overlay', root]);
  const unmount = async (): Promise<void> => {
    await mustRun(['umount', root]);
  };
  return { root, upper, unmount };
}

/** `silt tar rootfs-upper` to where seeds may lie; the entries' names without `./` and slashes, sorted. */
export async function snapshot(
  host: Containerd,
  id: string,
  name: string,
): Promise<{ readonly path: string; readonly names: string[] }> {
  const path = join(host.seeds, name);
  const command = [
    siltProgram,
    '--root',
    join(host.siltRoot, host.namespace),
    'tar',
    'rootfs-upper',
    '--file',
    path,
    id,
  ];
  const result = await runCommand(command, { env: host.environment });
  if (result.code !== 0) throw new Error(`silt tar rootfs-upper: exit status ${result.code}: ${result.stderr}`);
  return { path, names: plainNames(readTar(readFileSync(path))) };
}
