import { closeSync, constants, existsSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../errors';
import {
  C,
  type FailureNames,
  type Kernel,
  namedFailures,
  ProgramBuilder,
  ReportChannel,
  unixAddress,
} from '../syscall';

/**
 * The socket in a container's state directory at which its parked process waits to be started, when the one who creates
 * the container is not the one who starts it. The name is there until the container has been started.
 */
const NAME = 'start';

/** Whether a container's process, if it lives, still waits for its start. */
export function isParked(directory: string): boolean {
  return existsSync(join(directory, NAME));
}

/** Makes the socket. Returns its fd, the caller's to close. @throws SiltError. */
export function listenForStart(kernel: Kernel, directory: string): number {
  return throughDirectory(directory, (path) => {
    const p = new ProgramBuilder();
    p.step(`making the start socket in ${directory}`);
    const socket = p.slot('socket');
    p.call('socket', [C.AF_UNIX, C.SOCK_SEQPACKET | C.SOCK_CLOEXEC, 0], { out: socket });
    const address = unixAddress(p, path);
    p.call('bind', [socket, address, address.size]);
    p.call('listen', [socket, 1]);
    return kernel.run(p.build()).get(socket);
  });
}

/**
 * Lets the process at the socket go and waits until its exec has succeeded: the connection closes then.
 * @throws SiltError of the step that failed; WRONG_STATE when nobody waits there.
 */
export async function startThroughSocket(kernel: Kernel, directory: string, failures: FailureNames): Promise<void> {
  const fd = throughDirectory(directory, (path) => {
    const p = new ProgramBuilder();
    const socket = p.slot('socket');
    p.call('socket', [C.AF_UNIX, C.SOCK_SEQPACKET | C.SOCK_CLOEXEC, 0], { out: socket });
    const address = unixAddress(p, path);
    const connected = p.slot('connected');
    p.call('connect', [socket, address, address.size], { out: connected, tolerate: ['ECONNREFUSED', 'ENOENT'] });
    const result = kernel.run(p.build());
    if (result.get(connected) === 0) return result.get(socket);
    closeSync(result.get(socket));
    throw new SiltError('WRONG_STATE', 'its process no longer waits to be started', { path: directory });
  });
  const reports = new ReportChannel(kernel, namedFailures(failures), fd);
  try {
    const report = await reports.next();
    if (report) throw new SiltError('INTERNAL', `unexpected report ${report.name}`);
  } finally {
    reports.close();
    rmSync(join(directory, NAME), { force: true });
  }
}

/** A socket's address holds 107 bytes of path, less than engines' state directories have: it goes by an fd of the directory. */
function throughDirectory<T>(directory: string, use: (path: string) => T): T {
  const fd = openSync(directory, constants.O_DIRECTORY | constants.O_RDONLY);
  try {
    return use(`/proc/self/fd/${fd}/${NAME}`);
  } finally {
    closeSync(fd);
  }
}
