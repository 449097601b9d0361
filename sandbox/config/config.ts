import { readFileSync } from 'node:fs';
import { isAbsolute, normalize } from 'node:path';
import { parse } from 'smol-toml';
import { SiltError } from '../../errors';
import { BASELINES, type BaselineName } from '../../oci';
import { CGROUP_DRIVERS, type CgroupDriver } from '../cgroup';
import { DEFAULT_OVERLAY, type OverlayMode, parseOverlay2 } from './overlay-mode';

/** What the operator decides, in /etc/silt/config.toml. */
export interface Config {
  /** Whether pods that do not ask for host namespaces get a user namespace of their own. */
  readonly userns: 'auto' | 'none';
  /** Whether containers started by containerd may be seeded by annotation at all. */
  readonly allowRootfsTarAnnotation: boolean;
  /** Directories that such seeds may lie in, absolute and without symlinks; none means nowhere. */
  readonly rootfsTarDirectories: readonly string[];
  /** Directories below which programs of containers that containerd starts may have themselves saved. */
  readonly checkpointDirectories: readonly string[];
  /** Where the writes of containers go. */
  readonly overlay: OverlayMode;
  /** Flags that a container's annotations (`dev.gvisor.flag.NAME`) may change: by name, or all of them, or none. */
  readonly allowFlagOverride: boolean | readonly string[];
  /** tmpfs(5) size of an upper in memory whose container has no memory limit. */
  readonly upperSize: string;
  /** The first host id of the ranges that pods with `userns = "auto"` get, and how many ranges of 65536 there are. */
  readonly usernsFirstId: number;
  readonly usernsRanges: number;
  /** The seccomp filter of every container that is not privileged, besides the one of its spec. */
  readonly baseline: BaselineName | 'none';
  /** What becomes of an oom_score_adj that this host does not permit: an error, or the least that it does permit. */
  readonly oomScoreAdj: 'clamp' | 'strict';
  /** Whether containers that start from one archive share a layer that is made of it, or each gets a copy in its upper. */
  readonly seed: 'share' | 'copy';
  /** Where those layers are kept, and how many bytes they may have together. */
  readonly seedLayers: string;
  readonly seedLayersSize: number;
  /** What an archive is known by: its inode, size and times, or its contents. */
  readonly seedIdentity: 'stat' | 'digest';
  /** How many pods of one containerd namespace share a shim process, and how long one stays that has none any more. */
  readonly podsPerShim: number;
  readonly shimLingerSeconds: number;
  /** Who makes the cgroups of containers; see {@link CgroupDriver}. */
  readonly cgroupDriver: CgroupDriver;
  /** Of containerd's options alone: a cgroup that is there, for the sandboxes of pods. They are in silt's own without it. */
  readonly shimCgroup?: string;
  /** CRIU's executable; the one on PATH without it. */
  readonly criu?: string;
}

/** Ids of one pod. */
export const RANGE_SIZE = 65536;
/** The kernel takes no map that ends beyond it (user_namespaces(7)); the number itself stands for "no id". */
const LAST_ID = 0xffff_ffff;

export const DEFAULT_CONFIG_PATH = '/etc/silt/config.toml';

const DEFAULTS: Config = {
  userns: 'auto',
  allowRootfsTarAnnotation: false,
  rootfsTarDirectories: [],
  checkpointDirectories: [],
  overlay: DEFAULT_OVERLAY,
  allowFlagOverride: false,
  upperSize: '50%',
  // Far above the ranges of /etc/subuid and systemd's (uid ranges in systemd's UIDS-GIDS.md end at 0x77777777).
  usernsFirstId: 0x7000_0000,
  usernsRanges: 4096,
  baseline: 'docker',
  oomScoreAdj: 'clamp',
  seed: 'share',
  seedLayers: '/var/lib/silt/layers',
  seedLayersSize: 16 * 2 ** 30,
  seedIdentity: 'stat',
  podsPerShim: 32,
  shimLingerSeconds: 10,
  cgroupDriver: 'auto',
};

/** One entry per key of a file: what it changes, or the end of a sentence that says what is wrong. */
export type ConfigKeys = Readonly<Record<string, (value: unknown) => Partial<Config> | string>>;

const DIRECTORIES = 'must be a list of absolute paths';

const KEYS: ConfigKeys = {
  userns: (value) => (value === 'auto' || value === 'none' ? { userns: value } : 'must be "auto" or "none"'),
  'allow-rootfs-tar-annotation': (value) =>
    typeof value === 'boolean' ? { allowRootfsTarAnnotation: value } : 'must be true or false',
  'rootfs-tar-directories': (value) =>
    areDirectories(value) ? { rootfsTarDirectories: value.map((path) => normalize(path)) } : DIRECTORIES,
  'checkpoint-directories': (value) =>
    areDirectories(value) ? { checkpointDirectories: value.map((path) => normalize(path)) } : DIRECTORIES,
  overlay2: (value) => {
    const overlay = typeof value === 'string' ? parseOverlay2(value) : 'must be a string';
    return typeof overlay === 'string' ? overlay : { overlay };
  },
  'file-access': checkFileAccess,
  'file-access-mounts': checkFileAccess,
  'allow-flag-override': (value) =>
    typeof value === 'boolean' || isStringArray(value)
      ? { allowFlagOverride: value }
      : 'must be true, false or a list of names of flags',
  'upper-size': (value) =>
    typeof value === 'string' && /^\d+([kmg]|%)?$/i.test(value)
      ? { upperSize: value }
      : 'must be a size such as "2g" or "50%"',
  'userns-first-id': (value) =>
    isInteger(value, 65536, 0xfffe_0000) ? { usernsFirstId: value } : 'must be a number from 65536 to 4294836224',
  'userns-ranges': (value) =>
    isInteger(value, 1, 32768) ? { usernsRanges: value } : 'must be a number from 1 to 32768',
  baseline: (value) => {
    const baseline = ([...BASELINES, 'none'] as const).find((name) => name === value);
    return baseline ? { baseline } : 'must be "docker", "strict" or "none"';
  },
  'oom-score-adj': (value) =>
    value === 'clamp' || value === 'strict' ? { oomScoreAdj: value } : 'must be "clamp" or "strict"',
  seed: (value) => (value === 'share' || value === 'copy' ? { seed: value } : 'must be "share" or "copy"'),
  'seed-layers': (value) =>
    typeof value === 'string' && isAbsolute(value) ? { seedLayers: normalize(value) } : 'must be an absolute path',
  'seed-layers-size': (value) => {
    const size = typeof value === 'string' ? parseSize(value) : undefined;
    return size === undefined ? 'must be a size such as "16g"' : { seedLayersSize: size };
  },
  'seed-identity': (value) =>
    value === 'stat' || value === 'digest' ? { seedIdentity: value } : 'must be "stat" or "digest"',
  'pods-per-shim': (value) => (isInteger(value, 1, 1000) ? { podsPerShim: value } : 'must be a number from 1 to 1000'),
  'shim-linger-seconds': (value) =>
    isInteger(value, 0, 86_400) ? { shimLingerSeconds: value } : 'must be a number of seconds from 0 to 86400',
  'cgroup-driver': (value) => {
    const cgroupDriver = CGROUP_DRIVERS.find((name) => name === value);
    return cgroupDriver ? { cgroupDriver } : 'must be "auto", "systemd" or "cgroupfs"';
  },
  criu: (value) =>
    typeof value === 'string' && isAbsolute(value) ? { criu: value } : 'must be an absolute path of an executable',
};

/** gVisor's `--file-access`: mounts are the kernel's own and coherent in both, so it is checked and changes nothing. */
export function checkFileAccess(value: unknown): Partial<Config> | string {
  return value === 'exclusive' || value === 'shared'
    ? {}
    : `must be exclusive or shared; it is ${JSON.stringify(value)}`;
}

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** Bytes of `512m`; undefined for what is no size. */
function parseSize(text: string): number | undefined {
  const [, digits, unit = ''] = /^(\d{1,10})([kmgt]?)$/i.exec(text) ?? [];
  return digits === undefined ? undefined : Number(digits) * UNITS[unit.toLowerCase()]!;
}

function areDirectories(value: unknown): value is string[] {
  return isStringArray(value) && value.every((path) => isAbsolute(path));
}

function isStringArray(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function isInteger(value: unknown, least: number, most: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most;
}

/**
 * Reads the configuration; a file that is not there is the defaults.
 * @param path the file, `SILT_CONFIG` of the environment or /etc/silt/config.toml unless given
 * @throws SiltError CONFIG_INVALID naming file and key.
 */
export function readConfig(path = process.env['SILT_CONFIG'] ?? DEFAULT_CONFIG_PATH): Config {
  try {
    return readConfigFile(path);
  } catch (error) {
    const cause = error instanceof SiltError ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
    if (cause?.code === 'ENOENT') return DEFAULTS;
    throw error;
  }
}

/** Reads a configuration that has to be there. @throws SiltError CONFIG_INVALID naming file and key. */
export function readConfigFile(path: string): Config {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new SiltError(
      'CONFIG_INVALID',
      `cannot read the configuration ${path}: ${(error as Error).message}`,
      { path },
      { cause: error },
    );
  }
  return parseConfig(text, path);
}

/**
 * @param base what holds for the keys that are not there; the defaults unless given
 * @param more keys besides silt's
 * @throws SiltError CONFIG_INVALID naming `path` and the key.
 */
export function parseConfig(text: string, path: string, base = DEFAULTS, more: ConfigKeys = {}): Config {
  let table: Record<string, unknown>;
  try {
    table = parse(text);
  } catch (error) {
    throw new SiltError(
      'CONFIG_INVALID',
      `${path} is not TOML: ${(error as Error).message}`,
      { path },
      { cause: error },
    );
  }
  const keys = { ...KEYS, ...more };
  let config = base;
  for (const [key, value] of Object.entries(table)) {
    const check = Object.hasOwn(keys, key) ? keys[key] : undefined;
    const result = check ? check(value) : `is no key of silt's; the keys are ${Object.keys(KEYS).join(', ')}`;
    if (typeof result === 'string') throw new SiltError('CONFIG_INVALID', `${path}: ${key} ${result}`, { path });
    config = { ...config, ...result };
  }
  if (config.usernsFirstId + config.usernsRanges * RANGE_SIZE > LAST_ID) {
    const message = `${path}: userns-first-id ${config.usernsFirstId} and userns-ranges ${config.usernsRanges} of ${RANGE_SIZE} ids go beyond the last id, ${LAST_ID}`;
    throw new SiltError('CONFIG_INVALID', message, { path });
  }
  return config;
}
