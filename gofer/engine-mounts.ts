import path from 'node:path';
import { SiltError } from '../errors';
import { type Mounted, readMounts } from './mounted';

/** A mount as containerd hands it over: to be applied, in order, at the container's root filesystem. */
export interface EngineMount {
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

/** The root filesystem that an engine gave, in directories of the host. */
export interface EngineRoot {
  /** Layers that one overlay can use as its lower ones, the topmost first; absolute. The engine's own upper is the first of them. */
  readonly layers: readonly string[];
  /** What is this container's alone and takes its writes when silt puts no overlay in front; undefined for a read-only view. */
  readonly own: OwnRoot | undefined;
}

export interface OwnRoot {
  /** The upper of the engine's overlay, or the whole root filesystem: the first layer. */
  readonly upper: string;
  /** The work directory of the engine's overlay; undefined when {@link upper} is the whole root filesystem. */
  readonly work: string | undefined;
  /** The upper of the overlay that is mounted at {@link upper}: what was written is to be read there, and not to be changed. */
  readonly changes?: string;
}

/**
 * Takes the engine's root filesystem apart into directories that one overlay can use as its lower layers, the topmost
 * first. containerd's overlay snapshotter gives an overlay mount whose own upper (empty, or holding what `docker commit` and the
 * like put there) becomes the topmost layer; a bind mount is one layer.
 * @param mounts what the engine gave; none means that `rootPath` is ready
 * @param hostMounts what is mounted on the host: a ready root filesystem can be an overlay (Docker's), which is taken apart too
 * @param rootPath `root.path` of the spec, absolute or relative to the bundle
 * @throws SiltError ROOTFS_INVALID naming the mount.
 */
export function takeApart(
  mounts: readonly EngineMount[],
  rootPath: string | undefined,
  bundle: string,
  hostMounts: readonly Mounted[] = readMounts(),
): EngineRoot {
  if (mounts.length === 0) return mountedRoot(path.resolve(bundle, rootPath ?? 'rootfs'), hostMounts);
  if (mounts.length > 1) {
    const types = mounts.map(({ type }) => type).join(', ');
    throw new SiltError(
      'ROOTFS_INVALID',
      `cannot use a root filesystem of ${mounts.length} mounts (${types}); use a snapshotter that gives one, such as overlayfs`,
    );
  }
  const [mount] = mounts as [EngineMount];
  if (mount.type === 'overlay') return overlayRoot(mount);
  if (mount.type === 'bind' || mount.options.includes('bind') || mount.options.includes('rbind'))
    return wholeRoot(mount.source, !mount.options.includes('ro'));
  throw new SiltError(
    'ROOTFS_INVALID',
    `cannot use a root filesystem of type ${mount.type} from ${mount.source}; use a snapshotter that gives overlay or bind mounts, such as overlayfs or native`,
  );
}

function wholeRoot(directory: string, writable: boolean): EngineRoot {
  return { layers: [directory], own: writable ? { upper: directory, work: undefined } : undefined };
}

/** An overlay cannot be idmapped, and a stack of two is slower than one. Its own mount is what is written to without silt's overlay. */
function mountedRoot(directory: string, hostMounts: readonly Mounted[]): EngineRoot {
  const whole = wholeRoot(directory, true);
  const mounted = hostMounts.findLast(({ point }) => point === directory);
  if (mounted?.type !== 'overlay') return whole;
  const { upper, lowers } = overlayDirectories(mounted);
  const layers = [...(upper === undefined ? [] : [upper]), ...lowers];
  // Docker gives relative names when there are very many.
  if (lowers.length === 0 || !layers.every((layer) => path.isAbsolute(layer))) return whole;
  return { layers, own: { upper: directory, work: undefined, ...(upper !== undefined && { changes: upper }) } };
}

/** The directories that an overlay of the host was mounted from, the topmost lower one first. */
export function overlayDirectories({ options }: Mounted): { upper: string | undefined; lowers: string[] } {
  const valuesOf = (key: string): string[] =>
    options.filter((option) => option.startsWith(key)).map((option) => option.slice(key.length));
  // Mounted by the newer calls, each layer has an option of its own.
  const lowers = [...valuesOf('lowerdir=').flatMap(splitLayers), ...valuesOf('lowerdir+=').map(unescape)];
  return { upper: valuesOf('upperdir=').map(unescape)[0], lowers };
}

function overlayRoot(mount: EngineMount): EngineRoot {
  const valueOf = (key: string): string | undefined =>
    mount.options.findLast((option) => option.startsWith(`${key}=`))?.slice(key.length + 1);
  const [upper, work] = [valueOf('upperdir'), valueOf('workdir')].map((value) => value && unescape(value));
  const lower = splitLayers(valueOf('lowerdir') ?? '');
  const layers = [...(upper ? [upper] : []), ...lower];
  if (lower.length === 0)
    throw new SiltError('ROOTFS_INVALID', `the engine's overlay mount has no lowerdir: ${mount.options.join(',')}`);
  const relative = [...layers, ...(work ? [work] : [])].find((layer) => !path.isAbsolute(layer));
  if (relative !== undefined)
    throw new SiltError('ROOTFS_INVALID', `layer ${relative} of the engine's overlay mount is no absolute path`);
  return { layers, own: upper && work ? { upper, work } : undefined };
}

/** Layers are separated by colons; a colon or backslash in a name is escaped by a backslash (overlayfs.rst). */
function splitLayers(value: string): string[] {
  return (value.match(/(?:\\.|[^\\:])+/g) ?? []).map(unescape);
}

function unescape(layer: string): string {
  return layer.replace(/\\(.)/g, '$1');
}
