/** The plan of a container's root filesystem, and what planning it has to know. */
import type { MountOptions, Spec } from '../oci';
import type { Version } from '../syscall';
import type { DeviceNode } from './devices';
import type { IdMaps } from './id-map';
import type { OverlayView } from './overlay-view';
import type { Owner } from './target';

/** A new filesystem instance at `destination`. */
export interface FilesystemStep {
  readonly kind: 'filesystem';
  readonly type: string;
  readonly destination: string;
  /** Parameters for fsconfig(2), in order; those without a value are flags. */
  readonly data: readonly (readonly [key: string, value: string | undefined])[];
  readonly options: MountOptions;
  /** Whose the filesystem's root directory becomes, where the kernel gives it to the host's root otherwise. */
  readonly chown: Owner | undefined;
  /** SELinux's label for the filesystem's root directory, where it is no parameter. */
  readonly rootLabel?: string;
  /** The fd of this name is the mount, made beforehand by {@link makeFilesystem}: the container's own, or {@link SHARED_MEMORY}. */
  readonly given?: string;
}

/** A host file or directory, or a tree of mounts, at `destination`. */
export interface BindStep {
  readonly kind: 'bind';
  /** A path of the host, or of the container as far as it is built by then. */
  readonly source: string;
  readonly ofContainer?: true;
  readonly destination: string;
  readonly directory: boolean;
  readonly options: MountOptions;
  /** Show the host's ids as others (idmapped mount), or null. */
  readonly idmap: MountIdmap | null;
  /** The source lies on an overlay of these layers alone, and is shown as `inside` of one made of them anew. */
  readonly view?: { readonly layers: readonly Layer[]; readonly inside: string };
  /** The name, in the mount that has the root's upper, of what takes the writes in place of the host's file or directory. */
  readonly overlay?: string;
}

export interface MountIdmap {
  /** The name of the fd of the user namespace whose mappings are meant: the pod's, or one of {@link RootPlan.mountMaps}. */
  readonly userns: string;
  /** The mounts below too. */
  readonly recursive: boolean;
  /** The kernel may be unable to: then the files are shown as nobody's. */
  readonly optional?: boolean;
}

/** Another word on a mount that an earlier step has made: at least its flags. */
export interface RemountStep {
  readonly kind: 'remount';
  readonly destination: string;
  /** For the filesystem itself, as {@link FilesystemStep.data}; empty leaves it alone. */
  readonly data: readonly (readonly [key: string, value: string | undefined])[];
  readonly options: MountOptions;
}

/** `tmpcopyup`: the tmpfs of a mount, which starts with what it covers. */
export interface CopyUp {
  /** The name of the fd that the gofer is given it as. */
  readonly name: string;
  readonly step: FilesystemStep;
}

/** The container's own cgroup, one directory per cgroup v1 hierarchy, on a small tmpfs. */
export interface CgroupV1Step {
  readonly kind: 'cgroup-v1';
  readonly destination: string;
  readonly options: MountOptions;
  readonly view: CgroupV1View;
}

export type MountStep = FilesystemStep | BindStep | CgroupV1Step | RemountStep;

/** What a container sees below /sys/fs/cgroup on a cgroup v1 host. */
export interface CgroupV1View {
  readonly directories: readonly { readonly name: string; readonly hostPath: string }[];
  readonly links: readonly { readonly name: string; readonly target: string }[];
}

export interface Layer {
  /** Absolute, of the host. */
  readonly path: string;
  /** Show the host's ids as the pod's (idmapped mount): not where the engine has given the files to the pod's ids already. */
  readonly idmap: boolean;
}

export interface RootPlan {
  /** Read-only layers, the topmost first. Without an upper the first is the root itself. */
  readonly layers: readonly Layer[];
  /** The names of the upper and the overlay's work directory in the mount that the gofer is given; null: there is no overlay. */
  readonly upper: { readonly fs: string; readonly work: string } | null;
  /** The gofer is given a layer of whiteouts, to lie above the others. */
  readonly cover: boolean;
  /** The kernel needs layers that are attached somewhere, see {@link AttachedOverlays}. */
  readonly attachLayers: boolean;
  /** An empty host directory that the root is attached to while it is built. */
  readonly mountPoint: string;
  /** The pod has a user namespace: layers and volumes are idmapped, the finished tree is locked. */
  readonly userns: boolean;
  /** The pod's root, as the host numbers it. */
  readonly owner: Owner;
  readonly sysctls: readonly (readonly [key: string, value: string])[];
  readonly mounts: readonly MountStep[];
  /** Mappings of mounts that are not the pod's, by the name of the fd that a user namespace with them is given as. */
  readonly mountMaps: Readonly<Record<string, IdMaps>>;
  /** What of the image is to be copied into a filesystem that is given, before the gofer starts. */
  readonly copyUps: readonly CopyUp[];
  readonly devices: readonly DeviceNode[];
  /** Make the usual symlinks of /dev: not when /dev is a bind mount, whose content is the host's business. */
  readonly deviceLinks: boolean;
  /** Whose the terminal is, when there is one. */
  readonly terminal: Owner | undefined;
  /** The terminal is in the devpts that is given: only /dev/console is still to be made. */
  readonly terminalGiven?: boolean;
  /** SELinux's label for what is mounted anew, see {@link labelMount}. */
  readonly mountLabel: string | undefined;
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
  readonly workingDirectory: string;
  readonly readonlyRoot: boolean;
  /** MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE of the root, and whether mounts below it start with it too. */
  readonly propagation: { readonly type: number; readonly recursive: boolean };
}

/** What planning has to know of the host, looked up beforehand so that planning itself is pure. */
export interface RootPlanInput {
  readonly spec: Spec;
  /** The bundle directory: relative bind sources start there. */
  readonly bundle: string;
  readonly layers: readonly string[];
  /** Who owns what is at an absolute host path; undefined when there is nothing. */
  readonly ownerOf: (hostPath: string) => Owner | undefined;
  readonly upper: RootPlan['upper'];
  readonly cover: boolean;
  readonly kernel: Version;
  readonly mountPoint: string;
  /** The pod's ids, or null when it has no user namespace. */
  readonly idMaps: IdMaps | null;
  /** 'directory', 'file' (a regular one), 'other', or undefined when there is nothing at an absolute host path (symlinks followed). */
  readonly kindOf: (hostPath: string) => 'directory' | 'file' | 'other' | undefined;
  /** See {@link overlayView}; for an absolute host path. */
  readonly viewOf: (hostPath: string) => OverlayView | undefined;
  readonly isTmpfs: (hostPath: string) => boolean;
  /** Writes to bind mounts do not reach the host (`--overlay2=all`). */
  readonly overlayVolumes: boolean;
  /** Where a mount has to go instead of its destination, see mountPlaces of sandbox/; undefined for nearly all. */
  readonly placeOf: (destination: string) => string | undefined;
  /** The mode of a directory of the image, by its absolute path; undefined when there is none. */
  readonly modeOf: (directory: string) => number | undefined;
  /** The tmpfs that the spec mounts at this destination is the pod's, not the container's own. */
  readonly sharedMemory?: string | undefined;
  /** How the container's cgroup is shown: v1 directories, or a cgroup2 mount in the container's cgroup namespace. */
  readonly cgroup: CgroupV1View | 'v2';
}
