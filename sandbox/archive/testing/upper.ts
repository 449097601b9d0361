/** Directories to unpack into and to pack, made for tests; the calls go through ProgramBuilder, not the code under test. */
import { closeSync, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { loadNative } from '../../../native';
import { C, ProgramBuilder } from '../../../syscall';

/** Is this process host root, as mounting a tmpfs needs? Says why tests are left out when it is not. */
export function isRoot(): boolean {
  const root = process.getuid?.() === 0;
  if (!root) process.stderr.write('skipped: these tests mount a tmpfs and set trusted attributes, which needs root\n');
  return root;
}

export interface Upper {
  readonly fd: number;
  /** A path to it for other programs. */
  readonly path: string;
  close(): void;
}

/** An empty tmpfs that is mounted nowhere and is gone with its fd. @param attributes of its mount, MOUNT_ATTR_* */
export function makeTmpfs(options: Readonly<Record<string, string>> = {}, attributes = 0): Upper {
  const p = new ProgramBuilder();
  const context = p.slot('context');
  const fd = p.slot('fd');
  p.call('fsopen', [p.string('tmpfs'), 1], { out: context });
  for (const [key, value] of Object.entries(options)) {
    p.call('fsconfig', [context, C.FSCONFIG_SET_STRING, p.string(key), p.string(value), 0]);
  }
  p.call('fsconfig', [context, C.FSCONFIG_CMD_CREATE, 0, 0, 0]);
  p.call('fsmount', [context, 1, attributes], { out: fd });
  p.call('close', [context]);
  const mounted = run(p).slots[fd.index]!;
  return { fd: mounted, path: `/proc/${process.pid}/fd/${mounted}`, close: () => closeSync(mounted) };
}

function run(p: ProgramBuilder): { slots: number[]; image: Buffer } {
  const program = p.build();
  const bytes = program.encode();
  const slots = new BigInt64Array(program.slots.length);
  const outcome = loadNative().run(bytes, slots);
  if (outcome >= 0) throw program.failure(Math.floor(outcome / 4096), outcome % 4096);
  return { slots: [...slots].map(Number), image: bytes.subarray(program.imageOffset) };
}

export function setXattr(path: string | Buffer, name: string, value: Buffer): void {
  const p = new ProgramBuilder();
  p.call('lsetxattr', [p.string(path), p.string(name), p.bytes(value), value.length, 0]);
  run(p);
}

/** The extended attributes of a file, values in hex. */
export function xattrsOf(path: Buffer): Record<string, string> {
  const p = new ProgramBuilder();
  const list = p.space(65536);
  const length = p.slot('length');
  p.call('llistxattr', [p.string(path), list, 65536], { out: length });
  const { slots, image } = run(p);
  const names = image
    .toString('latin1', list.offset, list.offset + slots[0]!)
    .split('\0')
    .slice(0, -1);
  return Object.fromEntries(names.sort().map((name) => [name, getXattr(path, name).toString('hex')]));
}

export function getXattr(path: Buffer, name: string): Buffer {
  const p = new ProgramBuilder();
  const value = p.space(65536);
  const length = p.slot('length');
  p.call('lgetxattr', [p.string(path), p.string(Buffer.from(name, 'latin1')), value, 65536], { out: length });
  const { slots, image } = run(p);
  return Buffer.from(image.subarray(value.offset, value.offset + slots[0]!));
}

export function makeNode(
  path: string | Buffer,
  type: 'S_IFCHR' | 'S_IFBLK' | 'S_IFIFO' | 'S_IFSOCK',
  mode = 0,
  major = 0,
  minor = 0,
): void {
  const p = new ProgramBuilder();
  p.call('mknodat', [C.AT_FDCWD, p.string(path), C[type] | mode, ((minor & 0xff) | (major << 8)) >>> 0]);
  run(p);
}

/** Sets access and modification time to the nanosecond. */
export function setTime(path: string | Buffer, seconds: number | bigint, nanoseconds = 0): void {
  const p = new ProgramBuilder();
  const times = p.space(32);
  for (const half of [0, 16]) {
    p.setU64(times.plus(half, 8), BigInt(seconds));
    p.setU64(times.plus(half + 8, 8), nanoseconds);
  }
  p.call('utimensat', [C.AT_FDCWD, p.string(path), times, C.AT_SYMLINK_NOFOLLOW]);
  run(p);
}

export interface Seen {
  type: string;
  mode: string;
  owner: string;
  /** Seconds and nanoseconds. */
  mtime: string;
  links: number;
  contents?: string;
  size?: number;
  /** 512-byte blocks. */
  blocks?: number;
  target?: string;
  device?: string;
  xattrs?: Record<string, string>;
}

const TYPES = { [C.S_IFREG]: 'file', [C.S_IFDIR]: 'dir', [C.S_IFLNK]: 'link', [C.S_IFCHR]: 'char', [C.S_IFBLK]: 'block', [C.S_IFIFO]: 'fifo', [C.S_IFSOCK]: 'socket' }; // prettier-ignore

function formatTime(total: bigint): string {
  const nanoseconds = ((total % 1000000000n) + 1000000000n) % 1000000000n;
  return `${(total - nanoseconds) / 1000000000n}.${`${nanoseconds}`.padStart(9, '0')}`;
}

/** All that is in a tree, by path; names are shown byte by byte (latin1). */
export function look(root: string): Record<string, Seen> {
  const seen: Record<string, Seen> = {};
  const visit = (path: Buffer, name: string): void => {
    const stat = lstatSync(path, { bigint: true });
    const type = TYPES[Number(stat.mode) & C.S_IFMT]!;
    const xattrs = xattrsOf(path);
    seen[name] = {
      type,
      mode: (Number(stat.mode) & 0o7777).toString(8),
      owner: `${stat.uid}:${stat.gid}`,
      mtime: formatTime(stat.mtimeNs),
      links: Number(stat.nlink),
      ...(type === 'file' && { size: Number(stat.size), blocks: Number(stat.blocks) }),
      ...(type === 'file' && stat.size <= 4096n && { contents: readFileSync(path).toString('latin1') }),
      ...(type === 'link' && { target: readlinkSync(path, 'buffer').toString('latin1') }),
      ...((type === 'char' || type === 'block') && { device: `${stat.rdev >> 8n}:${stat.rdev & 255n}` }),
      ...(Object.keys(xattrs).length > 0 && { xattrs }),
    };
    if (type !== 'dir') return;
    for (const child of readdirSync(path, { encoding: 'buffer' }).sort((a, b) => Buffer.compare(a, b))) {
      visit(
        Buffer.concat([path, Buffer.from('/'), child]),
        name === '.' ? child.toString('latin1') : `${name}/${child.toString('latin1')}`,
      );
    }
  };
  visit(Buffer.from(`${root}/.`), '.');
  return seen;
}
