/** Makes a machine clean again after tests that failed half-way, so that one failure does not become many. */
import { rmdirSync } from 'node:fs';
import { mustRun } from './command';
import { waitFor } from './deadline';
import { ownProcesses, takeInventory, type Ownership } from './leak-check';
import { cgroupsOf, commandLine, environmentOf, isAlive } from './processes';

/** Ends the processes, then the mounts, then the cgroups that carry this run's directory or namespace. */
export async function clearUp(owner: Ownership): Promise<void> {
  const pids = [...ownProcesses(owner).keys()]
    .map((key) => Number(key.split(' ')[0]))
    .filter((pid) => isMarked(pid, owner));
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // Gone already.
    }
  }
  await waitFor('killed processes to end', () => !pids.some(isAlive));
  // A mount may lie on another: the later one goes first.
  const inventory = takeInventory(owner);
  const points = [...(inventory.get('mount')?.values() ?? [])]
    .map((line) => line.slice(line.indexOf(' on ') + 4))
    .reverse();
  for (const point of points) {
    if (point.includes(owner.directory)) await mustRun(['umount', '--lazy', point]).catch(() => undefined);
  }
  for (const path of [...(inventory.get('cgroup')?.keys() ?? [])].reverse()) {
    if (!path.includes(owner.namespace)) continue;
    try {
      rmdirSync(path);
    } catch {
      // Not empty: the leak check has said so.
    }
  }
}

/** Only what carries this run's own mark is killed; a name alone may belong to somebody else's silt. */
function isMarked(pid: number, owner: Ownership): boolean {
  return (
    commandLine(pid).includes(owner.directory) ||
    environmentOf(pid).includes(owner.directory) ||
    cgroupsOf(pid).includes(owner.namespace)
  );
}
