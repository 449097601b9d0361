import { closeSync, fstatSync } from 'node:fs';
import { C, type Kernel, openat, ProgramBuilder } from '../../syscall';
import { mountLayer } from './mount';

/** The kernel's limit for a value and for the list of names (xattr(7)). */
const MOST = 65536;
const SECOND = 1_000_000_000n;

interface Upper {
  readonly upper: number;
  readonly directory: string;
}

/**
 * Gives the root directory of an upper the time and the extended attributes of the root of the layer that it lies on: the
 * overlay shows its own. Owner and mode it has from when it was made.
 * @param to the upper's mount and the name of its directory there, see createUpper
 * @param userns the pod's user namespace, if it has one
 */
export function takeOverRoot(kernel: Kernel, layer: string, to: Upper, userns: number | undefined): void {
  const from = mountLayer(kernel, layer, userns);
  try {
    const p = new ProgramBuilder();
    p.step('reading the root directory of the layer');
    const list = p.space(MOST);
    const length = p.slot('length');
    const opened = p.slot('opened');
    p.call('openat', [from, p.string('.'), C.O_RDONLY | C.O_DIRECTORY | C.O_CLOEXEC, 0], { out: opened });
    p.call('flistxattr', [opened, list, MOST], { out: length, tolerate: ['EOPNOTSUPP'] });
    const result = kernel.run(p.build());
    const root = result.get(opened);
    try {
      const names = result
        .at(list, Math.max(result.get(length), 0))
        .toString('latin1')
        .split('\0')
        .slice(0, -1);
      copy(kernel, root, to, names);
    } finally {
      closeSync(root);
    }
  } finally {
    closeSync(from);
  }
}

function copy(kernel: Kernel, from: number, { upper, directory }: Upper, names: readonly string[]): void {
  const { mtimeNs } = fstatSync(from, { bigint: true });
  // Before 1970 too it counts forwards from a whole second.
  const nanoseconds = ((mtimeNs % SECOND) + SECOND) % SECOND;
  const p = new ProgramBuilder();
  p.step('giving the upper the attributes of the layer');
  const to = openat(p, upper, directory, 'O_RDONLY|O_DIRECTORY');
  for (const text of names.filter((name) => !name.startsWith('trusted.'))) {
    const name = p.string(Buffer.from(text, 'latin1'));
    const value = p.space(MOST);
    const size = p.slot('size');
    p.call('fgetxattr', [from, name, value, MOST], { out: size });
    p.call('fsetxattr', [to, name, value, size, 0], { tolerate: ['EOPNOTSUPP'] });
  }
  const times = p.space(32);
  for (const half of [0, 16]) {
    p.setU64(times.plus(half, 8), BigInt.asUintN(64, (mtimeNs - nanoseconds) / SECOND));
    p.setU64(times.plus(half + 8, 8), nanoseconds);
  }
  p.call('utimensat', [to, 0, times, 0]);
  p.call('close', [to]);
  kernel.run(p.build());
}
