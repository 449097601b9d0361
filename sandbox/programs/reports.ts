import { type Fd, type ProgramBuilder, sendMessage } from '../../syscall';

/**
 * What the processes of a program tell their starter over the report socket (fd 4), a message each: an ASCII word, with fds
 * where the table says so. The interpreter's own message is the failure record of docs/syscall-programs.md.
 */
export const REPORTS = {
  /** The sandbox process exists; comes with its pidfd. */
  sandbox: 'sandbox',
  /** A container process exists; comes with its pidfd. */
  process: 'process',
  /** The pty's master, as fd. */
  terminal: 'terminal',
  /** Everything is mounted and the host's root is still there: time for hooks. Comes with the mount namespace, as fd; waits for an answer. */
  mounted: 'mounted',
  /** The process that hooks are given for one that CRIU restores exists; comes with its pidfd. */
  standIn: 'stand-in',
  /** The root filesystem is complete and the upper is in the sandbox's mount namespace. */
  built: 'built',
  /** The process is about to execute its program, and is to be traced from then on. Waits for an answer. */
  untraced: 'untraced',
  /** The process has done all that it can before exec, and waits for the start. */
  ready: 'ready',
  /** CRIU, which restores a container, exists; comes with its pidfd. */
  criu: 'criu',
  /** The process that holds a mount namespace for CRIU exists; comes with its pidfd. */
  holder: 'holder',
  /** The listener of the process's seccomp filter, as fd (seccomp_unotify(2)). */
  listener: 'listener',
  /** A socket of rtnetlink and the network namespace that it is of, as fds. */
  network: 'network',
  /** A user namespace, as fd. */
  userns: 'userns',
  /** The memory that a pod's containers share, as the fd of a mount that is attached nowhere. */
  memory: 'memory',
  /** The layers of an image, as the fd of one mount. */
  image: 'image',
  /** The holder is in the mount namespace. */
  held: 'held',
  /** All entries of a small archive have been made. */
  unpacked: 'unpacked',
} as const;
export type ReportName = keyof typeof REPORTS;

/** Sends a report. With fds the receiver owns copies of them. */
export function report(p: ProgramBuilder, name: ReportName, fds: readonly Fd[] = []): void {
  sendMessage(p, p.report, p.bytes(Buffer.from(REPORTS[name]), `"${name}"`, 1), fds);
}
