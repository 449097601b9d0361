/** Which archive this is: what a layer that was made of it is found again by. */
import { fstatSync, readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { getSystemErrorName } from 'node:util';
import { SiltError } from '../../errors';
import { loadNative } from '../../native';
import { C, errnoNumber, type Kernel, ProgramBuilder } from '../../syscall';

/** Part of every key, so that a silt that makes layers in another way finds none of these. */
const FORMAT = 2;
/** Longer than the clock of any filesystem stands still: a file changed after this has another time. */
const CLOCK_TICK_MS = 20;
const PIECE = 16 << 20;
const DIGEST_SIZE = 32;

/**
 * A key, fit to be a file name without dots, that changes whenever the archive does: of its device, inode, size and times, or, with `digest`, of its bytes. Part of it
 * is the boot, because nothing of a layer is forced to disk: one from before a crash may have holes.
 */
export async function identify(fd: number, how: 'stat' | 'digest'): Promise<string> {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  const archive = how === 'digest' ? await digestOf(fd) : (await statOf(fd)).join('-');
  return `${FORMAT}-${boot}-${archive}`;
}

/** The same after a restart of the host, which may number its devices in another way. */
export async function lastingIdentity(fd: number, how: 'stat' | 'digest'): Promise<string> {
  if (how === 'digest') return `digest-${await digestOf(fd)}`;
  const [, ...others] = await statOf(fd);
  return `stat-${others.join('-')}`;
}

/** Device, inode, size, and the times of modification and change. */
async function statOf(fd: number): Promise<string[]> {
  const age = Date.now() - fstatSync(fd).ctimeMs;
  // Changed just now: a change right after this one could have the same time.
  if (age >= 0 && age < CLOCK_TICK_MS) await setTimeout(CLOCK_TICK_MS);
  const { dev, ino, size, mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true });
  return [dev, ino, size, mtimeNs, ctimeNs].map((number) => number.toString(36));
}

/** SHA-256 of the digests of its pieces, so that nothing of it comes to JavaScript, and other containers need not wait. */
async function digestOf(fd: number): Promise<string> {
  const { size } = fstatSync(fd);
  const native = loadNative();
  const digests = new Uint8Array(Math.ceil(size / PIECE) * DIGEST_SIZE);
  const [made, errno] = await new Promise<[number, number]>((resolve) =>
    native.digestChunks(fd, 0, size, PIECE, digests, false, (...result) => resolve(result)),
  );
  if (errno !== 0 || made * DIGEST_SIZE < digests.length) {
    const found = errno === 0 ? 'it became shorter' : getSystemErrorName(-errno);
    throw new SiltError('SEED_UNREADABLE', `cannot read the archive: ${found}`, { syscall: 'pread' });
  }
  return Buffer.from(native.sha256(digests)).toString('hex');
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
