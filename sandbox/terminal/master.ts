import { closeSync, fstatSync } from 'node:fs';
import { SiltError } from '../../errors';
import { type Fd, ioctl, type Kernel, ProgramBuilder } from '../../syscall';
import { sendFd } from './send-fd';

/** Unix 98 masters are character devices 5:2 (pts(4)). */
const MASTER = (5 << 8) | 2;

/**
 * Makes sure that what a program sent as a terminal is a pty's master: a container can have anything at /dev/ptmx.
 * @throws SiltError INTERNAL, having closed it.
 */
export function checkMaster(master: number): void {
  const stat = fstatSync(master);
  if (stat.isCharacterDevice() && stat.rdev === MASTER) return;
  closeSync(master);
  throw new SiltError(
    'INTERNAL',
    'the terminal that the container opened is not a pty: its /dev/ptmx has been replaced',
  );
}

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** Sets a terminal's size; the kernel sends SIGWINCH to what runs on it. */
export function resizeTerminal(kernel: Kernel, master: number, size: TerminalSize): void {
  const p = new ProgramBuilder();
  setTerminalSize(p.step('resizing the terminal'), master, size);
  kernel.run(p.build());
}

/** The same, in a program: struct winsize of ioctl_tty(2) is rows, columns, and two that nobody uses. */
export function setTerminalSize(p: ProgramBuilder, master: Fd, { columns, rows }: TerminalSize): void {
  const size = p.space(8, `{${rows}, ${columns}}`);
  p.setU32(size, (rows & 0xffff) | ((columns & 0xffff) << 16));
  ioctl(p, master, 'TIOCSWINSZ', size);
}

/**
 * Sends a pty's master to the engine's console socket. Borrows the fd.
 * @throws SiltError naming the socket.
 */
export function sendMaster(kernel: Kernel, path: string, master: number): void {
  sendFd(kernel, { path, socket: 'console socket', fd: master, text: '/dev/ptmx' });
}

/** c_oflag in the kernel's struct termios (asm-generic/termbits.h), and the bit by which `\n` is written as `\r\n`. */
const OUTPUT_FLAGS = 4;
const ONLCR = 0x4;
const TERMIOS_SIZE = 64;

/**
 * Has a pty hand on what is written to it as it is. Ends of lines are the matter of the terminal that the output comes to in the end,
 * or of nobody when that is a file or a pipe (runc does the same).
 */
export function keepNewlines(kernel: Kernel, master: number): void {
  const reading = new ProgramBuilder().step('reading the terminal’s settings');
  const settings = reading.space(TERMIOS_SIZE);
  ioctl(reading, master, 'TCGETS', settings);
  const termios = Buffer.from(kernel.run(reading.build()).at(settings));
  termios.writeUInt32LE(termios.readUInt32LE(OUTPUT_FLAGS) & ~ONLCR, OUTPUT_FLAGS);
  const writing = new ProgramBuilder().step('changing the terminal’s settings');
  ioctl(writing, master, 'TCSETS', writing.bytes(termios, 'termios'));
  kernel.run(writing.build());
}
