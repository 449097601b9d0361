/** What getdents64(2) writes: struct linux_dirent64. */
import type { ByteString } from '../codec/bytes';

/** DT_* of dirent.h; a filesystem may say unknown for everything. */
export const DT = { unknown: 0, fifo: 1, char: 2, directory: 4, block: 6, file: 8, symlink: 10, socket: 12 } as const;

/** Calls back for each entry of `length` bytes at `at`, but for `.` and `..`. */
export function forEachDirent(image: Buffer, at: number, length: number, each: (name: ByteString, type: number) => void): void {
  for (let entry = at; entry < at + length;) {
    const size = image.readUInt16LE(entry + 16);
    const name = image.toString('latin1', entry + 19, image.indexOf(0, entry + 19)) as ByteString;
    if (name !== '.' && (name as string) !== '..') each(name, image[entry + 18]!);
    entry += size;
  }
}
