import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError, type ErrorCode, errorTable, type ErrorDetails, withContext } from '../errors';
import type { IdMaps } from '../gofer';
import { nativeDirectory } from '../native';
import { C, type Kernel, ProgramBuilder, type Report, type Started } from '../syscall';
import { performPrivileged, type PrivilegedRequest } from './archive';
import type { Host } from './host';
import { Process, pidOf } from './process';
import { UNPACK_FDS, unpackProgram } from './programs/unpack';
import { awaitReports } from './started';

export interface SeedRequest {
  /** The archive: a plain, gzip or zstd tar. */
  readonly seed: string;
  /** A detached upper, see createUpper. Borrowed. */
  readonly upper: number;
  /** The name of the upper's directory in it. */
  readonly directory: string;
  /** The pod's ids, or null. */
  readonly idMaps: IdMaps | null;
  readonly cgroupFiles: readonly string[];
  /** Device nodes that the archive may hold besides whiteouts. */
  readonly devices: readonly AllowedDevice[];
}

export interface AllowedDevice {
  readonly type: 'char' | 'block';
  readonly major: number;
  readonly minor: number;
}

const ALL_IDS = [{ containerID: 0, hostID: 0, size: 0xffff_ffff }];
/** V8 keeps what it may; the archive's bodies are not in its heap. */
const NODE_OPTIONS = ['--max-old-space-size=64', '--no-warnings'];

/**
 * Fills an upper from an archive, in a process of its own that has nothing but the two.
 * @throws SiltError SEED_UNREADABLE for a path that is no regular file; ARCHIVE_INVALID, ARCHIVE_TRUNCATED, NO_SPACE with
 * the entry and its byte offset. What was made until then stays in the upper, which the caller throws away.
 */
export async function seedUpper({ kernel, host }: { kernel: Kernel; host: Host }, request: SeedRequest): Promise<void> {
  const open: number[] = [];
  const keep = (fd: number): number => {
    open.push(fd);
    return fd;
  };
  try {
    const archive = keep(openSeed(request.seed));
    const upper = keep(openUpper(kernel, request));
    const program = unpackProgram(
      {
        idMaps: request.idMaps ?? { uids: ALL_IDS, gids: ALL_IDS },
        cgroupFiles: request.cgroupFiles,
        args: [...NODE_OPTIONS, '-', JSON.stringify(request.devices)],
      },
      host.lastCapability,
    );
    const started = kernel.start(program, {
      [UNPACK_FDS.node]: keep(openSync(process.execPath, 'r')),
      [UNPACK_FDS.script]: keep(openSync(join(__dirname, 'unpacker.js'), 'r')),
      [UNPACK_FDS.addon]: keep(openSync(join(nativeDirectory(), 'silt.node'), 'r')),
      [UNPACK_FDS.archive]: archive,
      [UNPACK_FDS.upper]: upper,
    });
    await follow(kernel, started, fstatSync(upper).dev);
  } catch (error) {
    throw withContext(`seeding from ${request.seed}`, error);
  } finally {
    open.forEach((fd) => closeSync(fd));
  }
}

/** Opens the archive: a regular file, not through a symlink in the last component, and without waiting for a fifo's writer. */
function openSeed(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    const why: Readonly<Record<string, string>> = {
      ENOENT: 'there is no such file',
      ELOOP: 'it is a symbolic link',
      ENXIO: 'it is a socket',
    };
    throw new SiltError(
      'SEED_UNREADABLE',
      `cannot open the archive: ${why[code] ?? code}`,
      { path, errno: code },
      { cause: error },
    );
  }
  const stat = fstatSync(fd);
  if (stat.isFile()) return fd;
  closeSync(fd);
  const kind = stat.isDirectory() ? 'a directory' : stat.isFIFO() ? 'a fifo' : 'a device';
  throw new SiltError('SEED_UNREADABLE', `the archive is ${kind}, not a regular file`, { path });
}

function openUpper(kernel: Kernel, { upper, directory }: SeedRequest): number {
  const p = new ProgramBuilder();
  const fd = p.slot('fs');
  p.step('opening the upper').call(
    'openat',
    [upper, p.string(directory), C.O_RDONLY | C.O_DIRECTORY | C.O_CLOEXEC, 0],
    {
      out: fd,
    },
  );
  return kernel.run(p.build()).get(fd);
}

/** Answers the unpacker until it is done. */
async function follow(kernel: Kernel, started: Started, device: number): Promise<void> {
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
  try {
    for (;;) {
      const report = await started.reports.next();
      if (report === undefined) {
        const exit = await unpacker!.exited;
        if (exit.status === 128 + C.SIGKILL) {
          const message =
            'the unpacker was killed, most likely by the OOM killer: what it writes is charged to the container; raise its memory limit';
          throw new SiltError('NO_SPACE', message);
        }
        throw new SiltError('INTERNAL', `the unpacker ended with status ${exit.status} before it was done`);
      }
      if (report.name === 'done') return;
      if (report.name === 'error') throw errorFrom(report.text);
      answer(kernel, started, report, device);
    }
  } finally {
    abort();
    await unpacker?.exited;
    started.reports.close();
  }
}

/** Does for the unpacker what only host root may, on directories of this upper and nowhere else. */
function answer(kernel: Kernel, started: Started, report: Report, device: number): void {
  const [dirFd] = report.fds;
  try {
    if (dirFd === undefined || fstatSync(dirFd).dev !== device || !fstatSync(dirFd).isDirectory()) {
      throw new SiltError('INTERNAL', 'the unpacker asked for a change outside of its upper');
    }
    performPrivileged(kernel.runner, { ...parseRequest(report), dirFd } as PrivilegedRequest);
    started.reports.send('ok');
  } catch (error) {
    started.reports.send(`failed ${(error as Error).message}`);
  } finally {
    report.fds.forEach((fd) => closeSync(fd));
  }
}

function parseRequest({ name, text }: Report): object {
  if (name === 'opaque') return { kind: 'opaque' };
  if (name !== 'device') throw new SiltError('INTERNAL', `the unpacker asked for ${name}`);
  const request = JSON.parse(text) as { name: string };
  return { ...request, kind: 'device', name: Buffer.from(request.name, 'base64') };
}

/** The unpacker parsed a stranger's archive: of what it says, only a known code and plain text are taken over. */
function errorFrom(text: string): SiltError {
  const { code, message, details } = JSON.parse(text) as { code: string; message: string; details: ErrorDetails };
  return new SiltError(code in errorTable ? (code as ErrorCode) : 'INTERNAL', message, details);
}
