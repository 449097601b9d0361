/**
 * POSIX ACLs. The kernel's form, the value of `system.posix_acl_access` and `system.posix_acl_default`: a version, then
 * entries of tag, permissions and id (linux/posix_acl_xattr.h). In archives they are base64 (gVisor), the kernel's own
 * bytes (GNU tar --xattrs), or text as `SCHILY.acl.*` (GNU tar --acls, star, libarchive; acl(5)).
 */

const VERSION = 2;
const HEADER = 4;
const ENTRY = 8;
const NO_ID = 0xffffffff;

const TAG = { user_obj: 0x01, user: 0x02, group_obj: 0x04, group: 0x08, mask: 0x10, other: 0x20 } as const;

interface AclEntry {
  readonly tag: number;
  readonly permissions: number;
  readonly id: number;
}

function isKernelForm(value: Buffer): boolean {
  return value.length >= HEADER && value.readUInt32LE(0) === VERSION && (value.length - HEADER) % ENTRY === 0;
}

/** The kernel's form of an ACL as it stands in an archive's xattr record; `undefined` when it is no ACL. */
export function aclFromRecord(value: Buffer): Buffer | undefined {
  if (isKernelForm(value)) return value;
  const text = value.toString('latin1').replace(/=+$/, '');
  if (!/^[A-Za-z0-9+/]+$/.test(text)) return undefined;
  const decoded = Buffer.from(text, 'base64');
  return isKernelForm(decoded) ? decoded : undefined;
}

/** The kernel's form as gVisor writes it into an xattr record. */
export function aclToRecord(value: Buffer): Buffer {
  return Buffer.from(value.toString('base64').replace(/=+$/, ''), 'latin1');
}

/**
 * The same ACL with its user and group ids mapped; the kernel wants the entries of a tag in no particular order.
 * `undefined` when the value is not an ACL.
 */
export function mapAclIds(value: Buffer, uid: (id: number) => number, gid: (id: number) => number): Buffer | undefined {
  if (!isKernelForm(value)) return undefined;
  const mapped = Buffer.from(value);
  for (let at = HEADER; at < mapped.length; at += ENTRY) {
    const tag = mapped.readUInt16LE(at);
    const id = mapped.readUInt32LE(at + 4);
    if (tag === TAG.user) mapped.writeUInt32LE(uid(id), at + 4);
    else if (tag === TAG.group) mapped.writeUInt32LE(gid(id), at + 4);
  }
  return mapped;
}

/**
 * The kernel's form of an ACL in text. A user or group that is only named has no number that holds inside a container:
 * the reason is returned instead.
 */
export function aclFromText(value: Buffer): { acl: Buffer } | { reason: string } {
  const entries: AclEntry[] = [];
  for (const line of value.toString('latin1').split(/[,\n]/)) {
    const text = line.replace(/#.*$/, '').trim();
    if (text === '') continue;
    const entry = parseEntry(text);
    if (typeof entry === 'string') return { reason: entry };
    entries.push(entry);
  }
  entries.sort((a, b) => a.tag - b.tag || a.id - b.id);
  const acl = Buffer.alloc(HEADER + entries.length * ENTRY);
  acl.writeUInt32LE(VERSION, 0);
  entries.forEach((entry, i) => {
    acl.writeUInt16LE(entry.tag, HEADER + i * ENTRY);
    acl.writeUInt16LE(entry.permissions, HEADER + i * ENTRY + 2);
    acl.writeUInt32LE(entry.id, HEADER + i * ENTRY + 4);
  });
  return { acl };
}

const NAMED = { user: [TAG.user_obj, TAG.user], group: [TAG.group_obj, TAG.group] } as const;

/** One entry, `user:NAME:rwx`, in star's form with the number behind: `user:NAME:rwx:1000`. */
function parseEntry(text: string): AclEntry | string {
  const match = /^(u|user|g|group|m|mask|o|other):(?:([^:]*):)?([r-][w-][x-])(?::(\d+))?$/.exec(text);
  if (!match) return `"${text.replace(/[^ -~]/g, '?')}" is not an ACL entry`;
  const [, kind, name, letters, number] = match;
  const permissions = (letters![0] === 'r' ? 4 : 0) | (letters![1] === 'w' ? 2 : 0) | (letters![2] === 'x' ? 1 : 0);
  if (kind!.startsWith('m')) return { tag: TAG.mask, permissions, id: NO_ID };
  if (kind!.startsWith('o')) return { tag: TAG.other, permissions, id: NO_ID };
  if (name === undefined) return `"${text}" is not an ACL entry`;
  const [owner, named] = kind!.startsWith('u') ? NAMED.user : NAMED.group;
  if (name === '') return { tag: owner, permissions, id: NO_ID };
  const id = Number(number ?? (/^\d+$/.test(name) ? name : name === 'root' ? 0 : NaN));
  return id < NO_ID
    ? { tag: named, permissions, id }
    : `its ACL names "${name.replace(/[^ -~]/g, '?')}" without a number`;
}
