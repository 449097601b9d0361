/**
 * A systemd for tests of what asks it for cgroups: the machine's own program as process 1 of a pid namespace, on an empty unified hierarchy.
 * No unit of the machine is started, and /etc and /proc/sys are read-only to it. It has no controllers where those are on v1: what a limit
 * does is tried in the virtual machine (`make vm-test`).
 */
import { existsSync, mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun, startCommand, type BackgroundCommand } from './command';
import { waitFor } from './deadline';
import { childrenOf, isAlive } from './processes';

const PROGRAM = '/lib/systemd/systemd';
const BOOT = `set -e
echo $$ > "$1/cgroup.procs"
exec unshare --mount --pid --fork --kill-child --cgroup --net --ipc --uts sh -c '
  set -e
  mount --make-rprivate /
  mount --bind /etc /etc
  mount -o remount,bind,ro /etc
  mount -t tmpfs tmpfs /run
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  mount -t proc proc /proc
  mount --bind /proc/sys /proc/sys
  mount -o remount,bind,ro /proc/sys
  mkdir -p /run/systemd/system
  printf "[Unit]\\nDefaultDependencies=no\\n" > /run/systemd/system/nothing.target
  container=silt-test exec ${PROGRAM} --system --unit=nothing.target --log-target=null --show-status=0'
`;

/** Why there can be none here; undefined when there can. */
export function whyNoSystemd(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  if (!existsSync(PROGRAM)) return 'systemd is not installed';
  return unifiedHierarchy() === undefined ? 'no cgroup2 is mounted' : undefined;
}

function unifiedHierarchy(): string | undefined {
  return ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find((path) => existsSync(join(path, 'cgroup.procs')));
}

export class Systemd {
  private constructor(
    private readonly command: BackgroundCommand,
    private readonly cgroup: string,
    readonly pid: number,
  ) {}

  /** @param name of its cgroup */
  static async start(name: string): Promise<Systemd> {
    const cgroup = join(unifiedHierarchy()!, name);
    mkdirSync(cgroup);
    const command = startCommand(['sh', '-c', BOOT, 'sh', cgroup]);
    const pid = await waitFor(
      'systemd to run',
      () => {
        const [child] = command.child.pid === undefined ? [] : childrenOf(command.child.pid);
        return child !== undefined && existsSync(`/proc/${child}/root/run/systemd/private`) ? child : undefined;
      },
      { detail: () => command.stderr },
    );
    return new Systemd(command, cgroup, pid);
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
        removeTree(this.cgroup);
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
