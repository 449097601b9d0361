import path from 'node:path';
import { SiltError } from '../errors';

/** A mount as containerd hands it over: to be applied, in order, at the container's root filesystem. */
export interface EngineMount {
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

/**
 * Takes the engine's root filesystem apart into directories that one overlay can use as its lower layers, the topmost
 * first. containerd's overlay snapshotter gives an overlay mount whose own upper (empty, or holding what `docker commit` and the
 * like put there) becomes the topmost layer; a bind mount is one layer.
 * @param mounts what the engine gave; none means that `rootPath` is ready
 * @param rootPath `root.path` of the spec, absolute or relative to the bundle
 * @throws SiltError ROOTFS_INVALID naming the mount.
 */
export function takeApart(mounts: readonly EngineMount[], rootPath: string | undefined, bundle: string): string[] {
  if (mounts.length === 0) return [path.resolve(bundle, rootPath ?? 'rootfs')];
  if (mounts.length > 1) {
    const types = mounts.map(({ type }) => type).join(', ');
    throw new SiltError(
      'ROOTFS_INVALID',
      `cannot use a root filesystem of ${mounts.length} mounts (${types}); use a snapshotter that gives one, such as overlayfs`,
    );
  }
  const [mount] = mounts as [EngineMount];
  if (mount.type === 'overlay') return overlayLayers(mount);
  if (mount.type === 'bind' || mount.options.includes('bind') || mount.options.includes('rbind')) return [mount.source];
  throw new SiltError(
    'ROOTFS_INVALID',
    `cannot use a root filesystem of type ${mount.type} from ${mount.source}; use a snapshotter that gives overlay or bind mounts, such as overlayfs or native`,
  );
}

function overlayLayers(mount: EngineMount): string[] {
  let upper: string[] = [];
  let lower: string[] = [];
  for (const option of mount.options) {
    if (option.startsWith('lowerdir=')) lower = splitLayers(option.slice('lowerdir='.length));
    else if (option.startsWith('upperdir=')) upper = [unescape(option.slice('upperdir='.length))];
  }
  const layers = [...upper, ...lower];
  if (lower.length === 0)
    throw new SiltError('ROOTFS_INVALID', `the engine's overlay mount has no lowerdir: ${mount.options.join(',')}`);
  const relative = layers.find((layer) => !path.isAbsolute(layer));
  if (relative !== undefined)
    throw new SiltError('ROOTFS_INVALID', `layer ${relative} of the engine's overlay mount is no absolute path`);
  return layers;
}

/** Layers are separated by colons; a colon or backslash in a name is escaped by a backslash (overlayfs.rst). */
function splitLayers(value: string): string[] {
  return (value.match(/(?:\\.|[^\\:])+/g) ?? []).map(unescape);
}

function unescape(layer: string): string {
  return layer.replace(/\\(.)/g, '$1');
}
