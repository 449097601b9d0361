/** Bind mounts: whose they are shown as, and where their writes go. */
import path from 'node:path';
import { SiltError } from '../errors';
import type { Mount, MountOptions, Spec } from '../oci';
import { C, isAtLeast, type Version } from '../syscall';
import { USERNS } from './fds';
import { type IdMaps, type IdRange, rangesToHost, sameMaps } from './id-map';
import { hostOwner, invalid, isPodRoots, isPods } from './owners';
import type { BindStep, MountStep, RootPlan, RootPlanInput } from './root-plan';

/** A bind mount whose mappings have no name yet. */
export type PlannedMount = MountStep | (BindStep & { readonly maps: IdMaps });

/** @throws SiltError SPEC_INVALID, SPEC_UNSUPPORTED naming the JSON path. */
export function planBind(
  mount: Mount,
  destination: string,
  named: MountOptions,
  jsonPath: string,
  input: RootPlanInput,
  earlier: readonly PlannedMount[],
): PlannedMount {
  const options = withItsFlagsAlone(named, input.spec);
  if (!mount.source) throw invalid(`${jsonPath}.source`, 'a bind mount needs a source');
  const source = path.resolve(input.bundle, mount.source);
  const { spec, bundle, mountPoint } = input;
  const inside =
    pathBelow(mountPoint, source) ?? (spec.root && pathBelow(path.resolve(bundle, spec.root.path), source));
  if (inside !== undefined) return planInnerBind(mount, { inside, destination, options, jsonPath }, input, earlier);
  const kind = input.kindOf(source);
  if (kind === undefined)
    throw invalid(`${jsonPath}.source`, `there is nothing at ${source} to bind to ${destination}`);
  const overlaid = input.overlayVolumes && kind !== 'other' && isOverlaid(source, destination, options);
  if (overlaid && options.propagation.some((type) => (type & C.MS_SHARED) !== 0)) {
    const message = `${jsonPath}.options: with overlay2=all the writes to ${destination} do not reach the host, so mounts in it cannot either: shared propagation needs overlay2=root:…`;
    throw new SiltError('SPEC_UNSUPPORTED', message, { jsonPath: `${jsonPath}.options` });
  }
  const overlay = overlaid ? { overlay: `volume${jsonPath.replace(/\D+/g, '-').replace(/-$/, '')}` } : {};
  const withMappings = (mount.uidMappings ?? []).length > 0;
  // Mappings are the top mount's unless `ridmap` says so (OCI runtime spec, config, "Linux mount options"); nobody has asked for silt's own.
  const recursive = options.idmap === 'tree' || (options.idmap === 'none' && !withMappings && options.recursive);
  const plain = { kind: 'bind', source, destination, directory: kind === 'directory', options, ...overlay } as const;
  const maps = mapsOfMount(mount, jsonPath, input);
  const asked = options.idmap !== 'none' || withMappings;
  const shown = input.idMaps !== null && (asked || (isShownUnasked(input.spec) && !isKernelFilesystem(source)));
  if ((maps !== undefined || shown) && isShownAlready(source, input)) return { ...plain, idmap: null };
  const view = maps !== undefined || shown ? planView(source, options, input) : {};
  const step = { ...plain, ...view };
  if (maps !== undefined) return { ...step, idmap: { userns: '', recursive }, maps };
  const optional = !asked && !mapsTmpfs(input.kernel) && input.isTmpfs(source) ? { optional: true } : {};
  return { ...step, idmap: shown ? { userns: USERNS, recursive, ...optional } : null };
}

/**
 * A bind mount without flags has those of its source. One with any has these alone, as with runc: a volume whose options say `rw` can be written
 * to and executed from whatever the host mounted it with. In a user namespace that the spec asks for those stay that the kernel would lock there
 * (mount_namespaces(7)).
 */
function withItsFlagsAlone(options: MountOptions, spec: Spec): MountOptions {
  const { attrSet, attrClear } = options;
  if ((attrSet | attrClear) === 0) return options;
  const others = C.MOUNT_ATTR_NOSYMFOLLOW | (isChosenBySilt(spec) ? LOCKED : 0);
  return { ...options, attrClear: attrClear | (others & ~attrSet) };
}

const LOCKED = C.MOUNT_ATTR_RDONLY | C.MOUNT_ATTR_NOSUID | C.MOUNT_ATTR_NODEV | C.MOUNT_ATTR_NOEXEC;

/** What is at a path below a directory, as an absolute path from there; undefined for what is elsewhere. */
export function pathBelow(directory: string, file: string): string | undefined {
  return directory !== '/' && file.startsWith(`${directory}/`) ? file.slice(directory.length) : undefined;
}

/**
 * A bind mount of what is in the container's own root filesystem, maybe by an earlier mount. It has the container's owners already, and its links lead
 * where they lead inside.
 */
function planInnerBind(
  mount: Mount,
  place: { inside: string; destination: string; options: MountOptions; jsonPath: string },
  input: RootPlanInput,
  earlier: readonly PlannedMount[],
): PlannedMount {
  const { inside, destination, options, jsonPath } = place;
  const kind = kindInside(inside, input, earlier);
  if (kind === undefined)
    throw invalid(`${jsonPath}.source`, `there is nothing at ${inside} of the container to bind to ${destination}`);
  const directory = kind === 'directory';
  const step = { kind: 'bind', source: inside, ofContainer: true, destination, directory, options } as const;
  const maps = mapsOfMount(mount, jsonPath, input);
  return maps === undefined
    ? { ...step, idmap: null }
    : { ...step, idmap: { userns: '', recursive: options.idmap === 'tree' }, maps };
}

/** What the last mount at a place, or above it, puts there; the image without one. */
function kindInside(
  inside: string,
  { kindOf, mountPoint }: RootPlanInput,
  earlier: readonly PlannedMount[],
): ReturnType<RootPlanInput['kindOf']> {
  const below = (place: string): boolean => place === inside || inside.startsWith(`${place}/`);
  const over = earlier.findLast((step) => step.kind !== 'remount' && below(step.destination));
  if (over === undefined) return kindOf(`${mountPoint}${inside}`);
  const rest = inside.slice(over.destination.length);
  if (over.kind !== 'bind') return rest === '' ? 'directory' : undefined;
  if (over.ofContainer) return rest === '' ? (over.directory ? 'directory' : 'file') : 'directory';
  return kindOf(`${over.source}${rest}`);
}

/**
 * Whether volumes without mappings are shown with the owners of the user namespace all the same. Whoever asks for one has given his volumes to its ids, or
 * says by mappings that they are to be shown as such: the rest is what it is, as with runc, or Docker's `userns-remap` would not keep
 * containers from files of the host's root. But containerd's CRI leaves files that it makes for a pod to the host's root.
 */
function isShownUnasked(spec: Spec): boolean {
  return (
    isChosenBySilt(spec) || Object.keys(spec.annotations ?? {}).some((name) => name.startsWith('io.kubernetes.cri'))
  );
}

/** Whether the spec knows nothing of the user namespace that the container has. */
function isChosenBySilt({ linux }: Spec): boolean {
  return !linux?.namespaces?.some(({ type }) => type === 'user');
}

/** From Linux 6.3 on mounts of a tmpfs can be idmapped. Secrets and tokens of Kubernetes are on one in nearly every pod. */
function mapsTmpfs(kernel: Version): boolean {
  return isAtLeast(kernel, [6, 3]);
}

/**
 * What is to be said of volumes that are shown without the pod's owners; see {@link MountIdmap}. It is the stricter of both: nobody's
 * files are open to the pod as far as they are to everybody.
 */
export function unmappedVolumes({ mounts }: Pick<RootPlan, 'mounts'>): string[] {
  return mounts.flatMap((step) =>
    step.kind === 'bind' && step.idmap?.optional
      ? `the volume ${step.source} is on a tmpfs, whose owners kernels before 6.3 cannot show as a pod with a user namespace numbers them: in ${step.destination} files are nobody’s (65534); use another filesystem, or set userns = "none" in silt’s configuration`
      : [],
  );
}

/**
 * An overlay of layers that show the pod's owners: containerd 2.1.9 and 2.4 have made images that are volumes so. It cannot be idmapped, and the
 * layers are not found any more where they were while it was made.
 */
function isShownAlready(source: string, { viewOf, ownerOf, idMaps }: RootPlanInput): boolean {
  return idMaps !== null && isPods(ownerOf(source), idMaps) && viewOf(source) !== undefined;
}

/** Files of an image that is a volume, see {@link overlayView}. */
function planView(
  source: string,
  { attrSet, recursiveAttrSet }: MountOptions,
  { viewOf, ownerOf, idMaps }: RootPlanInput,
): Pick<BindStep, 'view'> {
  const view = viewOf(source);
  const readOnly = ((attrSet | recursiveAttrSet) & C.MOUNT_ATTR_RDONLY) !== 0;
  if (view === undefined || (view.upper !== undefined && !readOnly)) return {};
  const podRoot = hostOwner(idMaps, 0, 0, '$.mounts');
  const layers = view.layers.map((layer) => ({
    path: layer,
    idmap: idMaps === null || !isPodRoots(ownerOf(layer), podRoot),
  }));
  return { view: { layers, inside: view.inside } };
}

/**
 * Would writes reach files of the host's? What is bound below /dev is the pod's shared memory, a device, or the file for the message
 * that the kubelet reads when a container has ended.
 */
function isOverlaid(source: string, destination: string, { attrSet, recursiveAttrSet }: MountOptions): boolean {
  const readOnly = ((attrSet | recursiveAttrSet) & C.MOUNT_ATTR_RDONLY) !== 0;
  return !readOnly && !isKernelFilesystem(source) && !destination.startsWith('/dev/');
}

/**
 * The mappings that a mount has of its own, as the host numbers ids; undefined when they are the pod's, or there are none. Whoever
 * wrote a spec without a user namespace does not know of the one that silt chose: what are the host's ids to that spec are the
 * container's.
 */
function mapsOfMount(mount: Mount, jsonPath: string, { spec, idMaps }: RootPlanInput): IdMaps | undefined {
  const { uidMappings = [], gidMappings = [] } = mount;
  if (uidMappings.length === 0 || gidMappings.length === 0) return undefined;
  const translate = (ranges: readonly IdRange[], ofPod: readonly IdRange[], key: string): readonly IdRange[] => {
    const found = rangesToHost(ranges, ofPod);
    if (found !== undefined) return found;
    throw invalid(`${jsonPath}.${key}`, 'has host ids that are not in the user namespace of the container');
  };
  const maps =
    idMaps !== null && isChosenBySilt(spec)
      ? {
          uids: translate(uidMappings, idMaps.uids, 'uidMappings'),
          gids: translate(gidMappings, idMaps.gids, 'gidMappings'),
        }
      : { uids: uidMappings, gids: gidMappings };
  return idMaps !== null && sameMaps(maps, idMaps) ? undefined : maps;
}

/** /proc, /sys and /dev of the host cannot be idmapped, and nobody expects their owners to be translated. */
function isKernelFilesystem(source: string): boolean {
  return ['/proc', '/sys', '/dev'].some((top) => source === top || source.startsWith(`${top}/`));
}
