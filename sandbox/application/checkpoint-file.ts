/**
 * What /dev/gvisor/checkpoint is: the slave of a pty whose master silt has. A pty is what can be opened, blocks who reads it until
 * silt writes, and can be dumped by CRIU with a reader in it.
 */
import { closeSync, fstatSync } from 'node:fs';
import type { WatchHandle } from '../../native';
import type { Owner } from '../../gofer';
import { C, flags, type Kernel, ProgramBuilder, read } from '../../syscall';
import { countDescriptions } from './descriptions';
import { type Lifetime, reapLater } from '../process/process';
import { terminalSessionProgram } from '../programs/terminal-session';

export type Outcome = 'resume' | 'restore' | 'error';

const READABLE = 1;
/** inotify(7): <sys/inotify.h>. */
const IN = { ACCESS: 0x1, CLOSE: 0x18, OPEN: 0x20 } as const;
const EVENT_SIZE = 16;
/** struct termios (asm-generic/termbits.h): four words of flags, the line discipline, and 19 control characters. */
const TERMIOS_SIZE = 36;
const CONTROL_FLAGS = 0o277; // B38400, CS8, CREAD
const CANONICAL = 0o2;
const VEOF = 4;
const TCIFLUSH = 0;
const END = '\x04';
/** How long a reader that has its line may take to close the file; one that reads on is told that this is all. */
const CLOSING_MS = 20;
/** As many lines as a pty takes without a reader. */
const LINES_MAX = 256;

/** The fds of a file, by which another process can serve it. */
export interface CheckpointFileFds {
  readonly master: number;
  /** silt's own, so that the pty is not taken for closed when nobody else has it open. */
  readonly slave: number;
  /** inotify(7) on the slave: each open and close of an open file description. */
  readonly events: number;
}

export class CheckpointFile {
  readonly #watches: WatchHandle[] = [];
  /** Open file descriptions, counted by inotify's events; it tells equal ones that follow each other once. */
  #open = 0;
  /** How many of them were there when the outcome was told, and may ask for the end of it. */
  #told = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly kernel: Kernel,
    /** Kept. */
    readonly fds: CheckpointFileFds,
  ) {}

  /** Makes one that belongs to `owner`, whom everybody but its process may only write to if `writable`. @throws SiltError. */
  static async make(
    kernel: Kernel,
    { owner, writable, lifetime }: { owner: Owner; writable: boolean; lifetime: Lifetime },
  ): Promise<{ file: CheckpointFile; path: string }> {
    const master = openMaster(kernel);
    try {
      const path = slaveOf(kernel, master);
      const session = kernel.start(terminalSessionProgram(path), {});
      try {
        await session.reports.next();
      } finally {
        session.reports.close();
        if (lifetime === 'with-caller') reapLater(kernel, session.pidfd);
        else closeSync(session.pidfd);
      }
      return { file: new CheckpointFile(kernel, prepare(kernel, master, path, owner, writable)), path };
    } catch (error) {
      closeSync(master);
      throw error;
    }
  }

  /** One that another process has made and handed on to this one when it was started. */
  static inherited(kernel: Kernel, fds: CheckpointFileFds): CheckpointFile {
    const p = new ProgramBuilder();
    p.step('taking over a checkpoint file');
    for (const fd of Object.values(fds)) p.call('fcntl', [fd, C.F_SETFD, C.FD_CLOEXEC]);
    kernel.run(p.build());
    return new CheckpointFile(kernel, fds);
  }

  /** Looks after it from now on. @param onTrigger called when a program has written `1` */
  serve(onTrigger: () => void): void {
    const { master, events } = this.fds;
    this.#watches.push(
      this.kernel.watch(master, READABLE, () => {
        const text = this.#read(master);
        if (/^1\n?$/m.test(text)) onTrigger();
      }),
      this.kernel.watch(events, READABLE, () => this.#follow()),
    );
    for (const watch of this.#watches) watch.unref();
  }

  /** Tells everybody who has it open how the checkpoint that they wait for has ended. @param users pids that may have it open */
  tell(outcome: Outcome, users: readonly number[]): void {
    this.#follow();
    this.#discard();
    this.#open = countDescriptions(this.kernel, users, fstatSync(this.fds.slave));
    this.#told = Math.min(this.#open, LINES_MAX);
    if (this.#told > 0) this.#write(`${outcome}\n`.repeat(this.#told));
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const watch of this.#watches.splice(0)) watch.close();
    const { master, slave, events } = this.fds;
    for (const fd of [events, slave, master]) closeSync(fd);
  }

  /** Takes note of who has opened, read and closed it. */
  #follow(): void {
    let wasRead = false;
    for (const mask of this.#events()) {
      if (mask & IN.ACCESS) wasRead = true;
      if (mask & IN.OPEN) this.#open++;
      if ((mask & IN.CLOSE) === 0) continue;
      this.#open = Math.max(0, this.#open - 1);
      this.#told = Math.min(this.#told, this.#open);
      // What the last reader has left is not for the next one, who may be there already.
      if (this.#open === 0) this.#discard();
    }
    if (wasRead && this.#told > 0 && this.#unread() === 0) this.#endLater();
  }

  #endLater(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#follow();
      const ends = Math.min(this.#told, this.#open);
      this.#told = 0;
      if (ends > 0) this.#write(END.repeat(ends));
    }, CLOSING_MS);
  }

  #discard(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#told = 0;
    const p = new ProgramBuilder();
    p.step('emptying the checkpoint file').call('ioctl', [this.fds.slave, C.TCFLSH, TCIFLUSH]);
    this.kernel.run(p.build());
  }

  /** Bytes that have been written and not been read. */
  #unread(): number {
    const p = new ProgramBuilder();
    const count = p.space(4);
    p.step('looking at the checkpoint file').call('ioctl', [this.fds.slave, C.TIOCINQ, count]);
    return this.kernel.run(p.build()).at(count).readUInt32LE(0);
  }

  *#events(): Generator<number> {
    for (;;) {
      const p = new ProgramBuilder();
      const { count, buffer } = read(p.step('following the checkpoint file'), this.fds.events, 4096, {
        tolerate: ['EAGAIN'],
      });
      const result = this.kernel.run(p.build());
      const size = result.get(count);
      if (size <= 0) return;
      const bytes = result.at(buffer, size);
      for (let at = 0; at < size; at += EVENT_SIZE + bytes.readUInt32LE(at + 12)) yield bytes.readUInt32LE(at + 4);
    }
  }

  #read(fd: number): string {
    const p = new ProgramBuilder();
    const { count, buffer } = read(p.step('reading the checkpoint file'), fd, 256, { tolerate: ['EAGAIN', 'EIO'] });
    const result = this.kernel.run(p.build());
    return result.at(buffer, Math.max(0, result.get(count))).toString('latin1');
  }

  #write(text: string): void {
    const p = new ProgramBuilder();
    p.step('writing to the checkpoint file').call('write', [this.fds.master, p.bytes(Buffer.from(text)), text.length], {
      tolerate: ['EAGAIN'],
    });
    this.kernel.run(p.build());
  }
}

function openMaster(kernel: Kernel): number {
  const p = new ProgramBuilder();
  const master = p.slot('master');
  p.step('making a pty for the checkpoint file');
  p.call('openat', [C.AT_FDCWD, p.string('/dev/ptmx'), flags('O_RDWR|O_NOCTTY|O_CLOEXEC|O_NONBLOCK'), 0], {
    out: master,
  });
  p.call('ioctl', [master, C.TIOCSPTLCK, p.space(4, '{0}')]);
  return kernel.run(p.build()).get(master);
}

function slaveOf(kernel: Kernel, master: number): string {
  const p = new ProgramBuilder();
  const number = p.space(4);
  p.step('asking for the number of a pty').call('ioctl', [master, C.TIOCGPTN, number]);
  return `/dev/pts/${kernel.run(p.build()).at(number).readUInt32LE(0)}`;
}

/** Lines are handed on as they are, and `END` is the end of the file. From here on opens and closes are counted. */
function prepare(
  kernel: Kernel,
  master: number,
  path: string,
  { uid, gid }: Owner,
  writable: boolean,
): CheckpointFileFds {
  const p = new ProgramBuilder();
  p.step('preparing the checkpoint file');
  const settings = p.space(TERMIOS_SIZE, 'termios');
  p.setU32(settings.plus(8), CONTROL_FLAGS);
  p.setU32(settings.plus(12), CANONICAL);
  // c_cc begins after c_line, at 17.
  p.setU32(settings.plus(20), VEOF << 8);
  p.call('ioctl', [master, C.TCSETS, settings]);
  p.call('fchownat', [C.AT_FDCWD, p.string(path), uid, gid, 0]);
  p.call('fchmodat', [C.AT_FDCWD, p.string(path), writable ? 0o666 : 0o444]);
  const slave = p.slot('slave');
  p.call('openat', [C.AT_FDCWD, p.string(path), flags('O_RDWR|O_NOCTTY|O_CLOEXEC'), 0], { out: slave });
  const events = p.slot('events');
  p.call('inotify_init1', [C.O_CLOEXEC | C.O_NONBLOCK], { out: events });
  p.call('inotify_add_watch', [events, p.string(path), IN.ACCESS | IN.CLOSE | IN.OPEN]);
  const result = kernel.run(p.build());
  return { master, slave: result.get(slave), events: result.get(events) };
}
