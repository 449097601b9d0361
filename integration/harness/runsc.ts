/**
 * gVisor's runsc for the benchmarks, and for what its help says: the machine's own if it has the systrap platform, else that of a newer Debian suite, unpacked into
 * the private cache. Never installed.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory, findProgram, messageOf, unpackPackages } from './peers';

const suite = 'sid';

/** A runsc that need not run containers: the machine's own, or the newer one if it has been fetched. */
export function findRunscs(): { name: string; path: string }[] {
  const own = findProgram('runsc');
  const newer = join(cacheDirectory(), 'peers', `runsc-${suite}`, 'usr/bin/runsc');
  return [
    ...(own === undefined ? [] : [{ name: 'the machine', path: own }]),
    ...(existsSync(newer) ? [{ name: suite, path: newer }] : []),
  ];
}

/** Its path, or why there is none. Fetches the package if need be. */
export async function fetchRunsc(): Promise<{ path: string } | { reason: string }> {
  const own = findProgram('runsc');
  if (own !== undefined && hasSystrap(own)) return { path: own };
  const directory = join(cacheDirectory(), 'peers', `runsc-${suite}`);
  const path = join(directory, 'usr/bin/runsc');
  try {
    if (!existsSync(path)) await unpackPackages(suite, ['runsc'], directory);
  } catch (error) {
    return { reason: `runsc of Debian ${suite} could not be fetched: ${messageOf(error)}` };
  }
  return hasSystrap(path) ? { path } : { reason: `runsc of Debian ${suite} does not run here` };
}

/** Older ones (of 2022, in bookworm) know ptrace and KVM only. */
function hasSystrap(path: string): boolean {
  const { stdout } = spawnSync(path, ['help', 'platforms'], { encoding: 'utf8', timeout: 20_000 });
  return /systrap/.test(stdout);
}
