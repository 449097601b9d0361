import { closeSync, fstatSync, readSync } from 'node:fs';
import { C, flags, type Kernel, openat2, ProgramBuilder } from '../../syscall';

const MAX_PASSWD = 1 << 20;

/**
 * The home directory of a uid by the container's own /etc/passwd, as runc fills in HOME: looked up in the layers, the topmost
 * first, before they are mounted. `/` when there is none.
 * @param layers absolute host paths, and fds of layers that have no path
 */
export function homeOf(kernel: Kernel, layers: readonly (string | number)[], uid: number): string {
  for (const layer of layers) {
    const text = readInLayer(kernel, layer, 'etc/passwd');
    if (text === undefined) continue;
    for (const line of text.split('\n')) {
      const fields = line.split(':');
      if (fields[2] === `${uid}` && fields[5]?.startsWith('/')) return fields[5];
    }
    return '/';
  }
  return '/';
}

/** A small regular file of a layer, or undefined. The layer is a stranger's: no symlink leads out, no fifo blocks. */
function readInLayer(kernel: Kernel, layer: string | number, name: string): string | undefined {
  const p = new ProgramBuilder();
  const fd = p.slot('file');
  const how = { out: fd, tolerate: 'all' as const };
  if (typeof layer === 'number') {
    openat2(p, layer, name, 'O_RDONLY|O_NONBLOCK|O_NOCTTY', 'RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS', how);
  } else {
    const dir = p.slot('layer');
    p.call('openat', [C.AT_FDCWD, p.string(layer), flags('O_PATH|O_DIRECTORY|O_CLOEXEC'), 0], {
      out: dir,
      tolerate: 'all',
    });
    openat2(p, dir, name, 'O_RDONLY|O_NONBLOCK|O_NOCTTY', 'RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS', how);
    p.call('close', [dir], { tolerate: 'all' });
  }
  const file = kernel.run(p.build()).get(fd);
  if (file < 0) return undefined;
  try {
    const stat = fstatSync(file);
    if (!stat.isFile() || stat.size > MAX_PASSWD) return undefined;
    const bytes = Buffer.alloc(stat.size);
    return bytes.toString('utf8', 0, readSync(file, bytes, 0, bytes.length, 0));
  } finally {
    closeSync(file);
  }
}
