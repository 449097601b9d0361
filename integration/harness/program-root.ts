/**
 * A root filesystem with real programs, for what busybox is not enough for: Debian packages of the machine's own release, unpacked
 * into the private cache, never installed; the pinned Node beside them.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { checkout } from './checkout';
import { mustRun } from './command';
import { cacheDirectory, messageOf, prepareApt } from './peers';

const WANTED = ['bash', 'coreutils', 'redis-server', 'nginx-light', 'python3', 'sqlite3'];
/** Of what they depend on: libraries and their own parts; what only configures or administers stays out. */
const NEEDED =
  /^(lib(?!perl|elogind|newt|slang|pam|nginx|sem|sep)|zlib1g$|redis|nginx|python3|bash$|coreutils$|sqlite3$)/;

const directory = (): string => join(cacheDirectory(), 'peers', 'programs');
const failure = (): string => `${directory()}.failed`;

/** The root filesystem if it is there, else the reason why not. Downloads nothing. */
export function findProgramRoot(): { readonly path: string } | { readonly reason: string } {
  if (existsSync(directory())) return { path: directory() };
  if (existsSync(failure())) return { reason: readFileSync(failure(), 'utf8') };
  return { reason: 'the packages of the programs have not been fetched (make peers fetches them)' };
}

/** Like findProgramRoot, but fetches the packages. */
export async function fetchProgramRoot(): Promise<void> {
  if (existsSync(directory())) return;
  mkdirSync(join(directory(), '..'), { recursive: true });
  rmSync(failure(), { force: true });
  try {
    await unpack();
  } catch (error) {
    writeFileSync(failure(), `the packages of the programs could not be fetched: ${messageOf(error)}`);
  }
}

/** Complete under its name, or not there. */
async function unpack(): Promise<void> {
  const release = /^VERSION_CODENAME=(.+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? '';
  const apt = prepareApt(release);
  const download = join(cacheDirectory(), 'apt', release, 'download');
  const root = join(cacheDirectory(), 'apt', release, 'programs');
  for (const path of [download, root]) {
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path, { recursive: true });
  }
  await mustRun(['apt-get', ...apt, 'update'], { timeoutMs: 300_000 });
  const no = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map((kind) => `--no-${kind}`);
  const listing = await mustRun(['apt-cache', ...apt, 'depends', '--recurse', ...no, ...WANTED]);
  const all = new Set(listing.stdout.toString().match(/^[a-z0-9][a-z0-9.+-]*$/gm));
  const packages = [...all].filter((name) => NEEDED.test(name));
  await mustRun(['apt-get', ...apt, 'download', ...packages], { cwd: download, timeoutMs: 300_000 });
  for (const file of readdirSync(download)) await mustRun(['dpkg', '-x', join(download, file), root]);
  for (const name of ['dev', 'proc', 'root', 'run', 'srv', 'sys', 'tmp'])
    mkdirSync(join(root, name), { recursive: true });
  symlinkSync('bash', join(root, 'bin/sh'));
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/root:/bin/bash\n');
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\n');
  copyFileSync(join(checkout, 'build/node'), join(root, 'usr/bin/node'));
  renameSync(root, directory());
  rmSync(download, { recursive: true });
}
