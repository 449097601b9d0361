import { type Addr, type Arg, type CallOptions, type Fd, Named, type ProgramBuilder, type Slot } from '../builder';
import { AT_FDCWD, flags, mode, NULL } from './flags';

type Path = string | Uint8Array | Addr;

function pathArg(p: ProgramBuilder, path: Path): Addr {
  return typeof path === 'string' || path instanceof Uint8Array ? p.string(path) : path;
}

/** openat(2), always close-on-exec. The slot gets the fd. */
export function openat(
  p: ProgramBuilder,
  dir: Fd,
  path: Path,
  how: string,
  options: CallOptions & { mode?: number } = {},
): Slot {
  const out = options.out ?? p.slot('fd');
  p.call('openat', [dir, pathArg(p, path), flags(`${how}|O_CLOEXEC`), mode(options.mode ?? 0)], {
    ...options,
    out,
    retry: true,
  });
  return out;
}

/** open(2): {@link openat} from the working directory. */
export function open(p: ProgramBuilder, path: Path, how: string, options: CallOptions & { mode?: number } = {}): Slot {
  return openat(p, AT_FDCWD, path, how, options);
}

/** openat2(2) with RESOLVE_* flags (Linux 5.6), close-on-exec. */
export function openat2(
  p: ProgramBuilder,
  dir: Fd,
  path: Path,
  how: string,
  resolve: string,
  options: CallOptions = {},
): Slot {
  const out = options.out ?? p.slot('fd');
  const howFlags = flags(`${how}|O_CLOEXEC`);
  const resolveFlags = flags(resolve);
  const openHow = p.space(24, `{${howFlags.text}, ${resolveFlags.text}}`);
  p.setU64(openHow, BigInt(howFlags.value));
  p.setU64(openHow.plus(16), BigInt(resolveFlags.value));
  // EAGAIN: anything was renamed or mounted on the host while a `..` was looked up. Who races on purpose, for long, is told of it as an error.
  p.call('openat2', [dir, pathArg(p, path), openHow, 24], { ...options, out, retry: true, raced: true });
  return out;
}

export function close(p: ProgramBuilder, fd: Fd): void {
  p.call('close', [fd], { tolerate: 'all' });
}

/** close_range(2), Linux 5.9: every fd from `first` to `last`. */
export function closeRange(p: ProgramBuilder, first: number, last = 0xffffffff): void {
  p.call('close_range', [first, last === 0xffffffff ? new Named(last, '~0') : last, 0]);
}

export function mkdirat(p: ProgramBuilder, dir: Fd, path: Path, perm: number, options: CallOptions = {}): void {
  p.call('mkdirat', [dir, pathArg(p, path), mode(perm)], options);
}

/** mknodat(2); `type` is S_IFCHR and so on, `device` from {@link makedev}. */
export function mknodat(
  p: ProgramBuilder,
  dir: Fd,
  path: Path,
  type: string,
  perm: number,
  device: Named | number,
  options: CallOptions = {},
): void {
  const kind = flags(type);
  const full = new Named(Number(kind.value) | perm, `${type}|0${perm.toString(8)}`);
  p.call('mknodat', [dir, pathArg(p, path), full, device], options);
}

/** The number that mknodat(2) takes for a device: gnu_dev_makedev's layout, which the kernel's new_decode_dev reads. */
export function makedev(major: number, minor: number): Named {
  const value = (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) << 12);
  return new Named(value >>> 0, `makedev(${major}, ${minor})`);
}

export function symlinkat(p: ProgramBuilder, target: string, dir: Fd, path: Path, options: CallOptions = {}): void {
  p.call('symlinkat', [p.string(target), dir, pathArg(p, path)], options);
}

export function fchownat(
  p: ProgramBuilder,
  dir: Fd,
  path: Path,
  uid: number,
  gid: number,
  how = 'AT_SYMLINK_NOFOLLOW',
  options: CallOptions = {},
): void {
  p.call('fchownat', [dir, pathArg(p, path), uid, gid, flags(how)], options);
}

export function fchmodat(p: ProgramBuilder, dir: Fd, path: Path, perm: number, options: CallOptions = {}): void {
  p.call('fchmodat', [dir, pathArg(p, path), mode(perm)], options);
}

/** faccessat2(2), Linux 5.8, with the effective ids; the slot is zero when access is allowed. */
export function accessible(p: ProgramBuilder, path: Path, how: string): Slot {
  const out = p.slot('access');
  p.call('faccessat2', [AT_FDCWD, pathArg(p, path), flags(how), flags('AT_EACCESS')], { out, tolerate: 'all' });
  return out;
}

/** Writes all of `data`. */
export function write(p: ProgramBuilder, fd: Fd, data: Uint8Array | string, options: CallOptions = {}): void {
  const raw = typeof data === 'string' ? Buffer.from(data) : data;
  const text = raw.length <= 64 ? JSON.stringify(Buffer.from(raw).toString()) : `{${raw.length} bytes}`;
  p.call('write', [fd, p.bytes(raw, text, 1), raw.length], { repeat: { count: 2, buffer: 1 }, ...options });
}

/** One read(2) of at most `size` bytes; the slot gets how many came, 0 at the end. */
export function read(
  p: ProgramBuilder,
  fd: Fd,
  size: number,
  options: CallOptions = {},
): { count: Slot; buffer: Addr } {
  const buffer = p.space(size, `buffer[${size}]`);
  const count = options.out ?? p.slot('count');
  p.call('read', [fd, buffer, size], { ...options, out: count, retry: true });
  return { count, buffer };
}

/** dup3(2) onto a fixed fd. Without `cloexec` the copy survives execve. */
export function dupTo(p: ProgramBuilder, fd: Fd, target: number, cloexec = false): void {
  p.call('dup3', [fd, target, cloexec ? flags('O_CLOEXEC') : 0], { retry: true });
}

export function ioctl(p: ProgramBuilder, fd: Fd, request: string, arg: Arg, options: CallOptions = {}): void {
  p.call('ioctl', [fd, flags(request), arg], options);
}

export function chdir(p: ProgramBuilder, path: Path, options: CallOptions = {}): void {
  p.call('chdir', [pathArg(p, path)], options);
}

export function fchdir(p: ProgramBuilder, fd: Fd): void {
  p.call('fchdir', [fd]);
}

/** chroot(2) into a directory that is open; the working directory is there, too. */
export function changeRoot(p: ProgramBuilder, fd: Fd): void {
  fchdir(p, fd);
  p.call('chroot', [p.string('.')]);
}

export { NULL };
