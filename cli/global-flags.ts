import { type Command, Option } from 'commander';
import { SiltError } from '../errors';
import { siltRoot } from '../sandbox/state/root';
import type { LogOptions } from './log';

/** The flags before the command's name that have a meaning here; other-runtimes.ts has those that have none. */
export interface GlobalOptions extends LogOptions {
  /** Directory of the containers' state. */
  readonly root: string;
  /** cgroupsPath is `slice:prefix:name`, and systemd makes the cgroup. */
  readonly systemdCgroup: boolean;
  readonly criu: string;
  readonly rootless: 'auto' | 'true' | 'false';
  /** `{none|root|all}:{memory|self|dir=/path}[,size=…]`, as given; its room checks it. */
  readonly overlay2?: string;
  /** gVisor's older flag: true stands for `--overlay2=all:memory`. */
  readonly overlay?: 'true' | 'false';
  /** Whether annotations of a bundle may change flags: goes before the configuration's key. */
  readonly allowFlagOverride?: 'true' | 'false';
  /** As the configuration's key: whether containers share what is made of a seed. */
  readonly seed?: 'share' | 'copy';
  /** As the configuration's key: whether pods get a user namespace of their own. */
  readonly userns?: 'auto' | 'none';
  readonly fileAccess?: 'exclusive' | 'shared';
  readonly fileAccessMounts?: 'exclusive' | 'shared';
  readonly network: 'sandbox' | 'host' | 'none';
  readonly ignoreCgroups: boolean;
}

const logFormats = ['text', 'json', 'json-k8s'];
const booleans = ['true', 'false'];
const access = ['exclusive', 'shared'];

export function addGlobalFlags(silt: Command): void {
  const options = [
    new Option('--root <directory>', 'state of containers; containerd’s are in /run/silt/<namespace>').default(
      siltRoot(),
    ),
    new Option('--log <file>', 'append warnings and errors to this file, for an engine to read'),
    new Option('--log-format <format>', 'how').choices(logFormats).default('text'),
    new Option('--debug', 'log what is done as well').default(false),
    new Option(
      '--debug-log <file>',
      'a further log, with debug lines; ending in /: a directory for a file per command',
    ),
    new Option('--debug-log-format <format>', 'how').choices(logFormats).default('text'),
    new Option('--alsologtostderr', 'log to standard error as well').default(false),
    new Option('--systemd-cgroup', 'let systemd make cgroups: cgroupsPath is slice:prefix:name').default(false),
    new Option('--criu <program>', 'the CRIU for checkpoint and restore').default('criu'),
    new Option('--rootless [mode]', 'accepted; silt needs root').choices(['auto', 'true', 'false']).preset('true'),
    new Option('--overlay2 <kind>', 'where writes go: none, or root or all with :memory, :self, :dir=/path'),
    new Option('--overlay [bool]', 'the older form of --overlay2=all:memory').choices(booleans).preset('true'),
    new Option('--allow-flag-override [bool]', 'let dev.gvisor.flag.* annotations of a bundle change flags')
      .choices(booleans)
      .preset('true'),
    new Option('--seed <how>', 'share what is made of a seed, or copy it').choices(['share', 'copy']),
    new Option('--userns <mode>', 'whether a pod gets a user namespace of its own').choices(['auto', 'none']),
    new Option('--file-access <mode>', 'of the root filesystem; both are coherent here').choices(access),
    new Option('--file-access-mounts <mode>', 'of volumes; both are coherent here').choices(access),
    new Option('--network <kind>', 'sandbox, host: the network namespace that the spec names')
      .choices(['sandbox', 'host', 'none'])
      .default('sandbox'),
    new Option('--ignore-cgroups', 'not supported: containers always have cgroups').default(false),
  ];
  for (const option of options) silt.addOption(option);
}

/** Values that are known and cannot be followed are refused, not skipped. @throws SiltError UNIMPLEMENTED. */
export function refuseUnsupported(options: GlobalOptions, command: string): void {
  // A throw-away container has none unless it has the host's.
  if (options.network === 'none' && command !== 'do') {
    const message = '--network=none is not supported: give the spec a network namespace without a path instead';
    throw new SiltError('UNIMPLEMENTED', message);
  }
  if (options.ignoreCgroups) throw new SiltError('UNIMPLEMENTED', '--ignore-cgroups is not supported');
}
