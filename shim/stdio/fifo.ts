import { closeSync, constants, fchmodSync, fstatSync, openSync } from 'node:fs';
import { C, type Kernel, ProgramBuilder } from '../../syscall';

/**
 * The ends of a containerd fifo that silt holds. The container's process gets an end of its own and the fifo directly, so no
 * byte passes through silt; what silt holds keeps the fifo alive while the other side comes and goes.
 */
export class OutputFifo {
  #holder: number | undefined;

  /** Opens the fifo at `path` for a container to write to. @throws the error of open(2). */
  constructor(
    private readonly kernel: Kernel,
    readonly path: string,
  ) {
    // Reading and writing at once never waits for the other side (fifo(7)), and as long as it is open a writer gets no EPIPE.
    this.#holder = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    // The application may open /dev/stdout, which is this fifo, under any id; only root's directory leads here from outside.
    if (fstatSync(this.#holder).isFIFO()) fchmodSync(this.#holder, 0o622);
  }

  /** A blocking write end, the caller's to close. */
  openWriter(): number {
    return openSync(this.path, constants.O_WRONLY);
  }

  /**
   * Lets go of the fifo when its reader has taken everything, so that the reader then sees the end. Returns at once; with
   * `deadlineMs` the fifo is let go at the latest then, and what nobody read is lost.
   */
  release(deadlineMs: number): void {
    if (this.#holder === undefined) return;
    const until = Date.now() + deadlineMs;
    const attempt = (delayMs: number): void => {
      if (this.#holder === undefined) return;
      if (unreadBytes(this.kernel, this.#holder) === 0 || Date.now() >= until) {
        closeSync(this.#holder);
        this.#holder = undefined;
        return;
      }
      // Nothing wakes the writer's side when a pipe becomes empty, so this looks again. It matters only for a reader
      // that lags behind an exit.
      setTimeout(() => attempt(Math.min(delayMs * 2, 200)), delayMs).unref();
    };
    attempt(1);
  }

  /** Lets go at once. */
  dispose(): void {
    if (this.#holder !== undefined) closeSync(this.#holder);
    this.#holder = undefined;
  }
}

/**
 * A containerd fifo that a container reads its stdin from.
 *
 * A read end without any writer reads as ended (pipe(7)), so silt is a writer too, until containerd's CloseIO: a client that
 * goes away and comes back finds the container still listening. But a client whose input ends at once (`ctr run` from a short
 * pipe) has closed its end before it knows of a task that it could call CloseIO for. Until the process is started, the
 * closing of a write end is therefore taken for the end of the input.
 */
export class InputFifo {
  #holder: number | undefined;
  #reader = -1;
  #inotify: number | undefined;

  /** Opens the fifo at `path` for a container to read from. @throws the error of open(2). */
  constructor(
    private readonly kernel: Kernel,
    path: string,
  ) {
    // Watching begins before the reader is there: a client that waits in open(2) for one goes on as soon as it is.
    this.#inotify = watchWriters(kernel, path);
    try {
      this.#reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      if (fstatSync(this.#reader).isFIFO()) fchmodSync(this.#reader, 0o644);
      this.#holder = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** The read end, the caller's to close; blocking unless asked otherwise. */
  takeReader(nonBlocking = false): number {
    const fd = this.#reader;
    this.#reader = -1;
    if (!nonBlocking) {
      const p = new ProgramBuilder();
      p.step('making stdin blocking').call('fcntl', [fd, C.F_SETFL, 0]);
      this.kernel.run(p.build());
    }
    return fd;
  }

  /** The process is being started: the input has ended if a client has closed its end by now, else CloseIO ends it. */
  settle(): void {
    if (this.#inotify === undefined) return;
    const closed = hasEvent(this.kernel, this.#inotify);
    closeSync(this.#inotify);
    this.#inotify = undefined;
    if (closed) this.closeWriter();
  }

  /** The container reads the end once the other writers are gone too. */
  closeWriter(): void {
    if (this.#holder !== undefined) closeSync(this.#holder);
    this.#holder = undefined;
  }

  dispose(): void {
    this.closeWriter();
    if (this.#reader >= 0) closeSync(this.#reader);
    if (this.#inotify !== undefined) closeSync(this.#inotify);
    this.#reader = -1;
    this.#inotify = undefined;
  }
}

/** IN_CLOSE_WRITE of inotify(7). */
const IN_CLOSE_WRITE = 0x8;

/** An inotify instance that hears of write ends being closed; undefined when the host has none left. */
function watchWriters(kernel: Kernel, path: string): number | undefined {
  const p = new ProgramBuilder();
  const fd = p.slot('inotify');
  p.call('inotify_init1', [C.O_CLOEXEC | C.O_NONBLOCK], { out: fd, tolerate: ['EMFILE'] });
  // Without an instance this fails with EBADF, which is tolerated.
  p.call('inotify_add_watch', [fd, p.string(path), IN_CLOSE_WRITE], { tolerate: 'all' });
  const inotify = kernel.run(p.build()).get(fd);
  return inotify < 0 ? undefined : inotify;
}

function hasEvent(kernel: Kernel, inotify: number): boolean {
  const p = new ProgramBuilder();
  const count = p.slot('count');
  p.call('read', [inotify, p.space(512), 512], { out: count, tolerate: ['EAGAIN'] });
  return kernel.run(p.build()).get(count) > 0;
}

/** FIONREAD (ioctl_pipe(2)): how many bytes wait in a pipe. */
function unreadBytes(kernel: Kernel, fd: number): number {
  const FIONREAD = 0x541b;
  const p = new ProgramBuilder();
  const count = p.space(4);
  p.call('ioctl', [fd, FIONREAD, count], { tolerate: 'all' });
  return kernel.run(p.build()).at(count).readInt32LE(0);
}
