/** What getdents64(2) writes: struct linux_dirent64. */
import type { ByteString } from '../codec/bytes';

/** DT_* of dirent.h; a filesystem may say unknown for everything. */
export const DT = { unknown: 0, fifo: 1, char: 2, directory: 4, block: 6, file: 8, symlink: 10, socket: 12 } as const;

const DOT = 0x2e;

/** Calls back with where each name begins and ends, for the `length` bytes of entries at `at`, but not for `.` and `..`. */
export function forEachDirent(
  image: Buffer,
  at: number,
  length: number,
  each: (start: number, end: number, type: number) => void,
): void {
  for (let entry = at; entry < at + length;) {
    const start = entry + 19;
    let end = start + 1;
    while (image[end] !== 0) end++;
    const dots = image[start] === DOT && (end === start + 1 || (end === start + 2 && image[start + 1] === DOT));
    if (!dots) each(start, end, image[entry + 18]!);
    entry += image[entry + 16]! | (image[entry + 17]! << 8);
  }
}

/** A name that {@link forEachDirent} told of. */
export function direntName(image: Buffer, start: number, end: number): ByteString {
  return image.toString('latin1', start, end) as ByteString;
}
