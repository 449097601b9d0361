/** What a program has written to its terminal and nobody has read is part of its checkpoint. */
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import {
  checkpointSuite,
  mustRun,
  restoreContainer,
  siltTest,
  startWithStdio,
  takeLastCheckpoint,
  taskStatus,
  waitFor,
} from '../harness';

/** More than a fifo, silt and a terminal hold. */
const LINES = 60_000;
const writer = [
  'awk',
  `BEGIN { for (i = 1; i <= ${LINES}; i++) { print i; fflush(); print i > "/at"; close("/at") } }`,
];

checkpointSuite('output that nobody has read', {}, (host) => {
  const flags = ['--tty'];

  async function fifo(name: string): Promise<string> {
    const path = join(host().directory, name);
    await mustRun(['mkfifo', path]);
    return path;
  }

  const at = async (id: string): Promise<number> =>
    Number((await host().exec(id, ['sh', '-c', 'cat /at 2> /dev/null || true'])).stdout.toString());

  /** Where a writer stands that has no room any more. */
  async function blockedAt(id: string): Promise<number> {
    let last = 0;
    return waitFor(
      'it to wait for a reader',
      async () => {
        const before = last;
        await new Promise((resolve) => setTimeout(resolve, 300));
        last = await at(id);
        return last > 0 && last === before ? last : undefined;
      },
      { timeoutMs: 60_000 },
    );
  }

  siltTest(
    'comes out of the restored one, each byte once and in order, after what was read of the first',
    async () => {
      const first = await fifo('first');
      const id = await startWithStdio(host(), writer, { flags, stdio: { stdout: first, terminal: true } });
      await blockedAt(id);
      // One that ran on would write what its fifo still has room for, and that is in the checkpoint too.
      const checkpoint = await takeLastCheckpoint(host(), id);
      const given = readOnce(first);
      await host().remove(id);
      const second = await fifo('second');
      const restored = await restoreContainer(host(), checkpoint, { flags, stdio: { stdout: second, terminal: true } });
      const later = await readToEnd(second, async () => {
        await waitFor('its end', async () => (await taskStatus(host(), restored)) === 'STOPPED', { timeoutMs: 60_000 });
        await host().remove(restored);
      });
      expect(given.length).toBeGreaterThan(0);
      expect(`${given}${later}`.replaceAll('\r', '')).toBe(
        Array.from({ length: LINES }, (_, i) => `${i + 1}\n`).join(''),
      );
    },
    180_000,
  );
});

/** Reads a fifo from now on until its writers are gone, which `meanwhile` sees to. */
async function readToEnd(path: string, meanwhile: () => Promise<unknown>): Promise<string> {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const buffer = Buffer.alloc(65536);
  const parts: Buffer[] = [];
  const state = { isDone: false };
  const done = meanwhile().finally(() => (state.isDone = true));
  try {
    for (;;) {
      const count = readSome(fd, buffer);
      if (count > 0) parts.push(Buffer.from(buffer.subarray(0, count)));
      else if (count === 0 && state.isDone) break;
      else await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await done;
  } finally {
    closeSync(fd);
  }
  return Buffer.concat(parts).toString('latin1');
}

/** What is in a fifo: the kernel lets nobody write in the middle of a read(2). */
function readOnce(path: string): string {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const buffer = Buffer.alloc(1 << 20);
  try {
    return buffer.toString('latin1', 0, readSync(fd, buffer));
  } finally {
    closeSync(fd);
  }
}

/** Zero at the end of the file; undefined when there is nothing now. */
function readSome(fd: number, buffer: Buffer): number {
  try {
    return readSync(fd, buffer);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    return -1;
  }
}
