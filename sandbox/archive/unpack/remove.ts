/** Takes away what stands where an entry is to be made. */
import { C } from '../../../syscall';
import type { ByteString } from '../codec/bytes';
import { allocHow, close, getdents, lseek, openat2, unlinkat } from '../io/calls';
import { direntName, DT, forEachDirent } from '../io/dirents';
import { entryFailure, type Place } from '../faults';
import type { Operations } from './operations';

const LISTING = 32 << 10;
const STEP = 'removing what was there before';

/**
 * Removes `name` from the directory, with all that is in it. Holds one fd besides `dir`, however deep the tree is, and so goes
 * back up by `..`: nothing else has a hand in an upper that is being unpacked.
 */
export function removeTree(ops: Operations, dir: number, name: ByteString, place: Place): void {
  if (removed(ops, dir, name, place)) return;
  const names = [name];
  let current = open(ops, dir, name, place);
  try {
    while (names.length > 0) {
      const below = clearLevel(ops, current, place);
      if (below !== undefined) {
        names.push(below);
        current = replace(current, open(ops, current, below, place));
        continue;
      }
      const done = names.pop()!;
      if (names.length > 0) current = replace(current, openParent(ops, current, place));
      removeDirectory(ops, names.length > 0 ? current : dir, done, place);
    }
  } finally {
    closeNow(current);
  }

  function replace(old: number, next: number): number {
    closeNow(old);
    return next;
  }
  function closeNow(fd: number): void {
    ops.now((batch) => close(batch, fd));
  }
}

/** Tries to remove something that is not a directory; there being nothing is as good. */
function removed(ops: Operations, dir: number, name: ByteString, place: Place): boolean {
  const { failure } = ops.now((batch) => {
    batch.step(STEP);
    unlinkat(batch, dir, batch.string(name));
  });
  if (!failure || failure.errno === 'ENOENT') return true;
  if (failure.errno === 'EISDIR') return false;
  throw entryFailure(place, failure.step, failure.errno);
}

function open(ops: Operations, dir: number, name: ByteString, place: Place): number {
  const { failure, batch } = ops.now((b) => {
    b.step(STEP);
    openat2(b, b.newSlot(), dir, b.string(name), allocHow(b, C.O_RDONLY | C.O_DIRECTORY));
  });
  if (failure) throw entryFailure(place, failure.step, failure.errno);
  return batch.slot(0);
}

function openParent(ops: Operations, dir: number, place: Place): number {
  const { failure, batch } = ops.now((b) => {
    b.step(STEP);
    const how = allocHow(b, C.O_RDONLY | C.O_DIRECTORY);
    b.setWord64(how + 16, 0);
    openat2(b, b.newSlot(), dir, b.string('..'), how);
  });
  if (failure) throw entryFailure(place, failure.step, failure.errno);
  return batch.slot(0);
}

/** Removes files and empty directories. @returns the name of a directory that is not empty, if there is one. */
function clearLevel(ops: Operations, dir: number, place: Place): ByteString | undefined {
  for (;;) {
    const found: [name: ByteString, directory: boolean][] = [];
    const { failure, batch } = ops.now((b) => {
      b.step(STEP);
      lseek(b, b.newSlot(), dir, 0, C.SEEK_SET);
      getdents(b, b.newSlot(), dir, b.space(LISTING), LISTING);
    });
    if (failure) throw entryFailure(place, failure.step, failure.errno);
    const length = batch.slot(1);
    if (length === 0) return undefined;
    // The listing lies behind the word of lseek's offset.
    forEachDirent(batch.image, 8, length, (start, end, type) => {
      found.push([direntName(batch.image, start, end), type === DT.directory]);
    });
    if (found.length === 0) return undefined;
    const full = unlinkAll(ops, dir, found, place);
    if (full !== undefined) return full;
  }
}

const AT_ONCE = 200;

function unlinkAll(
  ops: Operations,
  dir: number,
  list: readonly [ByteString, boolean][],
  place: Place,
): ByteString | undefined {
  for (let from = 0; from < list.length; from += AT_ONCE) {
    const part = list.slice(from, from + AT_ONCE);
    const { failure } = ops.now((b) => {
      b.step(STEP);
      for (const [name, directory] of part) unlinkat(b, dir, b.string(name), directory ? C.AT_REMOVEDIR : 0);
    });
    if (!failure) continue;
    // EISDIR: the filesystem does not say in listings what is a directory.
    if (failure.errno === 'ENOTEMPTY' || failure.errno === 'EISDIR') return part[failure.index]![0];
    throw entryFailure(place, failure.step, failure.errno);
  }
  return undefined;
}

function removeDirectory(ops: Operations, dir: number, name: ByteString, place: Place): void {
  const { failure } = ops.now((b) => {
    b.step(STEP);
    unlinkat(b, dir, b.string(name), C.AT_REMOVEDIR);
  });
  if (failure) throw entryFailure(place, failure.step, failure.errno);
}
