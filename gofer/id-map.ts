/** A range of a user namespace: `containerID … containerID+size-1` inside is `hostID …` outside (user_namespaces(7)). */
export interface IdRange {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
}

/** How a pod's ids look from the host. Without a user namespace both are equal. */
export interface IdMaps {
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
}

/** The host's id of a container's id; undefined when the pod does not have it. `null` maps mean: no user namespace. */
export function toHost(ranges: readonly IdRange[], id: number): number | undefined {
  for (const range of ranges) {
    if (id >= range.containerID && id < range.containerID + range.size) return range.hostID + id - range.containerID;
  }
  return undefined;
}

/** The text that /proc/PID/uid_map takes. */
export function mapFileText(ranges: readonly IdRange[]): string {
  return ranges.map((range) => `${range.containerID} ${range.hostID} ${range.size}\n`).join('');
}

/**
 * The same ranges with what they map to, ids of a user namespace, as the host numbers it. Undefined when some id has no number there.
 */
export function rangesToHost(ranges: readonly IdRange[], ofNamespace: readonly IdRange[]): IdRange[] | undefined {
  const result: IdRange[] = [];
  for (const range of ranges) {
    for (let done = 0; done < range.size;) {
      const id = range.hostID + done;
      const around = ofNamespace.find(({ containerID, size }) => id >= containerID && id < containerID + size);
      if (around === undefined) return undefined;
      const size = Math.min(range.size - done, around.containerID + around.size - id);
      result.push({ containerID: range.containerID + done, hostID: around.hostID + id - around.containerID, size });
      done += size;
    }
  }
  return result;
}

/** Whether two say the same, whatever the order of their ranges. */
export function sameMaps(one: IdMaps, other: IdMaps): boolean {
  const lines = (ranges: readonly IdRange[]): string =>
    mapFileText([...ranges].sort((a, b) => a.containerID - b.containerID));
  return lines(one.uids) === lines(other.uids) && lines(one.gids) === lines(other.gids);
}
