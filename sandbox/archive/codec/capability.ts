/**
 * File capabilities, the value of `security.capability` (linux/capability.h). Version 2 belongs to the root of the
 * user namespace that looks at it; version 3 ends in the uid of the namespace root it is for.
 */

const REVISION_MASK = 0xff000000;
const VERSION_2 = 0x02000000;
const VERSION_3 = 0x03000000;
const SIZE_2 = 20;
const SIZE_3 = 24;

/**
 * The value as a container sees it whose ids `uid` maps from the host's (`undefined`: has no such id): version 2
 * when it is for the container's root, version 3 with the mapped id otherwise.
 * @returns `undefined` when the container cannot see it, and for what is no file capability.
 */
export function mapCapability(value: Buffer, uid: (host: number) => number | undefined): Buffer | undefined {
  if (value.length < SIZE_2) return undefined;
  const first = value.readUInt32LE(0);
  const revision = (first & REVISION_MASK) >>> 0;
  let rootId = 0;
  if (revision === VERSION_3 && value.length === SIZE_3) rootId = value.readUInt32LE(SIZE_2);
  else if (revision !== VERSION_2 || value.length !== SIZE_2) return undefined;
  const mapped = uid(rootId);
  if (mapped === undefined) return undefined;
  const out = Buffer.alloc(mapped === 0 ? SIZE_2 : SIZE_3);
  value.copy(out, 0, 0, SIZE_2);
  out.writeUInt32LE(((mapped === 0 ? VERSION_2 : VERSION_3) | (first & ~REVISION_MASK)) >>> 0, 0);
  if (mapped !== 0) out.writeUInt32LE(mapped, SIZE_2);
  return out;
}
