import { closeSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { C, errnoName, type Kernel, ProgramBuilder, unixAddress } from '../syscall';

/**
 * Takes the lock under which sockets in `<root>/s` are bound, made to listen, and removed, by the native front too: a socket that is
 * bound and does not listen yet refuses connections as a dead one does, so who holds the lock and is refused has found a dead one.
 * @param wait false: returns undefined when another process holds it
 * @returns an fd to close, which releases the lock (flock(2))
 */
export function lockSockets(kernel: Kernel, directory: string, wait: true): number;
export function lockSockets(kernel: Kernel, directory: string, wait: boolean): number | undefined;
export function lockSockets(kernel: Kernel, directory: string, wait: boolean): number | undefined {
  const p = new ProgramBuilder();
  p.step(`locking ${directory}`);
  const [fd, result] = [p.slot('directory'), p.slot('result')];
  p.call('openat', [C.AT_FDCWD, p.string(directory), C.O_RDONLY | C.O_DIRECTORY | C.O_CLOEXEC, 0], { out: fd });
  p.call('flock', [fd, wait ? C.LOCK_EX : C.LOCK_EX | C.LOCK_NB], { out: result, tolerate: ['EAGAIN'], retry: true });
  const done = p.label();
  p.jumpIfZero(result, done);
  p.call('close', [fd]);
  p.place(done);
  const ran = kernel.run(p.build());
  return ran.get(result) === 0 ? ran.get(fd) : undefined;
}

/** As many fronts may wait as with the front's own sockets (native/front-socket.c). */
const QUEUE = 128;

/**
 * Makes a listening socket (SOCK_SEQPACKET) of this name, for its owner alone, as the native front does it. Returns its fd, the caller's
 * to close; undefined when the name is taken, or another process is at work in its directory.
 */
export function listenIfFree(kernel: Kernel, path: string): number | undefined {
  const lock = lockSockets(kernel, dirname(path), false);
  if (lock === undefined) return undefined;
  try {
    if (existsSync(path)) return undefined;
    const p = new ProgramBuilder();
    p.step(`making the socket ${path}`);
    const socket = p.slot('socket');
    p.call('socket', [C.AF_UNIX, C.SOCK_SEQPACKET | C.SOCK_CLOEXEC, 0], { out: socket });
    // Before bind, which gives the file the socket's own mode.
    p.call('fchmod', [socket, 0o600]);
    const address = unixAddress(p, path);
    p.call('bind', [socket, address, address.size]);
    p.call('listen', [socket, QUEUE]);
    return kernel.run(p.build()).get(socket);
  } finally {
    closeSync(lock);
  }
}

/** Does somebody listen on a server's own socket (SOCK_SEQPACKET)? A full queue is a yes. */
export function listens(kernel: Kernel, path: string): boolean {
  const p = new ProgramBuilder();
  p.step(`looking for another server at ${path}`);
  const [socket, refused] = [p.slot('socket'), p.slot('refused')];
  p.call('socket', [C.AF_UNIX, C.SOCK_SEQPACKET | C.SOCK_CLOEXEC | C.SOCK_NONBLOCK, 0], { out: socket });
  const address = unixAddress(p, path);
  p.call('connect', [socket, address, address.size], { out: refused, tolerate: ['ECONNREFUSED', 'ENOENT', 'EAGAIN'] });
  p.call('close', [socket]);
  return !['ECONNREFUSED', 'ENOENT'].includes(errnoName(-kernel.run(p.build()).get(refused)));
}

/** Does somebody listen on the socket? */
export function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    // A full queue: it listens, and has much to do.
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EAGAIN'));
  });
}

/**
 * Removes the sockets in a directory that nobody listens on: a shim that was killed leaves its own, and containerd does not
 * always ask for its removal.
 * @param wait false: does nothing when another process is at work there
 */
export async function removeDeadSockets(kernel: Kernel, directory: string, wait = false): Promise<void> {
  const lock = lockSockets(kernel, directory, wait);
  if (lock === undefined) return;
  try {
    // Asking the kernel's list first keeps the live shims out of it.
    const listed = boundSockets();
    for (const name of readdirSync(directory)) {
      const path = join(directory, name);
      if (!listed.has(path) && !(await answers(path))) rmSync(path, { force: true });
    }
  } finally {
    closeSync(lock);
  }
}

/** Paths of the unix sockets of this network namespace that are bound (proc_net(5)). */
function boundSockets(): Set<string> {
  const lines = readFileSync('/proc/net/unix', 'utf8').split('\n');
  return new Set(lines.flatMap((line) => /\/.*$/.exec(line)?.[0] ?? []));
}
