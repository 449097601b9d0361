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
