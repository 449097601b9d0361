import { C } from '../syscall';

/** A parameter of a filesystem, for fsconfig(2); one without a value is a flag. */
export interface MountData {
  readonly key: string;
  readonly value: string | undefined;
}

/** The `options` of a mount in the terms of the new mount API (mount_setattr(2), fsconfig(2)). */
export interface MountOptions {
  readonly bind: boolean;
  /** `rbind`: with the mounts below the source. */
  readonly recursive: boolean;
  /** MOUNT_ATTR_* for this mount. Access-time modes are in attrSet, with MOUNT_ATTR__ATIME in attrClear, as the kernel wants. */
  readonly attrSet: number;
  readonly attrClear: number;
  /** The same for this mount and all below it: `rro` and the like. */
  readonly recursiveAttrSet: number;
  readonly recursiveAttrClear: number;
  /** MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE, each with or without MS_REC, to be applied in this order. */
  readonly propagation: readonly number[];
  /** What the filesystem is told, in order. For a bind mount only what a bind mount cannot have. */
  readonly data: readonly MountData[];
  /** Start a tmpfs with a copy of what it covers. */
  readonly copyUp: boolean;
  readonly remount: boolean;
  readonly idmap: 'none' | 'mount' | 'tree';
}

type Change = readonly ['set' | 'clear', number];

/** Attributes of one mount; `r` before the name makes it those of the whole tree. */
const ATTRIBUTES: Readonly<Record<string, Change>> = {
  ro: ['set', C.MOUNT_ATTR_RDONLY],
  rw: ['clear', C.MOUNT_ATTR_RDONLY],
  nosuid: ['set', C.MOUNT_ATTR_NOSUID],
  suid: ['clear', C.MOUNT_ATTR_NOSUID],
  nodev: ['set', C.MOUNT_ATTR_NODEV],
  dev: ['clear', C.MOUNT_ATTR_NODEV],
  noexec: ['set', C.MOUNT_ATTR_NOEXEC],
  exec: ['clear', C.MOUNT_ATTR_NOEXEC],
  nodiratime: ['set', C.MOUNT_ATTR_NODIRATIME],
  diratime: ['clear', C.MOUNT_ATTR_NODIRATIME],
  nosymfollow: ['set', C.MOUNT_ATTR_NOSYMFOLLOW],
  symfollow: ['clear', C.MOUNT_ATTR_NOSYMFOLLOW],
};

type AccessTime = 'noatime' | 'strictatime' | 'relatime';

const ACCESS_TIMES: Readonly<Record<string, readonly ['set' | 'clear', AccessTime]>> = {
  noatime: ['set', 'noatime'],
  atime: ['clear', 'noatime'],
  strictatime: ['set', 'strictatime'],
  nostrictatime: ['clear', 'strictatime'],
  relatime: ['set', 'relatime'],
  norelatime: ['clear', 'relatime'],
};

const PROPAGATION: Readonly<Record<string, number>> = {
  private: C.MS_PRIVATE,
  rprivate: C.MS_PRIVATE | C.MS_REC,
  slave: C.MS_SLAVE,
  rslave: C.MS_SLAVE | C.MS_REC,
  shared: C.MS_SHARED,
  rshared: C.MS_SHARED | C.MS_REC,
  unbindable: C.MS_UNBINDABLE,
  runbindable: C.MS_UNBINDABLE | C.MS_REC,
};

/** Parameters of some filesystems, and flags of mount(2), which takes them everywhere and without an effect: told to who knows them. */
export const IF_KNOWN: readonly string[] = ['acl', 'noacl'];

/**
 * Flags of the superblock that fsconfig(2) takes by these names for every filesystem, but for {@link IF_KNOWN}. Each pair is one setting and its
 * opposite; a bind mount has none of its own and leaves them alone, as mount(8) does.
 */
const SUPERBLOCK: Readonly<Record<string, string>> = {
  sync: 'sync',
  async: 'sync',
  dirsync: 'dirsync',
  lazytime: 'lazytime',
  nolazytime: 'lazytime',
  mand: 'mand',
  nomand: 'mand',
  acl: 'acl',
  noacl: 'acl',
};

/** Known, and nothing to do for: mount(8)'s word for none, kernel messages, a counter that filesystems now keep themselves. */
const WITHOUT_EFFECT: readonly string[] = ['defaults', 'loud', 'silent', 'iversion', 'noiversion'];

/** Attributes that options add up to; the last word on each counts. */
class Attributes {
  #set = 0;
  #clear = 0;
  readonly #times = new Set<AccessTime>();
  #timesNamed = false;

  /** False when `name` is none of an attribute. */
  take(name: string): boolean {
    const change = lookUp(ATTRIBUTES, name);
    if (change) {
      const [how, bit] = change;
      this.#set = how === 'set' ? this.#set | bit : this.#set & ~bit;
      this.#clear = how === 'clear' ? this.#clear | bit : this.#clear & ~bit;
      return true;
    }
    const time = lookUp(ACCESS_TIMES, name);
    if (!time) return false;
    if (time[0] === 'set') this.#times.add(time[1]);
    else this.#times.delete(time[1]);
    this.#timesNamed = true;
    return true;
  }

  /** The access-time modes exclude each other; mount(2) lets strictatime win over noatime, and that over relatime. */
  result(): { set: number; clear: number } {
    if (!this.#timesNamed) return { set: this.#set, clear: this.#clear };
    let mode = C.MOUNT_ATTR_RELATIME;
    if (this.#times.has('strictatime')) mode = C.MOUNT_ATTR_STRICTATIME;
    else if (this.#times.has('noatime')) mode = C.MOUNT_ATTR_NOATIME;
    return { set: this.#set | mode, clear: this.#clear | C.MOUNT_ATTR__ATIME };
  }
}

/** Pure. Every option that runc knows; what is none of those is the filesystem's business and becomes data. */
export function parseMountOptions(options: readonly string[]): MountOptions {
  const own = new Attributes();
  const tree = new Attributes();
  const propagation: number[] = [];
  const data: MountData[] = [];
  const superblock = new Map<string, string>();
  const named = new Set<string>();
  for (const option of options) {
    if (WITHOUT_EFFECT.includes(option)) continue;
    if (NAMED.includes(option)) {
      named.add(option);
      continue;
    }
    const type = lookUp(PROPAGATION, option);
    const setting = lookUp(SUPERBLOCK, option);
    if (type !== undefined) propagation.push(type);
    else if (setting !== undefined) superblock.set(setting, option);
    else if (!own.take(option) && !(option.startsWith('r') && tree.take(option.slice(1)))) data.push(toData(option));
  }
  const bind = named.has('bind') || named.has('rbind');
  if (!bind) for (const option of superblock.values()) data.push({ key: option, value: undefined });
  const { set: attrSet, clear: attrClear } = own.result();
  const { set: recursiveAttrSet, clear: recursiveAttrClear } = tree.result();
  return {
    bind,
    recursive: named.has('rbind'),
    attrSet,
    attrClear,
    recursiveAttrSet,
    recursiveAttrClear,
    propagation,
    data,
    copyUp: named.has('tmpcopyup'),
    remount: named.has('remount'),
    idmap: named.has('ridmap') ? 'tree' : named.has('idmap') ? 'mount' : 'none',
  };
}

const NAMED: readonly string[] = ['bind', 'rbind', 'remount', 'tmpcopyup', 'idmap', 'ridmap'];

/** Every name that is not left to the filesystem, for `silt features`. */
export function knownMountOptions(): string[] {
  const attributes = [...Object.keys(ATTRIBUTES), ...Object.keys(ACCESS_TIMES)];
  const tree = attributes.map((name) => `r${name}`);
  return [
    ...attributes,
    ...tree,
    ...Object.keys(PROPAGATION),
    ...Object.keys(SUPERBLOCK),
    ...NAMED,
    ...WITHOUT_EFFECT,
  ].sort();
}

/** SELinux's. Engines write their values in quotes, as mount(2) takes them and fsconfig(2) does not. */
const CONTEXTS: readonly string[] = ['context', 'fscontext', 'defcontext', 'rootcontext'];

function toData(option: string): MountData {
  const equals = option.indexOf('=');
  if (equals < 0) return { key: option, value: undefined };
  const [key, value] = [option.slice(0, equals), option.slice(equals + 1)];
  return { key, value: CONTEXTS.includes(key) ? value.replace(/^"(.*)"$/, '$1') : value };
}

function lookUp<T>(table: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}
