import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError, type ErrorCode, errorTable, type ErrorDetails } from '../../errors';
import type { IdMaps } from '../../gofer';
import { nativeDirectory } from '../../native';
import { C, type Kernel, type Report, type Started } from '../../syscall';
import type { CgroupEntry } from '../cgroup';
import { SHORT_RUN_FLAGS } from '../archive/short-run';
import { performPrivileged } from '../archive/unpack/privileged';
import { Process, pidOf } from '../process/process';
import { watchProgress } from '../progress';
import { UNPACK_FDS, unpackProgram } from '../programs/unpack';
import { awaitReports } from '../process/started';
import { type AllowedDevice, parseRequest, type UnpackerRights } from './unpacker-requests';
import type { UnpackerOrders, UnpackerResult } from './unpacker-main';
import type { Workshop } from '../workshop';

export interface UnpackRequest {
  /** A plain, gzip or zstd tar, in a regular file. Borrowed. */
  readonly archive: number;
  /** The directory to unpack to. Borrowed. */
  readonly directory: number;
  /** The ids that the archive's are. */
  readonly idMaps: IdMaps;
  /** The directory is the root of a detached mount: it is idmapped for the unpacker, so that on disk the archive's ids stand. */
  readonly idmapped: boolean;
  readonly cgroup: CgroupEntry;
  /** Device nodes that the archive may hold besides whiteouts. */
  readonly devices: readonly AllowedDevice[];
  /** How much all files together may hold. */
  readonly maxBytes: number;
  /** The directory is of an overlay that is mounted. */
  readonly merged?: boolean;
  /** How many processes of the unpacker's cgroup the OOM killer has killed, see oomKills. */
  readonly oomKills: () => bigint;
}

/** Of an entry there are objects until a later batch has run: with as much room for young ones as this, hardly any becomes an old one. */
const YOUNG_MIB = 4;
/** The archive's bodies are not in V8's heap. */
export const NODE_OPTIONS = [
  '--max-old-space-size=64',
  `--min-semi-space-size=${YOUNG_MIB}`,
  `--max-semi-space-size=${YOUNG_MIB}`,
  '--no-warnings',
  ...SHORT_RUN_FLAGS,
];

/**
 * Unpacks an archive in a process of its own that has nothing but the archive and the directory.
 * @throws SiltError ARCHIVE_INVALID, ARCHIVE_TRUNCATED, NO_SPACE with the entry and its byte offset.
 */
export async function runUnpacker(
  { kernel, host, onProgress }: Pick<Workshop, 'kernel' | 'host' | 'onProgress'>,
  request: UnpackRequest,
): Promise<UnpackerResult> {
  const open: number[] = [];
  const keep = (path: string): number => {
    const fd = openSync(path, 'r');
    open.push(fd);
    return fd;
  };
  const { archive, directory, idMaps, idmapped, cgroup } = request;
  const orders: UnpackerOrders = {
    devices: request.devices,
    ...(Number.isFinite(request.maxBytes) && { maxBytes: request.maxBytes }),
    ...(request.merged && { merged: true }),
  };
  try {
    const program = unpackProgram(
      { idMaps, idmapped, cgroup, args: [...NODE_OPTIONS, '-', JSON.stringify(orders)] },
      host.lastCapability,
    );
    const started = kernel.start(program, {
      [UNPACK_FDS.node]: keep(process.execPath),
      [UNPACK_FDS.script]: keep(join(__dirname, 'unpacker.js')),
      [UNPACK_FDS.addon]: keep(join(nativeDirectory(), 'silt.node')),
      [UNPACK_FDS.archive]: archive,
      [UNPACK_FDS.upper]: directory,
    });
    const before = request.oomKills();
    const total = fstatSync(archive).size;
    return await follow(kernel, started, {
      mount: mountOf(directory),
      rights: { idMaps, devices: request.devices },
      ranOutOfMemory: () => request.oomKills() > before,
      watch: ({ pid }) => watchProgress(onProgress, () => ({ done: bytesRead(pid), total })),
    });
  } finally {
    open.forEach((fd) => closeSync(fd));
  }
}

/** Number of the mount that an fd is on: unlike a device number, nothing that is reached another way has it. */
function mountOf(fd: number): string {
  return /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1] ?? '';
}

/** What a process has read, by whichever call (proc_pid_io(5)). */
function bytesRead(pid: number): number {
  return Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'latin1'))?.[1]);
}

interface Following {
  /** See {@link mountOf}. */
  readonly mount: string;
  readonly rights: UnpackerRights;
  readonly ranOutOfMemory: () => boolean;
  /** Begins to watch how far the unpacker is; returns what ends that. */
  readonly watch: (unpacker: Process) => () => void;
}

/** Answers the unpacker until it is done. */
async function follow(
  kernel: Kernel,
  started: Started,
  { mount, rights, ranOutOfMemory, watch }: Following,
): Promise<UnpackerResult> {
  let unpacker: Process | undefined;
  const abort = (): void => {
    if (unpacker && !unpacker.exit) kernel.signal(unpacker.fd, C.SIGKILL);
  };
  const onReport = ({ name, fds }: Report): boolean => {
    if (name !== 'process') return false;
    unpacker = new Process(kernel, pidOf(fds[0]!), fds[0]!);
    return true;
  };
  await awaitReports(kernel, started, ['process', 'ready'], { what: 'starting the unpacker', onReport, abort });
  const stopWatching = watch(unpacker!);
  try {
    for (;;) {
      const report = await started.reports.next();
      if (report === undefined) {
        const exit = await unpacker!.exited;
        if (exit.status === 128 + C.SIGKILL && ranOutOfMemory()) {
          const message =
            'the OOM killer ended the unpacker: what it writes is charged to the container; raise its memory limit';
          throw new SiltError('NO_SPACE', message);
        }
        throw new SiltError('INTERNAL', `the unpacker ended with status ${exit.status} before it was done`);
      }
      if (report.name === 'done') return resultFrom(report.text);
      if (report.name === 'error') throw errorFrom(report.text);
      answer(kernel, started, report, { mount, rights });
    }
  } finally {
    stopWatching();
    abort();
    await unpacker?.exited;
    started.reports.close();
  }
}

/** Does for the unpacker what only host root may, on directories of this mount and nowhere else. */
function answer(
  kernel: Kernel,
  started: Started,
  report: Report,
  { mount, rights }: Pick<Following, 'mount' | 'rights'>,
): void {
  const [dirFd] = report.fds;
  try {
    if (dirFd === undefined || mountOf(dirFd) !== mount || !fstatSync(dirFd).isDirectory()) {
      throw new SiltError('INTERNAL', 'the unpacker asked for a change outside of its directory');
    }
    performPrivileged(kernel.runner, { ...parseRequest(report, rights), dirFd });
    started.reports.send('ok');
  } catch (error) {
    started.reports.send(`failed ${(error as Error).message}`);
  } finally {
    report.fds.forEach((fd) => closeSync(fd));
  }
}

/** As {@link errorFrom}: whatever it says is made to be of the right types. */
function resultFrom(text: string): UnpackerResult {
  const { bytes, entries, hasRoot } = JSON.parse(text) as Record<keyof UnpackerResult, unknown>;
  return { bytes: Number(bytes) || 0, entries: Number(entries) || 0, hasRoot: hasRoot === true };
}

/** The unpacker parsed a stranger's archive: of what it says, only a known code and plain text are taken over. */
export function errorFrom(text: string): SiltError {
  const { code, message, details } = JSON.parse(text) as { code: string; message: string; details: ErrorDetails };
  return new SiltError(code in errorTable ? (code as ErrorCode) : 'INTERNAL', message, details);
}
