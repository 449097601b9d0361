/** Whether a restore can leave memory to a pager, and what that takes in a user namespace (native/lazy.c says why). */
import { constants, openSync } from 'node:fs';
import type { CriuCommand } from '../programs/criu';
import type { Workshop } from '../workshop';
import { hasFindings } from '../criu/criu-run';
import { startDumper } from '../criu/dumper';
import type { RestoreRequest } from './restore-request';

/** How a pager comes by the userfaultfds of the processes. */
export interface LazyMemory {
  /** /dev/userfaultfd, from which processes in a user namespace make theirs; none where userfaultfd(2) will do. The holder's to close. */
  readonly device: number | undefined;
}

const DEVICE = '/dev/userfaultfd';

/** What leaving out memory takes; undefined when it is not wanted, or cannot be had, which is told. */
export async function lazyMemory(
  workshop: Workshop,
  criu: CriuCommand,
  { image, plan, id }: RestoreRequest,
): Promise<LazyMemory | undefined> {
  if (!image.background) return undefined;
  if (!plan.userns) return { device: undefined };
  // In a user namespace CRIU does not look for userfaultfds, and has to be told that there are.
  if (!hasFindings()) await findOut(workshop, criu);
  const device = openDevice();
  if (device !== undefined) return { device };
  workshop.warn?.(
    `the memory of ${id} is read before it runs, as without --background: in a user namespace waiting for memory takes ${DEVICE}, which this host does not have (Linux 6.1)`,
  );
  return undefined;
}

/** Has a CRIU of host root look what the kernel can. */
async function findOut({ kernel }: Workshop, criu: CriuCommand): Promise<void> {
  const session = await startDumper(kernel, criu);
  try {
    await session.canLeaveMemoryOut();
  } finally {
    await session.end();
  }
}

function openDevice(): number | undefined {
  try {
    return openSync(DEVICE, constants.O_RDWR);
  } catch {
    return undefined;
  }
}
