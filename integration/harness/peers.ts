/**
 * The containerds that the tests run against: the machine's own, and newer ones from other Debian suites, unpacked into a
 * private cache directory and never installed. The source is the machine's own apt configuration; nothing else is asked.
 */
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { findMainArchive, parseDeb822, parseOneLine, sourceForSuite, type AptSource } from './apt-sources';
import { mustRun } from './command';

/** One containerd with its programs. */
export interface Peer {
  readonly name: string;
  /** Such as `1.6.20~ds1`. */
  readonly version: string;
  readonly containerd: string;
  readonly ctr: string;
  /** The directory of containerd-shim-runc-v2 that belongs to it, to be put in front of PATH. */
  readonly directory: string;
}

/** Why a peer cannot be used here. */
export interface MissingPeer {
  readonly name: string;
  readonly reason: string;
}

/** The Debian suites whose containerd is tried beside the machine's own. */
export const peerSuites = ['trixie', 'sid'] as const;
export const peerNames = ['system', ...peerSuites] as const;

export function cacheDirectory(): string {
  return process.env['SILT_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'silt');
}

export function findProgram(name: string): string | undefined {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/bin'];
  return directories.map((directory) => join(directory, name)).find((path) => isExecutable(path));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function describePeer(name: string, directory: string): Promise<Peer | MissingPeer> {
  const containerd = join(directory, 'containerd');
  const ctr = join(directory, 'ctr');
  try {
    // `containerd github.com/containerd/containerd/v2 2.1.9+unknown `; also the test of whether it runs on this libc.
    const [, , version = 'unknown'] = (await mustRun([containerd, '--version'])).stdout.toString().split(' ');
    await mustRun([ctr, '--version']);
    return { name, version, containerd, ctr, directory };
  } catch (error) {
    return { name, reason: `its programs do not run here: ${messageOf(error)}` };
  }
}

/** Where a peer's containerd is, whether it runs here or not. */
export function findPeerProgram(name: string): string | undefined {
  if (name === 'system') return findProgram('containerd');
  const path = join(cacheDirectory(), 'peers', name, 'usr', 'bin', 'containerd');
  return existsSync(path) ? path : undefined;
}

/** The peer if it can be used as things are, else the reason why not. Downloads nothing. */
export async function findPeer(name: string): Promise<Peer | MissingPeer> {
  if (name === 'system') {
    const containerd = findProgram('containerd');
    if (containerd === undefined) return { name, reason: 'containerd is not installed (make deps installs it)' };
    return describePeer(name, join(containerd, '..'));
  }
  const directory = join(cacheDirectory(), 'peers', name, 'usr', 'bin');
  if (existsSync(join(directory, 'containerd'))) return describePeer(name, directory);
  const failure = join(cacheDirectory(), 'peers', `${name}.failed`);
  if (existsSync(failure)) return { name, reason: readFileSync(failure, 'utf8') };
  return { name, reason: `containerd of Debian ${name} has not been fetched (make peers fetches it)` };
}

/** Like findPeer, but fetches the packages of a suite that is not there yet. */
export async function fetchPeer(name: string): Promise<Peer | MissingPeer> {
  const known = await findPeer(name);
  if (name === 'system' || 'version' in known) return known;
  const failure = join(cacheDirectory(), 'peers', `${name}.failed`);
  mkdirSync(join(failure, '..'), { recursive: true });
  rmSync(failure, { force: true });
  try {
    await unpackPackages(name, ['containerd'], join(cacheDirectory(), 'peers', name));
  } catch (error) {
    writeFileSync(failure, `containerd of Debian ${name} could not be fetched: ${messageOf(error)}`);
  }
  return findPeer(name);
}

/** Fetches and unpacks packages of a suite into a directory of the cache: complete under its name, or not there. */
export async function unpackPackages(suite: string, packages: readonly string[], target: string): Promise<void> {
  const apt = prepareApt(suite);
  const download = `${target}.download`;
  const unpacked = `${target}.unpacked`;
  for (const directory of [download, unpacked]) {
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { recursive: true });
  }
  await mustRun(['apt-get', ...apt, 'update'], { timeoutMs: 300_000 });
  await mustRun(['apt-get', ...apt, 'download', ...packages], { cwd: download, timeoutMs: 300_000 });
  for (const file of readdirSync(download)) await mustRun(['dpkg', '-x', join(download, file), unpacked]);
  rmSync(target, { recursive: true, force: true });
  renameSync(unpacked, target);
  rmSync(download, { recursive: true });
}

/** Writes the private source list of a suite and returns the options that make apt use it and keep its state beside it. */
export function prepareApt(suite: string): string[] {
  const archive = machineArchive();
  const directory = join(cacheDirectory(), 'apt', suite);
  for (const each of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(directory, each), { recursive: true });
  writeFileSync(join(directory, `${suite}.sources`), sourceForSuite(archive, suite));
  writeFileSync(join(directory, 'status'), '');
  const options = {
    'Dir::Etc::sourcelist': join(directory, `${suite}.sources`),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::State::Lists': join(directory, 'lists'),
    // Nothing is installed as far as this apt knows, so that the suite's version is the only candidate.
    'Dir::State::status': join(directory, 'status'),
    'Dir::Cache': join(directory, 'cache'),
    'Acquire::Languages': 'none',
    'APT::Sandbox::User': 'root',
  };
  return ['-q', ...Object.entries(options).flatMap(([key, value]) => ['-o', `${key}=${value}`])];
}

function machineArchive(): AptSource {
  const codename = /^VERSION_CODENAME=(.+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  if (codename === undefined) throw new Error('/etc/os-release has no VERSION_CODENAME: not a Debian release');
  const sources: AptSource[] = [];
  if (existsSync('/etc/apt/sources.list')) sources.push(...parseOneLine(readFileSync('/etc/apt/sources.list', 'utf8')));
  for (const file of existsSync('/etc/apt/sources.list.d') ? readdirSync('/etc/apt/sources.list.d').sort() : []) {
    const text = (): string => readFileSync(join('/etc/apt/sources.list.d', file), 'utf8');
    if (file.endsWith('.list')) sources.push(...parseOneLine(text()));
    if (file.endsWith('.sources')) sources.push(...parseDeb822(text()));
  }
  const archive = findMainArchive(sources, codename);
  if (archive === undefined) throw new Error(`no apt source of this machine is Debian's main archive for ${codename}`);
  return archive;
}

/** What apt itself calls the error, or the end of the text; without addresses of mirrors, which are nobody's business in a report. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const reason = /\bE: .*/.exec(text)?.[0] ?? text.slice(-300);
  return reason
    .replace(/https?:\/\/\S+/g, 'the archive')
    .replace(/\s+/g, ' ')
    .trim();
}
