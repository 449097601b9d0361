/** Ids as a container sees them. */

import type { IdMaps, IdRange } from '../../../gofer';

export type { IdMaps, IdRange };

/** What the kernel shows for an id that a user namespace does not have (/proc/sys/kernel/overflowuid). */
export const OVERFLOW_ID = 65534;

/** The container's id for one of the host; `undefined` when it has none. */
export function toContainer(ranges: readonly IdRange[] | undefined, host: number): number | undefined {
  if (!ranges) return host;
  const range = ranges.find(({ hostID, size }) => host >= hostID && host < hostID + size);
  return range && range.containerID + host - range.hostID;
}
