import {
  closeSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import type { IdMaps } from '../../gofer';
import { parseResources, parseSpec, readBundle, type Resources, type Spec } from '../../oci';
import type { FailureNames, Kernel } from '../../syscall';
import type { Cgroup } from '../cgroup';
import type { Config } from '../config/config';
import type { PodNamespaces } from '../pod/pod';
import { isZombie, startTimeOf } from '../process/process';
import { removeFilestore } from './filestores';
import { DEFAULT_ROOT } from './root';

/** Format of the state files. A silt reads every format up to its own and refuses newer ones by name. */
const VERSION = 1;

/** A process as state files record it: the start time tells it from a later one with the same pid. */
export interface RecordedProcess {
  readonly pid: number;
  readonly startTime: string;
}

/** Names of pods that are being taken down: this, the pid of who does it, and the pod's. */
const GONE = '.gone-';
/** A file in a pod's directory while the holder of the pod's lock waits for a hook: its pid. See waitingForHook. */
export const HOOK_WAIT = 'hook-wait';
/** Who signals a container may be taking a lease on its freezer: files can appear in a directory while it is being removed. */
const WHOLE = { recursive: true, force: true, maxRetries: 100, retryDelay: 0 } as const;
/** What a pod's directory may have before its state is in it. */
const UNFINISHED: readonly string[] = ['pod.json.new', 'abandoned', HOOK_WAIT];

/** Recorded while there is no process yet. */
export const NO_PROCESS: RecordedProcess = { pid: 0, startTime: '' };

/** Recorded while a container has no upper, or for good when its writes go to a root filesystem that is no overlay. */
export const NO_UPPER = { path: '', device: 0 } as const;

/** `pod.json`. */
export interface PodState {
  readonly version: number;
  readonly id: string;
  readonly sandbox: RecordedProcess;
  readonly idMaps: IdMaps | null;
  /** What the sandbox holds; silt wrote it not from the first version on. */
  readonly namespaces?: PodNamespaces;
  /** Number of the range in IdRanges that the pod has, to be released. */
  readonly idRange?: number;
  /** Where the shim that keeps the pod listens; none for a pod of the command line. */
  readonly socket?: string;
  /** The process of that shim; silt wrote it not from the first version on. */
  readonly shim?: RecordedProcess;
}

/** `<container id>/container.json` in the pod's directory. */
export interface ContainerState {
  readonly version: number;
  readonly id: string;
  readonly pod: string;
  readonly bundle: string;
  readonly init: RecordedProcess;
  readonly created: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly cgroup: Cgroup;
  /**
   * The upper in the sandbox's mount namespace, and the device number that it must still have there; or, on the host, that of an
   * overlay that the engine has mounted.
   */
  readonly upper: { readonly path: string; readonly device: number; readonly onHost?: boolean };
  /** Its ids are the host's, though its pod has a user namespace. */
  readonly hostIds?: boolean;
  /** The configuration's when it was created. */
  readonly baseline?: Config['baseline'];
  /** A file on the host that goes with the container, as an absolute path. */
  readonly filestore?: string;
  /** Inodes of the pipes and sockets that the first process was given as its stdio. */
  readonly stdio?: readonly number[];
  /** What can still fail when the container is started from another process; see StartSocket. */
  readonly startFailures?: FailureNames;
  /** Keeps the container from running on without its memory while that is still brought; see pager. */
  readonly pager?: RecordedProcess;
  /** It has a checkpoint file, see application/. */
  readonly checkpointFile?: boolean;
  /** The shared layer that the upper lies on, the file that says so, and the layers of the image below it. */
  readonly seedLayer?: { readonly path: string; readonly use: string; readonly image: readonly string[] };
}

/**
 * The directory of a pod's state: `<root>/<pod id>/`, with `pod.json`, a directory per container, and the place where a
 * container's root is assembled.
 */
export class StateDirectory {
  constructor(readonly root: string) {}

  podPath(pod: string): string {
    return join(this.root, pod);
  }

  containerPath(pod: string, id: string): string {
    return join(this.root, pod, id);
  }

  /** Makes a container's directory with its mount point, and returns the mount point. @throws CONTAINER_EXISTS. */
  addContainer(pod: string, id: string): string {
    const path = this.containerPath(pod, id);
    mkdirSync(this.podPath(pod), { recursive: true, mode: 0o711 });
    try {
      mkdirSync(path, { mode: 0o700 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      throw new SiltError(
        'CONTAINER_EXISTS',
        `container ${id} exists already in ${path}; delete it first or choose another id`,
        { id, path },
      );
    }
    const mountPoint = join(path, 'rootfs');
    mkdirSync(mountPoint, { mode: 0o700 });
    return mountPoint;
  }

  addPod(state: Omit<PodState, 'version'>): void {
    mkdirSync(this.podPath(state.id), { recursive: true, mode: 0o711 });
    writeWhole(join(this.podPath(state.id), 'pod.json'), { version: VERSION, ...state });
  }

  writeContainer(state: Omit<ContainerState, 'version'>): void {
    writeWhole(join(this.containerPath(state.pod, state.id), 'container.json'), { version: VERSION, ...state });
  }

  /** Keeps the spec that a container is made from: its bundle may change, and commands that come later need it. */
  writeSpec(pod: string, id: string, spec: Spec): void {
    writeWhole(join(this.containerPath(pod, id), 'config.json'), spec);
  }

  /** An older silt did not keep it: then it is the bundle's. @throws SiltError SPEC_INVALID when that is gone. */
  readSpec({ pod, id, bundle }: Pick<ContainerState, 'pod' | 'id' | 'bundle'>): Spec {
    const path = join(this.containerPath(pod, id), 'config.json');
    if (!existsSync(path)) return readBundle(bundle);
    return parseSpec(readState(path, `spec of container ${id}`), path);
  }

  /** The rules for devices that a container was last given, by its spec or by an update. @throws SiltError as readSpec. */
  readDevices(container: Pick<ContainerState, 'pod' | 'id' | 'bundle'>): Resources['devices'] {
    const path = this.#devicesPath(container);
    if (!existsSync(path)) return this.readSpec(container).linux?.resources?.devices;
    return parseResources(readState(path, `devices of container ${container.id}`), path).devices;
  }

  writeDevices(container: Pick<ContainerState, 'pod' | 'id'>, devices: Resources['devices']): void {
    writeWhole(this.#devicesPath(container), { devices });
  }

  #devicesPath({ pod, id }: Pick<ContainerState, 'pod' | 'id'>): string {
    return join(this.containerPath(pod, id), 'devices.json');
  }

  /** Removes what is recorded of a container, with its filestore and its claim to the layer that it lay on. */
  removeContainer(pod: string, id: string): void {
    const recorded = ifFound(() => this.#readContainer({ pod, id }));
    if (recorded?.filestore !== undefined) removeFilestore(recorded.filestore);
    if (recorded?.seedLayer !== undefined) rmSync(recorded.seedLayer.use, { force: true });
    rmSync(this.containerPath(pod, id), WHOLE);
  }

  removePod(pod: string): void {
    rmSync(this.podPath(pod), WHOLE);
  }

  /** @throws SiltError CONTAINER_NOT_FOUND. */
  readPod(pod: string): PodState {
    return readVersioned(join(this.podPath(pod), 'pod.json'), `pod ${pod}`) as PodState;
  }

  /** The pod as far as its state was written; for cleaning up after a shim that died at any moment. */
  podIfAny(pod: string): PodState | undefined {
    return ifFound(() => this.readPod(pod));
  }

  /** The container with exactly this id, as far as its state was written. */
  containerIfAny(id: string): ContainerState | undefined {
    const found = this.#containers().find((one) => one.id === id);
    return found && ifFound(() => this.#readContainer(found));
  }

  /** Is there a directory of this pod? */
  hasPod(pod: string): boolean {
    return existsSync(this.podPath(pod));
  }

  /** All pods whose state can be read. */
  pods(): PodState[] {
    return this.podIds().flatMap((pod) => ifFound(() => this.readPod(pod)) ?? []);
  }

  /** All directories that are pods, or are about to be, or were when something was killed. */
  podIds(): string[] {
    return directories(this.root).filter((name) => !name.startsWith(GONE));
  }

  /** Removes what is left of pods that a process was taking down when it was killed. */
  removeGone(): void {
    for (const name of directories(this.root).filter((one) => one.startsWith(GONE))) {
      const pid = name.slice(GONE.length).split('-')[0]!;
      if (startTimeOf(Number(pid)) === undefined) rmSync(join(this.root, name), { recursive: true, force: true });
    }
  }

  /** Removes a pod's directory, whole at once: nobody sees a part of it, or removes what a later pod of the name has made. */
  takeDownPod(pod: string): void {
    const gone = join(this.root, `${GONE}${process.pid}-${pod}`);
    try {
      renameSync(this.podPath(pod), gone);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    rmSync(gone, WHOLE);
  }

  /** Is there nothing at the place of this pod's state, or a directory in which none was ever completed? */
  isUnused(pod: string): boolean {
    return !existsSync(this.podPath(pod)) || readdirSync(this.podPath(pod)).every((name) => UNFINISHED.includes(name));
  }

  /** Ids of the containers that have a directory in the pod's. */
  containersOf(pod: string): string[] {
    return directories(this.podPath(pod));
  }

  /** All containers, those of one pod together. */
  containers(): ContainerState[] {
    return this.#containers().flatMap((one) => ifFound(() => this.#readContainer(one)) ?? []);
  }

  /**
   * A container by its id, or by a prefix that only one container has.
   * @throws SiltError CONTAINER_NOT_FOUND; REQUEST_INVALID when a prefix fits several.
   */
  findContainer(idOrPrefix: string): ContainerState {
    const all = this.#containers();
    const exact = all.find(({ id }) => id === idOrPrefix);
    const fitting = exact ? [exact] : all.filter(({ id }) => idOrPrefix !== '' && id.startsWith(idOrPrefix));
    if (fitting.length > 1) {
      const ids = fitting.map(({ id }) => id).join(', ');
      throw new SiltError('REQUEST_INVALID', `${idOrPrefix} is the beginning of several container ids: ${ids}`, {
        id: idOrPrefix,
      });
    }
    const [found] = fitting;
    if (!found) {
      const message = `container ${idOrPrefix} does not exist in ${this.root}; containers of containerd are found with --root ${DEFAULT_ROOT}/<namespace>`;
      throw new SiltError('CONTAINER_NOT_FOUND', message, { id: idOrPrefix, path: this.root });
    }
    return this.#readContainer(found);
  }

  #readContainer({ pod, id }: { pod: string; id: string }): ContainerState {
    return readVersioned(join(this.containerPath(pod, id), 'container.json'), `container ${id}`) as ContainerState;
  }

  /** Those whose state has been written: what else is below the root (another containerd namespace, say) is none of it. */
  #containers(): { pod: string; id: string }[] {
    const all = this.podIds().flatMap((pod) => directories(this.podPath(pod)).map((id) => ({ pod, id })));
    return all.filter(({ pod, id }) => existsSync(join(this.containerPath(pod, id), 'container.json')));
  }
}

function ifFound<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof SiltError && error.code === 'CONTAINER_NOT_FOUND') return undefined;
    throw error;
  }
}

/** Is this still the process that was recorded, and has it not ended? A zombie has: whose child it is reaps it when it likes. */
export function isSameProcess(recorded: RecordedProcess): boolean {
  return recorded.pid !== NO_PROCESS.pid && startTimeOf(recorded.pid) === recorded.startTime && !isZombie(recorded.pid);
}

/** A pidfd of the recorded process, the caller's to close; undefined when it has ended, a zombie included. */
export function openRecorded(kernel: Kernel, recorded: RecordedProcess): number | undefined {
  if (!isSameProcess(recorded)) return undefined;
  let fd: number;
  try {
    fd = kernel.pidfdOpen(recorded.pid);
  } catch (error) {
    if (error instanceof SiltError && error.code === 'PROCESS_NOT_FOUND') return undefined;
    throw error;
  }
  // The pid may have changed hands before it was opened; from here on it cannot.
  if (isSameProcess(recorded)) return fd;
  closeSync(fd);
  return undefined;
}

/** The process by its pid and start time; without a start time when it is gone already, which is no process ever. */
export function recordProcess(pid: number): RecordedProcess {
  return { pid, startTime: startTimeOf(pid) ?? '' };
}

function directories(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  } catch {
    return [];
  }
}

/** V8 has this since Node 21; the type library does not yet. */
declare global {
  interface JSON {
    rawJSON(text: string): object;
  }
}

/** Integers beyond 2^53, as specs have them, which parseJson reads again. */
function exactly(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? JSON.rawJSON(`${value}`) : value;
}

/** Written aside and renamed, so that a reader sees the old or the new state and nothing between. */
function writeWhole(path: string, state: object): void {
  writeFileSync(`${path}.new`, JSON.stringify(state, exactly), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

function readState(path: string, what: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const message = `there is no ${what}: ${(error as Error).message}`;
    throw new SiltError('CONTAINER_NOT_FOUND', message, { path }, { cause: error });
  }
}

function readVersioned(path: string, what: string): object {
  const state = JSON.parse(readState(path, what)) as { version: number };
  if (state.version > VERSION) {
    const message = `${what} was started by a newer silt (state version ${state.version}, this one knows ${VERSION}); use that one`;
    throw new SiltError('WRONG_STATE', message, { path });
  }
  return state;
}
