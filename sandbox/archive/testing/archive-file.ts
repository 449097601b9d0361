import { closeSync, openSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

let count = 0;

/** An open file with these bytes and no name. The caller closes it. */
export function fileWith(data: Buffer): number {
  const path = join(tmpdir(), `silt-archive-${process.pid}-${count++}`);
  writeFileSync(path, data);
  const fd = openSync(path, 'r');
  unlinkSync(path);
  return fd;
}

/** Runs `use` with an open file of these bytes. */
export async function withFile<T>(data: Buffer, use: (fd: number) => Promise<T>): Promise<T> {
  const fd = fileWith(data);
  try {
    return await use(fd);
  } finally {
    closeSync(fd);
  }
}
