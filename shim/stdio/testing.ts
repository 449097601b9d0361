/** For tests: fifos, and both of their ends without ever waiting. */
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadNative } from '../../native';
import { C, Kernel, ProgramBuilder } from '../../syscall';

export const kernel = new Kernel(loadNative(), -1);

/** How many bytes a pipe holds unless told otherwise (pipe(7)). */
export const PIPE_SIZE = 65536;

/** A directory for fifos, and the fds that a test has opened: closed and removed by `clear`. */
export class Ends {
  readonly #directory = mkdtempSync(join(tmpdir(), 'silt-stdio-'));
  readonly #open = new Set<number>();

  path(name: string): string {
    return join(this.#directory, name);
  }

  /** Makes a fifo, and gives its path. */
  fifo(name: string): string {
    const p = new ProgramBuilder();
    const path = this.path(name);
    p.call('mknodat', [C.AT_FDCWD, p.string(path), C.S_IFIFO | 0o600, 0]);
    kernel.run(p.build());
    return path;
  }

  keep(fd: number): number {
    this.#open.add(fd);
    return fd;
  }

  reader(path: string): number {
    return this.keep(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK));
  }

  writer(path: string): number {
    return this.keep(openSync(path, constants.O_WRONLY | constants.O_NONBLOCK));
  }

  close(fd: number): void {
    this.#open.delete(fd);
    closeSync(fd);
  }

  clear(): void {
    for (const fd of this.#open) closeSync(fd);
    this.#open.clear();
    rmSync(this.#directory, { recursive: true });
  }
}

/** What a non-blocking fd gives now: text, 'end', or 'nothing yet'. */
export function look(fd: number, size = 1 << 20): string | { is: 'end' | 'nothing yet' } {
  const buffer = Buffer.alloc(size);
  try {
    const count = readSync(fd, buffer);
    return count === 0 ? { is: 'end' } : buffer.toString('latin1', 0, count);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return { is: 'nothing yet' };
    throw error;
  }
}
export const END = { is: 'end' };
export const NOTHING_YET = { is: 'nothing yet' };

/** Reads a non-blocking fd to its end. */
export async function readToEnd(fd: number, withinMs = 3000): Promise<string> {
  const until = performance.now() + withinMs;
  let text = '';
  for (;;) {
    const next = look(fd);
    if (typeof next === 'string') text += next;
    else if (next.is === 'end') return text;
    else if (performance.now() > until) throw new Error(`no end after ${text.length} bytes`);
    else await sleep(2);
  }
}

/** Reads a non-blocking fd until so many bytes have come, at most `chunk` in one turn of the event loop. */
export async function readBytes(fd: number, size: number, chunk = size): Promise<string> {
  const until = performance.now() + 3000;
  let text = '';
  while (text.length < size) {
    const next = look(fd, Math.min(chunk, size - text.length));
    if (typeof next === 'string') {
      text += next;
      await new Promise(setImmediate);
    } else if (next.is === 'end' || performance.now() > until) throw new Error(`${next.is} after ${text.length} bytes`);
    else await sleep(2);
  }
  return text;
}

/** Writes until the pipe takes no more; gives how much it took. */
export function fill(fd: number, byte = 'x'): number {
  const chunk = Buffer.alloc(4096, byte);
  let total = 0;
  try {
    for (;;) total += writeSync(fd, chunk);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    return total;
  }
}

/** O_NONBLOCK in the flags of an open file (/proc/PID/fdinfo, proc(5)). */
export function isNonBlocking(fd: number): boolean {
  const flags = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1] ?? '';
  return (Number.parseInt(flags, 8) & constants.O_NONBLOCK) !== 0;
}
