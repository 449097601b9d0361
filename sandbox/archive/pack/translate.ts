/** What is written about a file: its metadata as its container sees it. */
import { type ByteString, printable } from '../codec/bytes';
import { mapAclIds } from '../codec/acl';
import { mapCapability } from '../codec/capability';
import { ACL_ACCESS, ACL_DEFAULT, CAPABILITY, OPAQUE, type Xattr } from '../codec/xattrs';
import type { OnWarning } from '../entry';
import type { OutEntry } from './headers';
import { type IdMaps, OVERFLOW_ID, toContainer } from './ids';
import type { Inspected } from './inspector';

const OVERLAY = 'trusted.overlay.';
/** What silt notes about an upper, see seed/mark. */
const OWN = 'trusted.silt.';
/** A label of the host's policy, which the kernel gives to every file that is made. What a container's files are labelled its spec says. */
const LABEL = 'security.selinux';
/** An engine's overlay may have been mounted so that it makes these (overlayfs.rst, "redirect_dir", "metacopy"). */
const LEADING_ELSEWHERE = ['trusted.overlay.redirect', 'trusted.overlay.metacopy'];

export type Metadata = Pick<OutEntry, 'mode' | 'uid' | 'gid' | 'mtime' | 'xattrs'>;

export class Translator {
  readonly #idMaps: IdMaps | undefined;
  readonly #onWarning: OnWarning;

  constructor(idMaps: IdMaps | undefined, onWarning: OnWarning) {
    this.#idMaps = idMaps;
    this.#onWarning = onWarning;
  }

  /** Owner, mode, time and attributes of an entry called `name`. */
  metadata(name: ByteString, { stat, xattrs }: Inspected): Metadata {
    return {
      mode: stat.mode & 0o7777,
      uid: this.#uid(stat.uid, name),
      gid: this.#gid(stat.gid, name),
      mtime: stat.mtime,
      xattrs: xattrs.length === 0 ? xattrs : xattrs.flatMap((xattr) => this.#xattr(xattr, name)),
    };
  }

  #uid(host: number, name: ByteString): number {
    return toContainer(this.#idMaps?.uids, host) ?? this.#overflow(`user ${host}`, name);
  }

  #gid(host: number, name: ByteString): number {
    return toContainer(this.#idMaps?.gids, host) ?? this.#overflow(`group ${host}`, name);
  }

  #overflow(who: string, name: ByteString): number {
    const shown = printable(name);
    this.#onWarning(`${shown}: the host’s ${who} is not in the container; written as ${OVERFLOW_ID}`, {
      kind: 'id-unmapped',
      name: shown,
    });
    return OVERFLOW_ID;
  }

  #xattr({ name, value }: Xattr, entry: ByteString): Xattr[] {
    // What else overlayfs notes about an upper holds only there, above the same lower directories.
    if (LEADING_ELSEWHERE.includes(name))
      return this.#drop(
        name,
        entry,
        'what it stands for is in a lower layer under another name, and not in the archive',
      );
    if (name.startsWith(OWN) || (name as string) === LABEL) return [];
    if (name.startsWith(OVERLAY))
      return (name as string) === OPAQUE && value.toString('latin1') === 'y' ? [{ name, value }] : [];
    if ((name as string) === CAPABILITY) return this.#capability({ name, value }, entry);
    if (name !== ACL_ACCESS && name !== ACL_DEFAULT) return [{ name, value }];
    const acl = mapAclIds(value, (id) => this.#uid(id, entry), (id) => this.#gid(id, entry)); // prettier-ignore
    return acl ? [{ name, value: acl }] : this.#drop(name, entry, 'it is not an ACL');
  }

  #capability({ name, value }: Xattr, entry: ByteString): Xattr[] {
    const mapped = mapCapability(value, (host) => toContainer(this.#idMaps?.uids, host));
    return mapped ? [{ name, value: mapped }] : this.#drop(name, entry, 'it is not for this container');
  }

  #drop(name: ByteString, entry: ByteString, why: string): [] {
    const shown = printable(entry);
    this.#onWarning(`${shown}: the extended attribute "${name}" is left out: ${why}`, {
      kind: 'xattr-dropped',
      name: shown,
    });
    return [];
  }
}
