import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { SiltError } from '../../errors';
import type { Kernel } from '../../syscall';
import type { StdioRequest } from './index';

const READABLE = 1;
const READY_TIMEOUT_MS = 10_000;

/** A logging program, and the ends of its pipes that silt has. */
export interface Logger {
  /** Write ends for the container. */
  readonly stdout: number;
  readonly stderr: number;
  /** The process has its own copies: this side's are closed. */
  closeDonated(): void;
  closeHeld(): void;
}

/**
 * Starts the program of a `binary:///path?key=value` URI as containerd's shims do (runtime/v2/README.md, "Logging"): its
 * arguments are the keys and values, fds 3 and 4 are the container's stdout and stderr, and it closes fd 5 when it is ready.
 * It ends by itself when both pipes end.
 * @throws SiltError REQUEST_INVALID when it cannot be started, TIMEOUT when it is not ready after ten seconds.
 */
export async function startLogger(kernel: Kernel, request: StdioRequest): Promise<Logger> {
  const uri = new URL(request.stdout);
  const args = [...uri.searchParams].flatMap(([key, value]) => (value === '' ? [key] : [key, value]));
  const [outRead, outWrite] = kernel.pipe();
  const [errRead, errWrite] = kernel.pipe();
  const [readyRead, readyWrite] = kernel.pipe();
  const open = new Set([outRead, outWrite, errRead, errWrite, readyRead, readyWrite]);
  const close = (...fds: number[]): void => {
    for (const fd of fds) if (open.delete(fd)) closeSync(fd);
  };
  try {
    const child = spawn(uri.pathname, args, {
      stdio: ['ignore', 'ignore', 'ignore', outRead, errRead, readyWrite],
      env: { CONTAINER_ID: request.id, CONTAINER_NAMESPACE: request.namespace },
      detached: true,
    });
    const failed = new Promise<never>((_, reject) => {
      child.once('error', (error) => {
        const message = `cannot start the logging program ${uri.pathname}: ${error.message}`;
        reject(new SiltError('REQUEST_INVALID', message, { path: uri.pathname }, { cause: error }));
      });
    });
    close(outRead, errRead, readyWrite);
    const readiness = ready(kernel, readyRead, uri.pathname);
    await Promise.race([failed, readiness.done]).finally(() => readiness.cancel());
    child.unref();
    close(readyRead);
    return {
      stdout: outWrite,
      stderr: errWrite,
      closeDonated: () => close(outWrite, errWrite),
      closeHeld: () => close(outWrite, errWrite),
    };
  } catch (error) {
    close(...open);
    throw error;
  }
}

/** Waits until the ready pipe is written to or closed. To be cancelled, done or not, before the pipe is closed. */
function ready(kernel: Kernel, fd: number, program: string): { done: Promise<void>; cancel: () => void } {
  let cancel = (): void => undefined;
  const done = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      const message = `the logging program ${program} was not ready after ${READY_TIMEOUT_MS / 1000} s`;
      reject(new SiltError('TIMEOUT', message, { path: program }));
    }, READY_TIMEOUT_MS);
    // Whether it wrote or closed its end: only that it answered counts.
    const watch = kernel.watch(fd, READABLE, () => resolve());
    cancel = () => {
      watch.close();
      clearTimeout(timer);
    };
  });
  return { done, cancel };
}
