/** Which archive this is: what a layer that was made of it is found again by. */
import { createReadStream, fstatSync, readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { C, errnoNumber, type Kernel, ProgramBuilder } from '../../syscall';

/** Part of every key, so that a silt that makes layers in another way finds none of these. */
const FORMAT = 1;
/** Longer than the clock of any filesystem stands still: a file changed after this has another time. */
const CLOCK_TICK_MS = 20;

/**
 * A key, fit to be a file name without dots, that changes whenever the archive does: of its device, inode, size and times, or, with `digest`, of its bytes. Part of it
 * is the boot, because nothing of a layer is forced to disk: one from before a crash may have holes.
 */
export async function identify(fd: number, how: 'stat' | 'digest'): Promise<string> {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  const archive = how === 'digest' ? await digestOf(fd) : await statOf(fd);
  return `${FORMAT}-${boot}-${archive}`;
}

async function statOf(fd: number): Promise<string> {
  const age = Date.now() - fstatSync(fd).ctimeMs;
  // Changed just now: a change right after this one could have the same time.
  if (age >= 0 && age < CLOCK_TICK_MS) await setTimeout(CLOCK_TICK_MS);
  const { dev, ino, size, mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true });
  return [dev, ino, size, mtimeNs, ctimeNs].map((number) => number.toString(36)).join('-');
}

async function digestOf(fd: number): Promise<string> {
  // Loaded only here: it costs several milliseconds.
  const { createHash } = await import('node:crypto');
  const hash = createHash('sha256');
  for await (const chunk of createReadStream('', { fd, start: 0, autoClose: false })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/**
 * Has somebody the file open for writing? What is written through a mapping changes its times late. A read lease (fcntl(2)) tells:
 * it is refused then. It is given back at once, and its signal is one that does nothing.
 */
export function isBeingWritten(kernel: Kernel, fd: number): boolean {
  const p = new ProgramBuilder();
  const lease = p.slot('lease');
  p.call('fcntl', [fd, C.F_SETSIG, C.SIGURG], { tolerate: 'all' });
  // Filesystems without leases answer EINVAL or ENOLCK: then times have to do.
  p.call('fcntl', [fd, C.F_SETLEASE, C.F_RDLCK], { out: lease, tolerate: 'all' });
  p.call('fcntl', [fd, C.F_SETLEASE, C.F_UNLCK], { tolerate: 'all' });
  return kernel.run(p.build()).get(lease) === -errnoNumber('EAGAIN');
}
