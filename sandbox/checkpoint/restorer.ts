/** CRIU that restores, in the pod, and the holder of the mount namespace beside it. */
import { closeSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { nativeDirectory } from '../../native';
import { C, type Kernel, type Report, type Started } from '../../syscall';
import { type StartedPager, startPager } from '../pager';
import type { Pod } from '../pod/pod';
import { Process, pidOf } from '../process/process';
import { CRIU_FDS, CRIU_PATHS, type CriuCommand, FIRST_INHERITED_FD, restoreProgram } from '../programs/criu';
import { LAUNCH_FDS } from '../programs/launch';
import { awaitReports } from '../process/started';
import { makeCriuRun, openCriuLog } from '../criu/criu-run';
import type { InheritedFile } from './deleted';
import { CGROUPS_IGNORED } from './dump';
import { unusable } from '../criu/dumper';
import { terminalsOf } from '../checkpoint-image/manifest';
import { inheritKey } from '../checkpoint-image/normalise';
import type { LazyMemory } from './lazy';
import { namespacePids } from './outside';
import type { RestoreRequest } from './restore-request';
import type { Prepared } from './restored-mounts';
import { CriuSession } from '../criu/session';

/** What CRIU is given in place of the files that the processes had from outside. */
export function inheritedFiles({ image, stdio, checkpointFile }: RestoreRequest, prepared: Prepared): InheritedFile[] {
  const { manifest } = image;
  const files = manifest.stdio.flatMap((name): InheritedFile[] => {
    const fd = stdio[name];
    return fd === undefined ? [] : [{ key: inheritKey(name), fd }];
  });
  terminalsOf(manifest).forEach(({ key }, i) => files.push({ key, fd: prepared.slaves[i]! }));
  if (manifest.checkpointFile !== undefined && checkpointFile !== undefined)
    files.push({ key: manifest.checkpointFile, fd: checkpointFile });
  files.push(...prepared.deleted);
  return files;
}

export function criuOptions(
  { plan, image }: RestoreRequest,
  holder: Process,
  inherited: readonly InheritedFile[],
  lazy: boolean,
): object {
  const { options } = image.manifest;
  return {
    ...(lazy ? { lazyPages: true, configFile: `${CRIU_PATHS.run}/${CONFIGURATION}` } : {}),
    imagesDir: `${CRIU_PATHS.run}/${IMAGES_LINK}`,
    rstSibling: true,
    manageCgroupsMode: CGROUPS_IGNORED,
    tcpEstablished: options.tcpEstablished,
    extUnixSk: options.externalUnixSockets,
    fileLocks: true,
    linkRemap: true,
    // A user namespace's root is host root no more, and CRIU asks before it assumes what it may.
    unprivileged: plan.userns,
    joinNs: [{ ns: 'mnt', nsFile: `${namespacePids(holder.pid).at(-1)}` }],
    inheritFd: inherited.map(({ key }, i) => ({ key, fd: FIRST_INHERITED_FD + i })),
  };
}

/** CRIU 4.1 wants the image directory to be a symlink, as it is in /proc. */
const IMAGES_LINK = 'images';
/** CRIU's working directory, where it looks for the pager, can be given to it in a file only (or by an fd of a process that it sees). */
const CONFIGURATION = 'restore.conf';
/** See native/lazy.c. */
const PRELOADED = 'silt-lazy.so';

/** @param lazy if the memory is brought by a pager, which is started too */
export async function startRestorer(
  kernel: Kernel,
  pod: Pod,
  request: RestoreRequest,
  criu: CriuCommand,
  inherited: readonly InheritedFile[],
  handover: number,
  lazy: LazyMemory | undefined,
): Promise<{ session: CriuSession; holder: Process; started: Started; pager: StartedPager | undefined }> {
  const { plan, image } = request;
  const [mine, rpc] = kernel.socketPair();
  const run = makeCriuRun(kernel, plan.root.owner);
  const log = openCriuLog(run);
  symlinkSync(CRIU_PATHS.images, `/proc/self/fd/${run}/${IMAGES_LINK}`);
  const names = inherited.map((_, i) => `inherited-${i}`);
  const processes: Partial<Record<string, Process>> = {};
  let pager: StartedPager | undefined;
  let preload: string | undefined;
  const onReport = ({ name, fds }: Report): boolean => {
    if (name !== 'criu' && name !== 'holder') return false;
    processes[name] = new Process(kernel, pidOf(fds[0]!), fds[0]!);
    return true;
  };
  const abort = (): void => {
    for (const process of Object.values(processes)) if (process && !process.exit) kernel.signal(process.fd, C.SIGKILL);
  };
  try {
    if (lazy !== undefined) {
      if (lazy.device !== undefined) {
        const library = readFileSync(join(nativeDirectory(), PRELOADED));
        writeFileSync(`/proc/self/fd/${run}/${PRELOADED}`, library, { mode: 0o755 });
        preload = `${CRIU_PATHS.run}/${PRELOADED}`;
      }
      writeFileSync(`/proc/self/fd/${run}/${CONFIGURATION}`, `work-dir ${CRIU_PATHS.run}\n`, { mode: 0o644 });
      const { stateDirectory: directory, lifetime } = request;
      pager = startPager(kernel, { image: image.directory, run, directory, lifetime, device: lazy.device });
    }
    const started = kernel.start(restoreProgram(plan, criu, image.process, names, preload), {
      [LAUNCH_FDS.sandbox]: pod.sandbox.fd,
      [CRIU_FDS.rpc]: rpc,
      [CRIU_FDS.run]: run,
      [CRIU_FDS.log]: log,
      [CRIU_FDS.handover]: handover,
      ...Object.fromEntries(inherited.map(({ fd }, i) => [names[i]!, fd])),
    });
    await awaitReports(kernel, started, ['holder', 'criu'], { what: 'starting CRIU', onReport, abort });
    const session = new CriuSession(kernel, processes['criu']!, mine, run);
    return { session, holder: processes['holder']!, started, pager };
  } catch (error) {
    await pager?.end();
    closeSync(mine);
    for (const process of Object.values(processes)) await process?.exited;
    closeSync(run);
    throw unusable(criu, error);
  } finally {
    for (const fd of [rpc, log, handover]) closeSync(fd);
  }
}
