/** Extended attributes in pax records: `SCHILY.xattr.NAME` (GNU tar, gVisor, star) and `LIBARCHIVE.xattr.NAME`. */
import { aclFromRecord, aclFromText, aclToRecord } from './acl';
import { type ByteString, printable, toBuffer, toByteString } from './bytes';
import type { PaxRecord } from './pax';

export interface Xattr {
  readonly name: ByteString;
  /** As the kernel takes it: raw bytes, ACLs in the kernel's form. */
  readonly value: Buffer;
}

export const ACL_ACCESS = 'system.posix_acl_access';
export const ACL_DEFAULT = 'system.posix_acl_default';
export const CAPABILITY = 'security.capability';
export const OPAQUE = 'trusted.overlay.opaque';
/** Empty: what overlayfs sets when it does not know what a file or directory was copied up from. */
export const ORIGIN = 'trusted.overlay.origin';

/** xattr(7): XATTR_NAME_MAX and XATTR_SIZE_MAX. */
export const MAX_XATTR_NAME = 255;
export const MAX_XATTR_VALUE = 65536;

const SCHILY = 'SCHILY.xattr.';
const LIBARCHIVE = 'LIBARCHIVE.xattr.';
const ACL_TEXT = new Map([
  ['SCHILY.acl.access', ACL_ACCESS as ByteString],
  ['SCHILY.acl.default', ACL_DEFAULT as ByteString],
]);

export interface Xattrs {
  readonly list: readonly Xattr[];
  /** What could not be understood and was left out. */
  readonly dropped: readonly string[];
}

const NONE: Xattrs = { list: [], dropped: [] };

/** Is this the record of an extended attribute? */
export function isXattrRecord(key: string): boolean {
  return key.startsWith(SCHILY) || key.startsWith(LIBARCHIVE) || ACL_TEXT.has(key);
}

/**
 * The extended attributes among the records of one entry; of several records for one attribute the most exact counts:
 * SCHILY, then LIBARCHIVE, then text. Gives the reason when one cannot exist on Linux.
 */
export function readXattrs(records: readonly PaxRecord[]): Xattrs | string {
  const found = records.filter(({ key }) => isXattrRecord(key));
  if (found.length === 0) return NONE;
  const values = new Map<ByteString, Buffer>();
  const dropped: string[] = [];
  for (const { key, value } of found) {
    const name = ACL_TEXT.get(key);
    if (name === undefined) continue;
    const read = aclFromText(value);
    if ('acl' in read) values.set(name, read.acl);
    else dropped.push(read.reason);
  }
  for (const { key, value } of found) {
    if (!key.startsWith(LIBARCHIVE)) continue;
    values.set(
      decodeName(key.slice(LIBARCHIVE.length), /%([0-9A-Fa-f]{2})/g),
      Buffer.from(value.toString('latin1'), 'base64'),
    );
  }
  for (const { key, value } of found) {
    if (key.startsWith(SCHILY)) values.set(decodeName(key.slice(SCHILY.length), /%(25|3D)/g), value);
  }
  const list: Xattr[] = [];
  for (const [name, value] of values) {
    const checked = check(name, value);
    if (typeof checked === 'string') return checked;
    list.push({ name, value: checked });
  }
  return { list, dropped };
}

function check(name: ByteString, value: Buffer): Buffer | string {
  if (name.length === 0 || name.length > MAX_XATTR_NAME || name.includes('\0')) {
    return `the name of its extended attribute "${printable(name)}" is empty, too long or contains NUL`;
  }
  if (value.length > MAX_XATTR_VALUE) {
    return `its extended attribute "${printable(name)}" has ${value.length} bytes; the most that Linux has is ${MAX_XATTR_VALUE}`;
  }
  if (name !== ACL_ACCESS && name !== ACL_DEFAULT) return value;
  return aclFromRecord(value) ?? `its extended attribute "${name}" is not an ACL`;
}

function decodeName(encoded: string, pattern: RegExp): ByteString {
  return encoded.replace(pattern, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))) as ByteString;
}

/** The record for an attribute, its name encoded as GNU tar does: `=` would end the key. */
export function xattrRecord({ name, value }: Xattr): { key: ByteString; value: Buffer } {
  const key = `${SCHILY}${name.replaceAll('%', '%25').replaceAll('=', '%3D')}` as ByteString;
  return { key, value: name === ACL_ACCESS || name === ACL_DEFAULT ? aclToRecord(value) : value };
}

/** The names in what listxattr(2) wrote. */
export function splitNames(list: Buffer): ByteString[] {
  const names = toByteString(list).split('\0') as ByteString[];
  names.pop();
  return names;
}

/** The name as a NUL-terminated string. */
export function nameArgument(name: ByteString): Buffer {
  return Buffer.concat([toBuffer(name), Buffer.alloc(1)]);
}
