/**
 * A systemd for tests of what asks it for cgroups: the machine's own program as process 1 of a pid namespace, in cgroups of its own. No unit
 * of the machine is started, and /etc and /proc/sys are read-only to it.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { mustRun, startCommand, type BackgroundCommand } from './command';
import { waitFor } from './deadline';
import { childrenOf, isAlive } from './processes';

const PROGRAM = '/lib/systemd/systemd';
const BOOT = `set -e
layout=$1; shift
for cgroup; do echo $$ > "$cgroup/cgroup.procs"; done
export layout
exec unshare --mount --pid --fork --kill-child --cgroup --net --ipc --uts sh -c '
  set -e
  mount --make-rprivate /
  mount --bind /etc /etc
  mount -o remount,bind,ro /etc
  mount -t tmpfs tmpfs /run
  if [ $layout = unified ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
  else
    mount -t tmpfs tmpfs /sys/fs/cgroup
    sed -n "s/^[1-9][0-9]*:\\([^:]*\\):.*/\\1/p" /proc/self/cgroup | while read controllers; do
      mkdir "/sys/fs/cgroup/\${controllers#name=}"
      mount -t cgroup -o none,$controllers cgroup "/sys/fs/cgroup/\${controllers#name=}" 2> /dev/null ||
        mount -t cgroup -o $controllers cgroup "/sys/fs/cgroup/$controllers"
    done
    mkdir /sys/fs/cgroup/unified
    mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
  fi
  mount -t proc proc /proc
  mount --bind /proc/sys /proc/sys
  mount -o remount,bind,ro /proc/sys
  mkdir -p /run/systemd/system
  printf "[Unit]\\nDefaultDependencies=no\\n" > /run/systemd/system/nothing.target
  container=silt-test exec ${PROGRAM} --system --unit=nothing.target --log-target=null --show-status=0'
`;

/**
 * `unified`: the one hierarchy of v2, which has no controllers here where those are on v1: what a limit does is tried in the virtual machine
 * (`make vm-test`). `hybrid`: the machine's v1 hierarchies with their controllers, and the unified one beside them.
 */
export const SYSTEMD_LAYOUTS = ['unified', 'hybrid'] as const;
export type SystemdLayout = (typeof SYSTEMD_LAYOUTS)[number];

/** Why there can be none here; undefined when there can. */
export function whyNoSystemd(layout: SystemdLayout): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  if (!existsSync(PROGRAM)) return 'systemd is not installed';
  const mounted = hierarchies();
  if (!mounted.unified) return 'no cgroup2 is mounted';
  const hasV1 = mounted.v1.includes('/sys/fs/cgroup/systemd');
  return layout === 'hybrid' && !hasV1 ? 'this machine has no cgroup v1 hierarchies, and systemd’s' : undefined;
}

/** Where the machine has its hierarchies. */
function hierarchies(): { readonly unified: string | undefined; readonly v1: readonly string[] } {
  const mounts = [...readFileSync('/proc/self/mountinfo', 'utf8').matchAll(/^\S+ \S+ \S+ \S+ (\/sys\/fs\/cgroup\S*) .* - (cgroup2?) /gm)]; // prettier-ignore
  const of = (type: string): string[] => mounts.filter((mount) => mount[2] === type).map((mount) => mount[1]!);
  return { unified: of('cgroup2')[0], v1: of('cgroup') };
}

/** A cgroup takes no process before its cpuset has been given something. */
function makeCgroup(cgroup: string): void {
  mkdirSync(cgroup);
  for (const name of ['cpuset.cpus', 'cpuset.mems']) {
    if (!existsSync(join(cgroup, 'tasks')) || !existsSync(join(cgroup, name))) continue;
    writeFileSync(join(cgroup, name), readFileSync(join(dirname(cgroup), name)));
  }
}

export class Systemd {
  private constructor(
    private readonly command: BackgroundCommand,
    private readonly cgroups: readonly string[],
    readonly pid: number,
  ) {}

  /** @param name of its cgroups */
  static async start(name: string, layout: SystemdLayout): Promise<Systemd> {
    const { unified, v1 } = hierarchies();
    const cgroups = [unified!, ...(layout === 'hybrid' ? v1 : [])].map((path) => join(path, name));
    cgroups.forEach(makeCgroup);
    const command = startCommand(['sh', '-c', BOOT, 'sh', layout, ...cgroups]);
    const pid = await waitFor(
      'systemd to run',
      () => {
        const [child] = command.child.pid === undefined ? [] : childrenOf(command.child.pid);
        return child !== undefined && existsSync(`/proc/${child}/root/run/systemd/private`) ? child : undefined;
      },
      { detail: () => command.stderr },
    );
    return new Systemd(command, cgroups, pid);
  }

  /** The words that run a command beside it. */
  words(argv: readonly string[]): string[] {
    return ['nsenter', `--target=${this.pid}`, '-m', '-p', '-C', '-n', '-i', '-u', ...argv];
  }

  /** A script that runs `program` beside it. */
  wrapper(path: string, program: string): string {
    const words = this.words([program]).join(' ');
    writeFileSync(path, `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
    return path;
  }

  /** Has it read all that it knows of units again, and write their cgroups' files. */
  async reload(): Promise<void> {
    await mustRun(this.words(['systemctl', 'daemon-reload']));
  }

  /** What it says of a unit. */
  async show(unit: string, properties: readonly string[]): Promise<Record<string, string>> {
    const { stdout } = await mustRun(this.words(['systemctl', 'show', unit, `--property=${properties.join(',')}`]));
    const lines = stdout.toString().trim().split('\n');
    return Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
  }

  /** Ends it with all that runs below it. */
  async stop(): Promise<void> {
    if (isAlive(this.pid)) process.kill(this.pid, 'SIGKILL');
    await this.command.ended;
    await waitFor('the cgroups of systemd to be empty', () => {
      try {
        for (const cgroup of this.cgroups) if (existsSync(cgroup)) removeTree(cgroup);
        return true;
      } catch {
        return undefined;
      }
    });
  }
}

function removeTree(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(join(directory, entry.name));
  rmdirSync(directory);
}
