import {
  existsSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statfsSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs';
import { SiltError } from '../errors';
import { type OverlayView, overlayView, type Owner, readMounts } from '../gofer';
import { C } from '../syscall';
import { type Hierarchies, readHierarchies } from './cgroup';
import { systemdRuns } from './systemd';

export interface SecurityModules {
  readonly apparmor: boolean;
  readonly selinux: boolean;
}

/** Where selinuxfs is mounted, which is there only where SELinux was chosen at boot. */
const SELINUX = '/sys/fs/selinux';
const APPARMOR = '/sys/module/apparmor/parameters/enabled';

/** What planning has to know of this host. Each thing is looked up once, when it is first asked for. */
export class Host {
  #cpuinfo: string | undefined;
  #securityModules: SecurityModules | undefined;
  #hierarchies: Hierarchies | undefined;
  #lastCapability: number | undefined;
  #ownCapabilities: bigint | undefined;
  #ownOomScoreAdj: number | undefined;
  #hardLimits: ReadonlyMap<string, bigint> | undefined;

  get hierarchies(): Hierarchies {
    return (this.#hierarchies ??= readHierarchies());
  }

  /** systemd is this host's process 1. */
  get systemdRuns(): boolean {
    return systemdRuns();
  }

  /** Where a resctrl filesystem is mounted; undefined without one. */
  get resctrlMount(): string | undefined {
    return readMounts().find(({ type }) => type === 'resctrl')?.point;
  }

  /** The highest capability that the kernel knows. */
  get lastCapability(): number {
    return (this.#lastCapability ??= Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8')));
  }

  /** What silt itself may: a mask, bit n is capability n. */
  get ownCapabilities(): bigint {
    return (this.#ownCapabilities ??= parseCapabilities(readFileSync('/proc/self/status', 'utf8')));
  }

  /** Which security modules of those that containers are labelled for are enabled. */
  get securityModules(): SecurityModules {
    return (this.#securityModules ??= {
      apparmor: existsSync(APPARMOR) && readFileSync(APPARMOR, 'latin1').startsWith('Y'),
      selinux: existsSync(`${SELINUX}/enforce`) && hasPolicy(readFileSync('/proc/self/attr/current', 'latin1')),
    });
  }

  /**
   * Whether SELinux’s policy has such a label. Where that cannot be asked the answer is yes: the kernel looks again when the label is used.
   */
  hasSelinuxLabel(label: string): boolean {
    try {
      writeFileSync(`${SELINUX}/context`, label, { flag: 'r+' });
      return true;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code !== 'EINVAL';
    }
  }

  /** The text of /proc/cpuinfo, which does not change but for its frequencies. */
  get cpuinfo(): string {
    return (this.#cpuinfo ??= readFileSync('/proc/cpuinfo', 'utf8'));
  }

  /** silt's own oom_score_adj: without CAP_SYS_RESOURCE nothing lower can be counted on (proc_pid_oom_score_adj(5)). */
  get ownOomScoreAdj(): number {
    return (this.#ownOomScoreAdj ??= Number(readFileSync('/proc/self/oom_score_adj', 'utf8')));
  }

  /** silt's own hard limit, by the name in /proc/PID/limits, such as `Max open files`. */
  hardLimit(name: string): bigint {
    this.#hardLimits ??= parseLimits(readFileSync('/proc/self/limits', 'utf8'));
    return this.#hardLimits.get(name) ?? 0n;
  }

  /** The directory that a host path leads to, without symlinks; undefined when there is none. */
  realDirectory(path: string): string | undefined {
    return this.kindOf(path) === 'directory' ? realpathSync(path) : undefined;
  }

  /** Who owns what is at a host path; undefined when there is nothing. @throws SiltError SYSCALL_FAILED when it cannot be looked at. */
  ownerOf(path: string): Owner | undefined {
    return look(path);
  }

  /** What a host path shows of an overlay to which nothing has been written; undefined for everything else. */
  viewOf(path: string): OverlayView | undefined {
    if (statfsSync(path).type !== C.OVERLAYFS_SUPER_MAGIC) return undefined;
    const view = overlayView(realpathSync(path));
    return view?.upper === undefined || readdirSync(view.upper).length === 0 ? view : undefined;
  }

  /** Is a host path that is there on a tmpfs? */
  isTmpfs(path: string): boolean {
    return statfsSync(path).type === C.TMPFS_MAGIC;
  }

  /** What is at a host path, symlinks followed. @throws SiltError SYSCALL_FAILED when it cannot be looked at. */
  kindOf(path: string): 'directory' | 'file' | 'other' | undefined {
    const found = look(path);
    return found && (found.isDirectory() ? 'directory' : found.isFile() ? 'file' : 'other');
  }
}

/** Before a policy is loaded every process has this label, and any label is taken and means nothing. */
function hasPolicy(ownLabel: string): boolean {
  return ownLabel.replace(/[\0\n]/g, '') !== 'kernel';
}

function look(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new SiltError('SYSCALL_FAILED', `cannot look at ${path}: ${code}`, { path, errno: code }, { cause: error });
  }
}

/** The permitted set in /proc/PID/status (proc(5)), in hexadecimal there. */
export function parseCapabilities(status: string): bigint {
  return BigInt(`0x${/^CapPrm:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
}

const UNLIMITED = 2n ** 64n - 1n;

/** /proc/PID/limits: name in 26 columns, soft limit in 21, hard limit in 21, units (proc(5)). */
export function parseLimits(text: string): Map<string, bigint> {
  const limits = new Map<string, bigint>();
  for (const line of text.split('\n').slice(1)) {
    const hard = line.slice(47, 68).trim();
    if (hard !== '') limits.set(line.slice(0, 26).trim(), hard === 'unlimited' ? UNLIMITED : BigInt(hard));
  }
  return limits;
}
