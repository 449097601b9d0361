/**
 * What is on the machine before and after: processes, mounts, cgroups, network namespaces, loop devices, unix sockets, files.
 * Everything that several users of a machine share is compared machine-wide, because a leaked mount has no owner's name on it;
 * processes and files are those that can be told to belong to the tests.
 */
import { readdirSync, readFileSync, readlinkSync, statSync, type Dirent } from 'node:fs';
import { join } from 'node:path';
import { sleep } from './deadline';
import { cgroupsOf, commandLine, environmentOf, executableOf, listProcesses } from './processes';

/** What tells a process or file of this test run from others. */
export interface Ownership {
  /** Private directory: in command lines and environments. */
  readonly directory: string;
  /** containerd namespace: in cgroup paths. */
  readonly namespace: string;
  /** Pids that are expected to come and go, such as containerd's own. */
  readonly except: () => readonly number[];
  /** Directories in which every file counts, with the depth to look to. */
  readonly fileRoots: readonly { readonly path: string; readonly depth: number }[];
  /** Directories below those whose files are kept on purpose. */
  readonly keptDirectories: readonly string[];
}

/** Things by a stable key, with a description. */
type Things = ReadonlyMap<string, string>;
export type Inventory = ReadonlyMap<string, Things>;

/** Everything that is there now. */
export function takeInventory(owner: Ownership): Inventory {
  return new Map<string, Things>([
    ['process', findProcesses(owner, true)],
    ['mount', mounts()],
    ['cgroup', cgroupDirectories()],
    ['network namespace', networkNamespaces()],
    ['loop device', loopDevices()],
    ['unix socket', unixSockets(owner)],
    ['file', files(owner)],
  ]);
}

/**
 * A line for each thing that is there now and was not before. With SILT_TEST_SHARED_MACHINE=1 only what carries this run's own
 * directory or namespace in its description: for a machine on which others start and end containers meanwhile.
 */
export function findLeaks(before: Inventory, after: Inventory, owner: Ownership): string[] {
  const isOurs = (text: string): boolean =>
    process.env['SILT_TEST_SHARED_MACHINE'] !== '1' || text.includes(owner.directory) || text.includes(owner.namespace);
  const leaks: string[] = [];
  for (const [kind, things] of after) {
    for (const [key, description] of things) {
      if (before.get(kind)?.has(key) !== true && isOurs(description)) leaks.push(`${kind} ${description}`);
    }
  }
  return leaks;
}

/**
 * Takes inventories until there is nothing more than before, for up to `timeoutMs` (10 s: containerd collects snapshots a
 * while after the container went), and returns what is left then.
 */
export async function waitForNoLeaks(
  before: Inventory,
  owner: Ownership,
  expected = /^$/,
  timeoutMs = 10_000,
): Promise<string[]> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const leaks = findLeaks(before, takeInventory(owner), owner).filter((leak) => !expected.test(leak));
    if (leaks.length === 0 || performance.now() > end) return leaks;
    await sleep(100);
  }
}

/**
 * The processes of this run: by directory, environment or cgroup, and all that descend from them. Only these may be ended: a
 * silt that runs on this machine for others has the same names.
 */
export function ownProcesses(owner: Ownership): Things {
  return findProcesses(owner, false);
}

/** Also by silt's own names: a process that lost its parent and has no mark of this run would be a leak all the same. */
function findProcesses(owner: Ownership, byName: boolean): Things {
  const all = listProcesses();
  const except = new Set([process.pid, ...owner.except()]);
  const own = new Set<number>();
  const needle = owner.directory;
  for (const { pid, name } of all) {
    if (except.has(pid)) continue;
    const belongs =
      (byName && (name.startsWith('silt') || executableOf(pid).startsWith('/memfd:silt'))) ||
      commandLine(pid).includes(needle) ||
      environmentOf(pid).includes(needle) ||
      cgroupsOf(pid).includes(owner.namespace);
    if (belongs) own.add(pid);
  }
  for (let grew = true; grew;) {
    grew = false;
    for (const { pid, parent } of all) {
      if (own.has(parent) && !own.has(pid) && !except.has(pid)) {
        own.add(pid);
        grew = true;
      }
    }
  }
  const found = new Map<string, string>();
  for (const { pid, name, parent, state, startTime } of all) {
    // What has ended is nobody's but init's, and that one takes its time on some machines.
    if (state === 'Z' && parent === 1) continue;
    if (own.has(pid)) found.set(`${pid} ${startTime}`, `${pid} (${name}) ${state} ${commandLine(pid).slice(0, 200)}`);
  }
  return found;
}

function mounts(): Things {
  const found = new Map<string, string>();
  for (const line of readFileSync('/proc/self/mountinfo', 'latin1').split('\n')) {
    const [, , , root, point] = line.split(' ');
    if (point === undefined) continue;
    const type = line.slice(line.indexOf(' - ') + 3).split(' ')[0]!;
    // Several mounts may lie on one point.
    let key = `${point} ${root!} ${type}`;
    while (found.has(key)) key += ' again';
    found.set(key, `${type} on ${point}`);
  }
  return found;
}

function subdirectories(directory: string, found: Map<string, string>): void {
  for (const entry of list(directory)) {
    if (!entry.isDirectory()) continue;
    const path = join(directory, entry.name);
    found.set(path, path);
    subdirectories(path, found);
  }
}

function cgroupDirectories(): Things {
  const found = new Map<string, string>();
  subdirectories('/sys/fs/cgroup', found);
  return found;
}

function networkNamespaces(): Things {
  const found = new Map<string, string>();
  for (const { pid, name } of listProcesses()) {
    try {
      const link = readlinkSync(`/proc/${pid}/ns/net`);
      if (!found.has(link)) found.set(link, `${link} of ${pid} (${name})`);
    } catch {
      // Gone, or a zombie.
    }
  }
  return found;
}

function loopDevices(): Things {
  const found = new Map<string, string>();
  for (const entry of list('/sys/block')) {
    if (!entry.name.startsWith('loop')) continue;
    try {
      const file = readFileSync(join('/sys/block', entry.name, 'loop/backing_file'), 'latin1').trim();
      found.set(`${entry.name} ${file}`, `${entry.name}: ${file}`);
    } catch {
      // Not in use.
    }
  }
  return found;
}

/**
 * Bound sockets: ours, those under /run and abstract ones; not those that somebody else makes under /tmp. Accepted connections share the
 * path of the listener, so a path counts once.
 */
function unixSockets(owner: Ownership): Things {
  const found = new Map<string, string>();
  for (const line of readFileSync('/proc/net/unix', 'latin1').split('\n').slice(1)) {
    const path = line.trim().split(/\s+/).slice(7).join(' ');
    if (path.startsWith('/run/') || path.startsWith('@') || path.includes(owner.directory)) found.set(path, path);
  }
  return found;
}

/** Files by path. What is mounted below, such as a container's root filesystem, shows as the mount. */
function files(owner: Ownership): Things {
  const found = new Map<string, string>();
  const walk = (directory: string, device: number, depth: number): void => {
    for (const entry of list(directory)) {
      const path = join(directory, entry.name);
      if (owner.keptDirectories.includes(path)) continue;
      found.set(path, path);
      if (entry.isDirectory() && depth > 1 && deviceOf(path) === device) walk(path, device, depth - 1);
    }
  };
  for (const { path, depth } of owner.fileRoots) walk(path, deviceOf(path), depth);
  return found;
}

function deviceOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.dev ?? -1;
}

function list(directory: string): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch {
    return [];
  }
}
