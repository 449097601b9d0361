import { C, type Kernel, ProgramBuilder, sendMessage, unixAddress } from '../../syscall';

export interface FdMessage {
  /** Of the socket that somebody listens on. */
  readonly path: string;
  /** What the socket is called, for an error. */
  readonly socket: string;
  /** Borrowed. */
  readonly fd: number;
  /** What goes with it. */
  readonly text: string;
}

/**
 * Sends an fd to an engine's socket, as runc does: one message over a stream socket, with the fd as SCM_RIGHTS (unix(7)).
 * @throws SiltError naming the socket.
 */
export function sendFd(kernel: Kernel, { path, socket: name, fd, text }: FdMessage): void {
  const p = new ProgramBuilder();
  const socket = p.slot('socket');
  p.step(`connecting to the ${name} ${path}`);
  p.call('socket', [C.AF_UNIX, C.SOCK_STREAM | C.SOCK_CLOEXEC, 0], { out: socket });
  const address = unixAddress(p, path);
  p.call('connect', [socket, address, address.size], { retry: true });
  p.step(`sending to the ${name} ${path}`);
  sendMessage(p, socket, p.bytes(Buffer.from(text), JSON.stringify(text), 1), [fd]);
  p.call('close', [socket], { tolerate: 'all' });
  kernel.run(p.build());
}

/** A process's pidfd, by which an engine signals it and waits for it without a race for its pid (runc's `--pidfd-socket`). */
export function sendPidfd(kernel: Kernel, path: string, pidfd: number): void {
  sendFd(kernel, { path, socket: 'pidfd socket', fd: pidfd, text: 'pidfd' });
}
