/** Id mappings (user_namespaces(7), "Defining user and group ID mappings"). */
import type { IdMapping } from '../spec';
import { integer, list, object, refuse, uint32 } from './shape';

/** The kernel takes no more lines (UID_GID_MAP_MAX_EXTENTS in linux/user_namespace.h). */
const MAX_MAPPINGS = 340;

const shape = object<IdMapping>({ containerID: uint32, hostID: uint32, size: integer(1, 0xffffffff) }, [
  ...['containerID' as const, 'hostID' as const, 'size' as const],
]);

function idMapping(value: unknown, path: string): IdMapping {
  const mapping = shape(value, path);
  for (const start of ['containerID', 'hostID'] as const) {
    // 2^32-1 is no id, so a range ends before it.
    if (mapping[start] + mapping.size > 0xffffffff) {
      throw refuse(path, `the range of ${mapping.size} ids from ${start} ${mapping[start]} goes beyond 4294967294`);
    }
  }
  return mapping;
}

/** A list of mappings in which no id, inside or outside, is mapped twice. */
export function idMappings(value: unknown, path: string): IdMapping[] {
  const mappings = list(idMapping)(value, path);
  if (mappings.length > MAX_MAPPINGS)
    throw refuse(path, `has ${mappings.length} ranges, and the kernel takes ${MAX_MAPPINGS}`);
  for (const start of ['containerID', 'hostID'] as const) {
    const sorted = mappings.map((mapping, i) => ({ mapping, i })).sort((a, b) => a.mapping[start] - b.mapping[start]);
    sorted.forEach(({ mapping, i }, at) => {
      const before = sorted[at - 1];
      if (before && before.mapping[start] + before.mapping.size > mapping[start]) {
        throw refuse(`${path}[${i}]`, `maps ${start} ${mapping[start]}, which ${path}[${before.i}] maps already`);
      }
    });
  }
  return mappings;
}

/** Whether an id of the container is in one of the ranges. */
export function isMapped(mappings: readonly IdMapping[], id: number): boolean {
  return mappings.some(({ containerID, size }) => id >= containerID && id < containerID + size);
}
