/** What is on record of a container whose memory is brought in the background. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import type { Kernel } from '../../syscall';
import { endOf } from '../process/process';
import { type ContainerState, isSameProcess } from '../state/state';

/** In a container's state directory: why its memory could not be brought. Empty while all is well. */
export const FAILURE = 'memory-failure';

/**
 * Waits until a restored container has all of its memory: what is still missing would look empty to whoever reads it from outside.
 */
export async function awaitMemory(kernel: Kernel, { pager }: Pick<ContainerState, 'pager'>): Promise<void> {
  if (pager === undefined || !isSameProcess(pager)) return;
  try {
    await endOf(kernel, pager.pid, kernel.pidfdOpen(pager.pid));
  } catch (error) {
    if (!(error instanceof SiltError && error.code === 'PROCESS_NOT_FOUND')) throw error;
  }
}

/** Why a container's memory could not be brought, for which it was ended; undefined when all is well. */
export function memoryFailure(directory: string): string | undefined {
  try {
    return readFileSync(join(directory, FAILURE), 'utf8').trim() || undefined;
  } catch {
    return undefined;
  }
}
