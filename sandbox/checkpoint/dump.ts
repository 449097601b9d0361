/** Saves a running container to files. */
import {
  chmodSync,
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { SiltError, withContext } from '../../errors';
import type { Spec } from '../../oci';
import { CriuRequestType } from '../../proto/criu';
import { isFrozen, listPids, memoryInUse } from '../cgroup';
import { shownFeatures } from '../cpuid';
import { FreezeRecord } from '../state/freeze';
import { awaitMemory } from '../pager/record';
import { watchProgress } from '../progress';
import type { PendingOutput } from '../terminal/pump';
import { packUpper } from '../snapshot/snapshot';
import { type ContainerState, isSameProcess, type PodState } from '../state/state';
import { openOwner } from '../pod/user-namespace';
import { VERSION } from '../version';
import type { Workshop } from '../workshop';
import { findCriu, requireVersion } from '../criu/criu';
import { nameOfDeleted, saveDeleted } from './deleted';
import { startDumper } from '../criu/dumper';
import { describeMounts, placeInside, refuseForeignMounts, REMADE, saveTemporaryMounts } from './filesystems';
import { keepFailure, keepLog, keepStatistics, type LogSubject } from '../criu/kept-log';
import {
  CHECKPOINT_VERSION,
  describeFiles,
  filesIn,
  type Manifest,
  TERMINAL_OUTPUT,
  UPPER,
  writeManifest,
} from '../checkpoint-image/manifest';
import { MemoryDigests } from '../checkpoint-image/memory-digests';
import { normaliseImages } from '../checkpoint-image/normalise';
import { findOutside, type MountInfo, namespacePids, type Outside, readMounts } from './outside';
import { keepStill } from './standstill';
import { claimTarget, type Target } from './target';
import { separateTerminals } from '../checkpoint-image/terminals';
import { refuseEnginesOverlay, refuseIpc, refuseNamespaces, refuseStrangers } from './refusals';
import type { CriuSession } from '../criu/session';
import { describeWatches, IRMAP_CACHE } from './watches';
import type { WorkPath } from '../criu/work-path';

export interface CheckpointOptions {
  /** The directory that the checkpoint becomes; it may be there and empty. */
  readonly imagePath: string;
  /** Where the caller wants CRIU's log. */
  readonly workPath?: WorkPath | undefined;
  readonly leaveRunning: boolean;
  /** Save established TCP connections; without it there must be none. */
  readonly tcpEstablished?: boolean;
  /** Let unix sockets be whose other end is outside of the container. */
  readonly externalUnixSockets?: boolean;
  /** The caller keeps its processes from running, see {@link keepStill}. */
  readonly still?: boolean;
  /** What its first process has written to its terminal, where that is in this process; it becomes part of the checkpoint. */
  readonly terminalOutput?: PendingOutput | undefined;
  /** Names of further processes (execs), by pid, for messages. */
  readonly execs?: ReadonlyMap<number, string>;
  readonly onWarning?: (message: string) => void;
}

export interface CheckpointSource {
  readonly container: ContainerState;
  readonly pod: PodState;
  readonly spec: Spec;
}

/** CRIU's `manage_cgroups_mode` that leaves cgroups alone: they are silt's. */
export const CGROUPS_IGNORED = 0;
/** CRIU's `network_lock` that leaves the network as it is. */
const NETWORK_LOCK_SKIP = 3;
/** Unlinked files up to this size are saved along. */
const GHOST_LIMIT = 2 ** 30;

/**
 * Saves a container: CRIU dumps its processes, and while they stand still silt saves its upper and its tmpfs mounts. Written to
 * a directory beside the wanted one, put on disk, and renamed: the checkpoint is complete or not there. Whatever fails, the
 * container runs on as before; without `leaveRunning` its processes are killed once the checkpoint is complete.
 * @throws SiltError CHECKPOINT_EXISTS, CHECKPOINT_FAILED, CRIU_UNUSABLE, WRONG_STATE, NO_SPACE.
 */
export async function checkpoint(
  workshop: Workshop,
  source: CheckpointSource,
  options: CheckpointOptions,
): Promise<void> {
  const { container } = source;
  if (!isSameProcess(container.init)) {
    throw new SiltError('WRONG_STATE', `cannot checkpoint container ${container.id}: it is not running`, {
      id: container.id,
    });
  }
  await awaitMemory(workshop.kernel, container);
  const target = claimTarget(options.imagePath);
  let saved = false;
  try {
    const total = Number(memoryInUse(container.cgroup));
    const stopWatching = watchProgress(workshop.onProgress, () => ({ done: sizeBelow(target.temporary), total }));
    await new Dump(workshop, source, options, target).run().finally(stopWatching);
    saved = true;
  } catch (error) {
    saved = target.finished && !isSameProcess(container.init);
    const what = `cannot checkpoint container ${container.id}`;
    // CRIU may fail when the checkpoint has its name already: whichever of the two is left is the container.
    if (saved) throw withContext(`${what} as it should be: it has ended, and ${target.path} is complete`, error);
    target.remove();
    throw withContext(what, error);
  } finally {
    // One that goes on has its output, too; of one that has ended it comes out when that is restored.
    options.terminalOutput?.release(saved && !options.leaveRunning ? 'drop' : 'copy');
  }
}

/** Bytes of the files in a directory and beneath it. */
function sizeBelow(directory: string): number {
  const files = readdirSync(directory, { recursive: true }).map((name) => join(directory, name.toString()));
  return files.reduce((sum, file) => sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0);
}

/** What a running CRIU's dump is made with. */
interface Run {
  /** CRIU's. */
  readonly version: string;
  /** The directory for CRIU's images. */
  readonly images: number;
  readonly digests: MemoryDigests;
}

/** One checkpoint in the making. */
class Dump {
  readonly #images: string;
  readonly #pid: number;

  constructor(
    private readonly workshop: Workshop,
    private readonly source: CheckpointSource,
    private readonly options: CheckpointOptions,
    private readonly target: Target,
  ) {
    this.#images = target.temporary;
    this.#pid = source.container.init.pid;
  }

  async run(): Promise<void> {
    const { kernel, config, state } = this.workshop;
    const { container } = this.source;
    const criu = findCriu(config);
    const network = this.#networkToEnter();
    const images = openSync(this.#images, 'r');
    // CRIU has its end too: should this process die, it still needs them frozen to take everything back.
    const control = kernel.pipe();
    let isLeased = false;
    const session = await startDumper(kernel, criu, { kept: control[1], network })
      .catch((error: unknown) => {
        for (const fd of [images, ...control]) closeSync(fd);
        throw error;
      })
      .finally(() => (network === undefined ? undefined : closeSync(network)));
    const digests = new MemoryDigests(this.#images);
    const freezer = new FreezeRecord(kernel, container.cgroup, state.containerPath(container.pod, container.id));
    let thaw: (() => Promise<void>) | undefined;
    const goOn = async (): Promise<void> => {
      await session.end();
      // CRIU thaws what it has stopped; one that dies in the middle does not freeze it again.
      if (freezer.paused && !isFrozen(container.cgroup)) await freezer.pause();
      await thaw?.();
      thaw = undefined;
    };
    try {
      const version = await requireVersion(session, criu);
      // What is found out of its processes must be so still when CRIU comes to them.
      isLeased = true;
      thaw = await (this.options.still ? freezer.lease(control) : keepStill(this.workshop, this.source, control));
      const finish = await this.#dump(session, { version, images, digests });
      keepLog(session.log, this.#log);
      await goOn();
      await finish();
    } catch (error) {
      const failure = keepFailure(session.log, this.#log, error);
      await goOn();
      if (this.options.tcpEstablished) await this.#unlockConnections();
      throw failure;
    } finally {
      await goOn();
      await digests.end();
      for (const fd of isLeased ? [images] : [images, ...control]) closeSync(fd);
    }
  }

  /** @returns what is left to do when its processes stand still no more. */
  async #dump(session: CriuSession, { version, images, digests }: Run): Promise<() => Promise<void>> {
    const { container, spec } = this.source;
    refuseStrangers(container, this.options.execs);
    refuseEnginesOverlay(container);
    refuseNamespaces(spec);
    const mounts = readMounts(this.#pid);
    refuseForeignMounts(mounts, spec, (path) => placeInside(this.workshop.kernel, this.#pid, path));
    const pids = listPids(container.cgroup);
    const outside = await findOutside({
      pids,
      mounts,
      stdio: container.stdio ?? [],
      hasTerminal: spec.process?.terminal === true,
      upperDevice: container.upper.device,
    });
    await describeWatches(pids, mounts, this.#images);
    let saved: Pick<Manifest, 'filesystems'> | undefined;
    const finish = (): Promise<void> => this.#complete(outside, { version, digests }, saved!);
    await session.request(CriuRequestType.DUMP, this.#criuOptions(images, mounts, outside), async (script) => {
      if (script !== 'post-dump') return;
      refuseIpc(this.#images);
      saved = await this.#saveFiles(mounts, outside);
      // Afterwards CRIU kills the processes: until the checkpoint has its name, they must be able to go on.
      if (!this.options.leaveRunning) await finish();
    });
    if (this.options.leaveRunning) return finish;
    // CRIU has written them since.
    keepStatistics(this.target.path, this.options.workPath);
    return () => Promise.resolve();
  }

  get #log(): LogSubject {
    return { id: this.source.container.id, what: 'dump', workPath: this.options.workPath };
  }

  /**
   * The network namespace that CRIU is to work from, as an fd. Its own it locks connection by connection, for as long as it takes, and until
   * they are restored where the container ends; another one it locks as a whole, and for ever where a pod has it still or CNI.
   * Nor does it take one that was made outside of the container's user namespace (by CNI), which it cannot enter from there.
   */
  #networkToEnter(): number | undefined {
    const { container, pod } = this.source;
    const path = `/proc/${this.#pid}/ns/net`;
    if (this.options.tcpEstablished) return openSync(path, 'r');
    if (pod.idMaps === null || container.hostIds) return undefined;
    const owner = openOwner(this.workshop.kernel, path);
    if (owner === undefined) return openSync(path, 'r');
    closeSync(owner);
    return undefined;
  }

  /** CRIU does it itself unless it was killed. */
  async #unlockConnections(): Promise<void> {
    const { unlockConnections } = await import('./connection-lock');
    await unlockConnections(this.#pid, this.options.onWarning ?? (() => undefined));
  }

  #criuOptions(images: number, mounts: readonly MountInfo[], outside: Outside): object {
    const { container } = this.source;
    const frozen = freezerDirectory(container);
    const network = /\d+/.exec(readlinkSync(`/proc/${this.#pid}/ns/net`))?.[0] ?? '';
    return {
      // CRIU opens it through the /proc entry of whoever made the socket: this process.
      imagesDirFd: images,
      pid: this.#pid,
      leaveRunning: this.options.leaveRunning,
      tcpEstablished: this.options.tcpEstablished ?? false,
      extUnixSk: this.options.externalUnixSockets ?? false,
      // CRIU runs iptables to lock and unlock it, which takes longer than all else; it is for the sake of connections alone.
      ...(this.options.tcpEstablished ? {} : { networkLock: NETWORK_LOCK_SKIP }),
      // They are held by processes of the container on files of the container: nothing else is affected.
      fileLocks: true,
      linkRemap: true,
      ghostLimit: GHOST_LIMIT,
      manageCgroupsMode: CGROUPS_IGNORED,
      ...(frozen === undefined ? {} : { freezeCgroup: frozen }),
      external: [
        `net[${network}]:net`,
        ...mounts.filter(({ point }) => point !== '/').map(({ point }) => `mnt[${point}]:${point}`),
        ...outside.keys,
        ...outside.deleted.map(({ key }) => key),
        ...outside.terminals,
        ...(outside.checkpointFile === undefined ? [] : [outside.checkpointFile]),
      ],
    };
  }

  /** What is in memory apart from processes, while those stand still. */
  async #saveFiles(mounts: readonly MountInfo[], outside: Outside): Promise<Pick<Manifest, 'filesystems'>> {
    const { kernel } = this.workshop;
    const { container, pod, spec } = this.source;
    const onWarning = this.options.onWarning ?? (() => undefined);
    const create = (name: string): number => openSync(join(this.target.temporary, name), 'wx', 0o600);
    const output = this.options.terminalOutput?.hold();
    if (output !== undefined && output.length > 0) writeFileSync(join(this.target.temporary, TERMINAL_OUTPUT), output);
    const out = create(UPPER);
    try {
      await packUpper(kernel, { container, pod }, out, (message, { kind }) =>
        REMADE.includes(kind) ? undefined : onWarning(message),
      );
    } finally {
      closeSync(out);
    }
    const idMaps = container.hostIds ? null : pod.idMaps;
    await saveDeleted(kernel, outside.deleted, { temporary: this.target.temporary, create, idMaps });
    const filesystems = await saveTemporaryMounts(kernel, { pid: this.#pid, spec, mounts, idMaps }, create, onWarning);
    return { filesystems };
  }

  /** Everything is there: makes it ready to be restored, describes it, and gives it its name. */
  async #complete(
    outside: Outside,
    { version: criu, digests }: Omit<Run, 'images'>,
    saved: Pick<Manifest, 'filesystems'>,
  ): Promise<void> {
    const { temporary } = this.target;
    const root = namespacePids(this.#pid).at(-1) ?? 1;
    const keys = outside.deleted.map(({ key }) => key);
    const { stdio, deleted } = await normaliseImages(this.#images, root, outside, keys);
    const terminals = separateTerminals(this.#images, outside.terminals);
    keepStatistics(temporary, this.options.workPath);
    rmSync(join(temporary, IRMAP_CACHE), { force: true });
    // Whoever restores them in a user namespace is not host root: the directory keeps everybody else out.
    for (const name of readdirSync(temporary)) if (name.endsWith('.img')) chmodSync(join(temporary, name), 0o644);
    const { container, spec } = this.source;
    const files = await describeFiles(temporary, filesIn(temporary), (path) => digests.describe(path));
    await writeManifest(temporary, {
      version: CHECKPOINT_VERSION,
      silt: VERSION,
      criu,
      kernel: release(),
      architecture: process.arch,
      created: new Date().toISOString(),
      container: container.id,
      cpuFeatures: shownFeatures(spec.annotations ?? {}, readFileSync('/proc/cpuinfo', 'utf8')),
      spec,
      // A container that an older silt has created had that of the configuration, too.
      baseline: container.baseline ?? this.workshop.config.baseline,
      mounts: describeMounts(spec),
      ...saved,
      stdio,
      deleted: deleted.map(({ key, ...rest }) => ({ ...rest, name: nameOfDeleted(keys.indexOf(key)) })),
      ...(terminals.length === 0 ? {} : { terminals }),
      ...(outside.checkpointFile === undefined ? {} : { checkpointFile: outside.checkpointFile }),
      options: {
        tcpEstablished: this.options.tcpEstablished ?? false,
        externalUnixSockets: this.options.externalUnixSockets ?? false,
      },
      files,
    });
    await this.target.finish();
  }
}

function freezerDirectory({ cgroup }: ContainerState): string | undefined {
  return (cgroup.directories.find(({ controllers }) => controllers.includes('freezer')) ?? cgroup.directories[0])?.path;
}
