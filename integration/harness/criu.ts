/**
 * CRIU for the tests: the machine's own if it is new enough, else the one of a newer Debian suite, unpacked into the private
 * cache with its libraries and run with its own loader. Never installed.
 */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { mustRun } from './command';
import { cacheDirectory, findProgram, messageOf, prepareApt } from './peers';

export interface Criu {
  readonly path: string;
  readonly version: string;
}

export interface MissingCriu {
  readonly reason: string;
}

/** What silt needs (docs/checkpoint.md). */
const least = [4, 1] as const;
const suite = 'sid';
const directory = (): string => join(cacheDirectory(), 'peers', `criu-${suite}`);
const failure = (): string => `${directory()}.failed`;

/** CRIU if it can be used as things are, else the reason why not. Downloads nothing. */
export function findCriu(): Criu | MissingCriu {
  const own = findProgram('criu');
  const version = own === undefined ? undefined : versionOf(own);
  if (own !== undefined && version !== undefined && isEnough(version)) return { path: own, version };
  const path = join(directory(), 'criu');
  if (existsSync(path)) {
    const unpacked = versionOf(path);
    return unpacked === undefined
      ? { reason: `CRIU of Debian ${suite} does not run here` }
      : { path, version: unpacked };
  }
  if (existsSync(failure())) return { reason: readFileSync(failure(), 'utf8') };
  return {
    reason: `no CRIU ${least.join('.')} or later: CRIU of Debian ${suite} has not been fetched (make peers fetches it)`,
  };
}

/** The machine's own CRIU where it is older than what silt needs. */
export function tooOldCriu(): Criu | MissingCriu {
  const path = findProgram('criu');
  const version = path === undefined ? undefined : versionOf(path);
  if (path === undefined || version === undefined) return { reason: 'this machine has no CRIU of its own' };
  if (isEnough(version)) return { reason: `CRIU ${version} of this machine is new enough` };
  return { path: realpathSync(path), version };
}

/** Like findCriu, but fetches the packages. */
export async function fetchCriu(): Promise<Criu | MissingCriu> {
  const known = findCriu();
  if ('path' in known) return known;
  rmSync(failure(), { force: true });
  try {
    await unpack();
  } catch (error) {
    mkdirSync(join(failure(), '..'), { recursive: true });
    writeFileSync(failure(), `CRIU of Debian ${suite} could not be fetched: ${messageOf(error)}`);
  }
  return findCriu();
}

function versionOf(path: string): string | undefined {
  const { stdout } = spawnSync(path, ['--version'], { encoding: 'utf8', timeout: 20_000 });
  return /^Version: (\S+)/m.exec(stdout)?.[1];
}

function isEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > least[0] || (major === least[0] && minor >= least[1]);
}

/** Fetches and unpacks CRIU and everything that it depends on: complete under its name, or not there. */
async function unpack(): Promise<void> {
  const apt = prepareApt(suite);
  const download = join(cacheDirectory(), 'apt', suite, 'criu-download');
  const unpacked = join(cacheDirectory(), 'apt', suite, 'criu-unpacked');
  for (const path of [download, unpacked]) {
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path, { recursive: true });
  }
  await mustRun(['apt-get', ...apt, 'update'], { timeoutMs: 300_000 });
  const no = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map((kind) => `--no-${kind}`);
  const listing = await mustRun(['apt-cache', ...apt, 'depends', '--recurse', ...no, 'criu']);
  const packages = [...new Set(listing.stdout.toString().match(/^[a-z0-9][a-z0-9.+-]*$/gm))];
  await mustRun(['apt-get', ...apt, 'download', ...packages], { cwd: download, timeoutMs: 300_000 });
  for (const file of readdirSync(download)) await mustRun(['dpkg', '-x', join(download, file), unpacked]);
  const script = [
    '#!/bin/sh',
    'here=${0%/*}',
    'for lib in "$here"/usr/lib/*-linux-gnu; do :; done',
    'exec "$lib"/ld-linux-*.so.? --library-path "$lib" "$here/usr/sbin/criu" "$@"',
  ];
  writeFileSync(join(unpacked, 'criu'), `${script.join('\n')}\n`, { mode: 0o755 });
  rmSync(directory(), { recursive: true, force: true });
  mkdirSync(join(directory(), '..'), { recursive: true });
  renameSync(unpacked, directory());
  rmSync(download, { recursive: true });
}
