/**
 * The Dockers that tests run with: the machine's own, and those of newer Debian suites beside their containerds, unpacked into the
 * private cache directory and never installed.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory, findProgram, messageOf, unpackPackages } from './peers';

/** The programs of one version of Docker. */
export interface DockerPrograms {
  readonly dockerd: string;
  readonly docker: string;
  /** Of containerd and its shim for runc, and of docker-init; to be put in front of PATH. */
  readonly directories: readonly string[];
}

/** Why it cannot be used here. */
export interface MissingDocker {
  readonly reason: string;
}

const directoryOf = (suite: string): string => join(cacheDirectory(), 'peers', `docker-${suite}`);
const failureOf = (suite: string): string => `${directoryOf(suite)}.failed`;

/** Docker if it can be used as things are, else the reason why not. Downloads nothing. @param name `system` or a suite */
export function findDocker(name: string): DockerPrograms | MissingDocker {
  if (name === 'system') {
    const [dockerd, docker] = [findProgram('dockerd'), findProgram('docker')];
    if (dockerd !== undefined && docker !== undefined) return { dockerd, docker, directories: [] };
    return { reason: 'there is no dockerd (make deps installs it)' };
  }
  const dockerd = join(directoryOf(name), 'usr/sbin/dockerd');
  if (existsSync(dockerd)) {
    const { status, stderr, error } = spawnSync(dockerd, ['--version'], { encoding: 'utf8' });
    if (status !== 0)
      return { reason: `dockerd of Debian ${name} does not run here: ${messageOf(error ?? new Error(stderr))}` };
    const containerd = join(cacheDirectory(), 'peers', name, 'usr/bin');
    // Not all of the suite's programs: its runc wants a newer libc, and the machine's does as well.
    return { dockerd, docker: join(directoryOf(name), 'usr/bin/docker'), directories: [containerd] };
  }
  if (existsSync(failureOf(name))) return { reason: readFileSync(failureOf(name), 'utf8') };
  return { reason: `Docker of Debian ${name} has not been fetched (make peers fetches it)` };
}

/** Like findDocker, but fetches the packages of a suite that are not there yet. */
export async function fetchDocker(name: string): Promise<DockerPrograms | MissingDocker> {
  const known = findDocker(name);
  if (name === 'system' || 'dockerd' in known) return known;
  rmSync(failureOf(name), { force: true });
  mkdirSync(join(cacheDirectory(), 'peers'), { recursive: true });
  try {
    await unpackPackages(name, ['docker.io', 'docker-cli'], directoryOf(name));
  } catch (error) {
    writeFileSync(failureOf(name), `Docker of Debian ${name} could not be fetched: ${messageOf(error)}`);
  }
  return findDocker(name);
}
