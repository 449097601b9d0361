/** containerd's and silt's configuration files for a private containerd. */
import { join } from 'node:path';

/**
 * What a private containerd does not need, and what would reach out of its directory: CRI (its own network and image settings),
 * NRI (a socket under /run), `opt` (makes /opt/containerd), and snapshotters that need other filesystems.
 */
const criPlugins = [
  'io.containerd.grpc.v1.cri',
  'io.containerd.cri.v1.images',
  'io.containerd.cri.v1.runtime',
  'io.containerd.podsandbox.controller.v1.podsandbox',
  'io.containerd.nri.v1.nri',
];
const disabledPlugins = [
  'io.containerd.internal.v1.opt',
  'io.containerd.internal.v1.tracing',
  'io.containerd.tracing.processor.v1.otlp',
  'io.containerd.snapshotter.v1.aufs',
  'io.containerd.snapshotter.v1.blockfile',
  'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.erofs',
  'io.containerd.snapshotter.v1.zfs',
  'io.containerd.differ.v1.erofs',
];

/** Settings of silt that tests turn. */
export interface SiltSettings {
  readonly userns?: 'none' | 'auto';
  /** False: seeds by annotation are refused. */
  readonly allowSeeds?: boolean;
  /** `copy`: each container has a copy of its seed. */
  readonly seed?: 'share' | 'copy';
  /** How much the layers of shared seeds may take, such as `64k`. */
  readonly seedLayersSize?: string;
  /** CRIU's executable. */
  readonly criu?: string | undefined;
  readonly baseline?: 'docker' | 'strict' | 'none';
  /** Where containers write to; annotations of a container may say otherwise. */
  readonly overlay2?: string;
  /** The ways of this kernel's version are taken, such as `6.1`, where the machine's is newer. */
  readonly kernelVersion?: string;
  /** `allow-flag-override` as the file has it; every flag unless given. */
  readonly flagOverride?: string;
  /** Further lines of the configuration. */
  readonly more?: string;
}

export interface ContainerdPaths {
  readonly root: string;
  readonly state: string;
  readonly socket: string;
}

/** The paths of a private containerd in `directory`. The socket's path is kept short: the kernel takes 107 bytes. */
export function containerdPaths(directory: string): ContainerdPaths {
  return { root: join(directory, 'root'), state: join(directory, 'state'), socket: join(directory, 'c.sock') };
}

/** Of containerd's configuration: format 2 up to 1.7, format 3 from 2.0 on. */
export function configFormat(version: string): 2 | 3 {
  return Number(version.split('.')[0]) >= 2 ? 3 : 2;
}

/** config.toml for this version of containerd. `cri` is what configures the CRI plugin, which is off without it. */
export function containerdConfig(paths: ContainerdPaths, version: string, cri?: string): string {
  const format = configFormat(version);
  return `version = ${format}
root = ${JSON.stringify(paths.root)}
state = ${JSON.stringify(paths.state)}
disabled_plugins = ${JSON.stringify(cri === undefined ? [...criPlugins, ...disabledPlugins] : disabledPlugins)}

[grpc]
address = ${JSON.stringify(paths.socket)}

[ttrpc]
address = ${JSON.stringify(`${paths.socket}.ttrpc`)}

[debug]
level = "debug"
${cri ?? ''}`;
}

export function siltConfig(seeds: string, settings: SiltSettings): string {
  // SILT_TEST_USERNS and SILT_TEST_OVERLAY2 turn the defaults of a whole run, for the suites that do not care.
  return `userns = ${JSON.stringify(settings.userns ?? process.env['SILT_TEST_USERNS'] ?? 'auto')}
allow-rootfs-tar-annotation = ${settings.allowSeeds ?? true}
rootfs-tar-directories = [${JSON.stringify(seeds)}]
checkpoint-directories = [${JSON.stringify(join(seeds, '..', 'checkpoints'))}]
seed = ${JSON.stringify(settings.seed ?? 'share')}
seed-layers = ${JSON.stringify(join(seeds, '..', 'layers'))}
seed-layers-size = ${JSON.stringify(settings.seedLayersSize ?? '16g')}
baseline = ${JSON.stringify(settings.baseline ?? 'docker')}
overlay2 = ${JSON.stringify(settings.overlay2 ?? process.env['SILT_TEST_OVERLAY2'] ?? 'root:memory')}
allow-flag-override = ${settings.flagOverride ?? 'true'}
# Long enough for containers that follow each other, short enough for leak checks.
shim-linger-seconds = 1
${settings.criu === undefined ? '' : `criu = ${JSON.stringify(settings.criu)}`}
${settings.more ?? ''}
`;
}
