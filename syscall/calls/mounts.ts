import { type CallOptions, type Fd, Named, type ProgramBuilder, type Slot } from '../builder';
import { AT_FDCWD, flags, flagsOf, NULL } from './flags';

/** mount(2). */
export function mount(
  p: ProgramBuilder,
  source: string,
  target: string,
  type: string | null,
  how: string | number,
  data?: string,
): void {
  p.call('mount', [
    p.string(source),
    p.string(target),
    type === null ? NULL : p.string(type),
    typeof how === 'string' ? flags(how) : flagsOf('MS_', how),
    data === undefined ? NULL : p.string(data),
  ]);
}

export function umount(p: ProgramBuilder, target: string, how = 'MNT_DETACH', options: CallOptions = {}): void {
  p.call('umount2', [p.string(target), flags(how)], options);
}

export function pivotRoot(p: ProgramBuilder, newRoot: string, putOld: string): void {
  p.call('pivot_root', [p.string(newRoot), p.string(putOld)]);
}

/** fsopen(2), Linux 5.2: a context in which a superblock is configured. */
export function fsopen(p: ProgramBuilder, type: string): Slot {
  const out = p.slot(`${type}_fs`);
  p.call('fsopen', [p.string(type), flags('FSOPEN_CLOEXEC')], { out });
  return out;
}

/** fsconfig(2) FSCONFIG_SET_STRING; the kernel takes at most 255 bytes of value. */
export function fsconfigString(p: ProgramBuilder, context: Fd, key: string, value: string): void {
  p.call('fsconfig', [context, flags('FSCONFIG_SET_STRING'), p.string(key), p.string(value), 0]);
}

export function fsconfigFlag(
  p: ProgramBuilder,
  context: Fd,
  key: string,
  options: Pick<CallOptions, 'tolerate'> = {},
): void {
  p.call('fsconfig', [context, flags('FSCONFIG_SET_FLAG'), p.string(key), NULL, 0], options);
}

/** fsconfig(2) FSCONFIG_SET_FD, which overlayfs takes for its layers (Linux 6.13; detached ones 6.15). */
export function fsconfigFd(p: ProgramBuilder, context: Fd, key: string, fd: Fd): void {
  p.call('fsconfig', [context, flags('FSCONFIG_SET_FD'), p.string(key), NULL, fd]);
}

export function fsconfigCreate(p: ProgramBuilder, context: Fd): void {
  p.call('fsconfig', [context, flags('FSCONFIG_CMD_CREATE'), NULL, NULL, 0]);
}

/** fspick(2), Linux 5.2: a context of the superblock of the mount that `fd` is on. */
export function fspick(p: ProgramBuilder, fd: Fd): Slot {
  const out = p.slot('picked_fs');
  p.call('fspick', [fd, p.string(''), flags('FSPICK_CLOEXEC|FSPICK_EMPTY_PATH')], { out });
  return out;
}

/** Makes the parameters set on a context from {@link fspick} those of the mounted filesystem. */
export function fsconfigReconfigure(p: ProgramBuilder, context: Fd): void {
  p.call('fsconfig', [context, flags('FSCONFIG_CMD_RECONFIGURE'), NULL, NULL, 0]);
}

/** fsmount(2): the slot gets a detached mount with these MOUNT_ATTR_* flags. */
export function fsmount(p: ProgramBuilder, context: Fd, attributes: number, name = 'mount'): Slot {
  const out = p.slot(name);
  p.call('fsmount', [context, flags('FSMOUNT_CLOEXEC'), flagsOf('MOUNT_ATTR_', attributes)], { out });
  return out;
}

/** open_tree(2) with OPEN_TREE_CLONE: the slot gets a detached copy of the mount (with `recursive`, of those below too). */
export function cloneTree(
  p: ProgramBuilder,
  dir: Fd,
  path: string,
  options: { recursive?: boolean; name?: string; noFollow?: boolean; tolerate?: readonly string[] } = {},
): Slot {
  const out = p.slot(options.name ?? 'tree');
  const how = ['OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC'];
  if (path === '') how.push('AT_EMPTY_PATH');
  if (options.recursive) how.push('AT_RECURSIVE');
  if (options.noFollow) how.push('AT_SYMLINK_NOFOLLOW');
  p.call('open_tree', [dir, p.string(path), flags(how.join('|'))], {
    out,
    ...(options.tolerate ? { tolerate: options.tolerate } : {}),
  });
  return out;
}

/** move_mount(2): attaches a detached mount at the place that `target` (an O_PATH fd) refers to. */
export function attach(p: ProgramBuilder, tree: Fd, target: Fd): void {
  p.call('move_mount', [
    tree,
    p.string(''),
    target,
    p.string(''),
    flags('MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH'),
  ]);
}

/** move_mount(2): attaches a detached mount at a path. */
export function attachAt(p: ProgramBuilder, tree: Fd, dir: Fd, path: string): void {
  p.call('move_mount', [tree, p.string(''), dir, p.string(path), flags('MOVE_MOUNT_F_EMPTY_PATH')]);
}

export interface MountAttributes {
  /** MOUNT_ATTR_* to set and to clear. */
  readonly set?: number;
  readonly clear?: number;
  /** MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE. */
  readonly propagation?: number;
  /** The user namespace of an idmapped mount; sets MOUNT_ATTR_IDMAP. */
  readonly userns?: Fd;
  readonly recursive?: boolean;
}

/** mount_setattr(2), Linux 5.12, on the mount that `fd` is the root of; with `path` on the mount there. */
export function mountSetattr(
  p: ProgramBuilder,
  fd: Fd,
  attributes: MountAttributes,
  path = '',
  options: CallOptions = {},
): void {
  const IDMAP = Number(flags('MOUNT_ATTR_IDMAP').value);
  const set = (attributes.set ?? 0) | (attributes.userns === undefined ? 0 : IDMAP);
  const clear = attributes.clear ?? 0;
  const shown = (): string => {
    const parts = [`set=${flagsOf('MOUNT_ATTR_', set).text}`];
    if (clear !== 0) parts.push(`clear=${flagsOf('MOUNT_ATTR_', clear).text}`);
    if (attributes.propagation) parts.push(`propagation=${flagsOf('MS_', attributes.propagation).text}`);
    if (attributes.userns !== undefined) parts.push('userns');
    return `{${parts.join(', ')}}`;
  };
  const attr = p.space(32, shown);
  p.setU64(attr, set);
  p.setU64(attr.plus(8), clear);
  p.setU64(attr.plus(16), attributes.propagation ?? 0);
  if (attributes.userns !== undefined) setFd(p, attr.plus(24), attributes.userns);
  const how = [path === '' ? 'AT_EMPTY_PATH' : 'AT_SYMLINK_NOFOLLOW'];
  if (attributes.recursive) how.push('AT_RECURSIVE');
  p.call('mount_setattr', [fd, p.string(path), flags(how.join('|')), attr, 32], options);
}

function setFd(p: ProgramBuilder, at: ReturnType<ProgramBuilder['space']>, fd: Fd): void {
  if (typeof fd === 'number') p.setU64(at, fd);
  else if (fd instanceof Named) p.setU64(at, BigInt(fd.value));
  else if ('index' in fd) p.slotAt(at, fd, 64);
  else throw new RangeError('the user namespace of an idmapped mount must be a slot or a fixed fd');
}

export { AT_FDCWD };
