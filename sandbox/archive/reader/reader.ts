/** Reads an archive entry by entry, in one pass and in bounded memory. */
import { printable, upToNul } from '../codec/bytes';
import { BLOCK, decodeHeader, type Header, isZeroBlock } from '../codec/header';
import { parsePath } from '../codec/names';
import { parsePax, type PaxRecord } from '../codec/pax';
import type { Body, Entry, OnWarning } from '../entry';
import { archiveInvalid, archiveTruncated, type Place } from '../faults';
import { DEFAULT_LIMITS, type Limits } from '../limits';
import { assemble, effectiveName, hasBody, kindOf } from './assemble';
import { type Extended, keepGlobals, readExtended } from './extended';
import type { Source } from './source';
import { readLayout } from './sparse-body';
import { Window } from './window';

/** Bodies up to this size are handed out with their entry. */
export const INLINE_LIMIT = 64 << 10;

/** Headers that describe the entry behind them, and the label of a volume, which describes nothing. */
const EXTENDED_TYPES = 'xXgLKV';
const STANDALONE_TYPES = 'gV';
const MAX_GLOBALS = 1 << 20;
/** How far a compressed archive is read behind its end, to have its checksums looked at. */
const MAX_TRAILER = 64 << 20;

/** What extended headers said about the entry that has not come yet. */
interface Pending {
  records: readonly PaxRecord[];
  longName?: Buffer;
  longLink?: Buffer;
}

/** The archive from the next entry on: its offset there, and the bytes between `at` and `end` of `data`, as many as are in memory. */
export type Ahead = Pick<Window, 'offset' | 'data' | 'at' | 'end'>;

/** What was applied of an archive without being read here: so many entries, with contents of so many bytes. */
export interface Taken {
  readonly entries: number;
  readonly contents: number;
}

const padded = (size: number): number => Math.ceil(size / BLOCK) * BLOCK;

export class ArchiveReader {
  readonly #window: Window;
  readonly #limits: Limits;
  readonly #onWarning: OnWarning;
  #globals: readonly PaxRecord[] = [];
  #wanted = BLOCK;
  #entries = 0;
  #bytes = 0;
  /** The entry whose body lies at the window's front. */
  #current: Place = { offset: 0 };
  #bodyLeft = 0;
  #paddingLeft = 0;
  #atEnd = false;

  constructor(
    readonly source: Source,
    limits: Partial<Limits> = {},
    onWarning: OnWarning = () => undefined,
  ) {
    this.#window = new Window(source);
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    this.#onWarning = onWarning;
  }

  /** Entries so far. */
  get entries(): number {
    return this.#entries;
  }

  /** Bytes of the contents of all of them. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The next entry, `undefined` at the end. What is left of the body before it is skipped. */
  async next(): Promise<Entry | undefined> {
    for (;;) {
      const entry = this.tryNext();
      if (entry === 'end') return undefined;
      if (entry !== 'more') return entry;
      await this.fill();
    }
  }

  /** {@link next} without a promise for each entry: `more` asks for {@link fill} and another call. */
  tryNext(): Entry | 'more' | 'end' {
    if (this.#atEnd) return 'end';
    this.#passBody();
    const pending: Pending = { records: [] };
    for (let at = 0; ;) {
      const place = { name: nameSoFar(pending), offset: this.#window.offset };
      if (!this.#has(at + BLOCK)) return this.#needHeader(at, place);
      if (isZeroBlock(this.#window.data, this.#window.at + at)) return this.#readEnd(at, place);
      const header = decodeHeader(this.#window.data, this.#window.at + at);
      if (typeof header === 'string') throw archiveInvalid({ ...place, offset: this.#window.offset + at }, header);
      if (!EXTENDED_TYPES.includes(header.type)) return this.#readEntry(header, at, pending);
      const length = BLOCK + this.#metadataSize(header, at, place);
      if (!this.#has(at + length)) return this.#need(at + length, place, 'in an extended header');
      const start = this.#window.at + at + BLOCK;
      this.#readExtended(header, this.#window.data.subarray(start, start + header.size), pending, place);
      // Labels and global headers are no part of the entry behind them, if there is one.
      if (at === 0 && STANDALONE_TYPES.includes(header.type)) this.#window.skip(length);
      else at += length;
    }
  }

  /** What is left of the last entry's body, and what fills up its block. */
  #passBody(): void {
    this.#window.skip(this.#bodyLeft + this.#paddingLeft);
    this.#bodyLeft = this.#paddingLeft = 0;
  }

  /**
   * For whoever applies entries that need nothing but their own headers: what is ahead, behind which {@link take} moves. Good until the next call;
   * `undefined` when there are no more, or global headers count.
   */
  get ahead(): Ahead | undefined {
    if (this.#atEnd || this.#globals.length > 0) return undefined;
    this.#passBody();
    return this.#window.missing > 0 ? undefined : this.#window;
  }

  /** What there may still be, as exact numbers. */
  get allowance(): Taken {
    const { maxEntries, maxBytes } = this.#limits;
    const most = Number.MAX_SAFE_INTEGER;
    return { entries: Math.min(maxEntries - this.#entries, most), contents: Math.min(maxBytes - this.#bytes, most) };
  }

  get maxDepth(): number {
    return this.#limits.maxDepth;
  }

  /** Moves on by so many bytes, which were taken. */
  take(bytes: number, { entries, contents }: Taken): void {
    this.#window.skip(bytes);
    this.#entries += entries;
    this.#bytes += contents;
  }

  /** Reads on, up to so many bytes or the archive's end; when it gives a promise the source is not a plain file. */
  fill(atLeast = 0): void | Promise<void> {
    return this.#window.fill(Math.max(this.#wanted, atLeast));
  }

  /** The next bytes of the body of the entry that came last: a view that is good until the next call. */
  async readBody(): Promise<Buffer | undefined> {
    if (this.#bodyLeft === 0) return undefined;
    if (!this.#has(1)) await this.#window.fill(1);
    if (!this.#has(1))
      throw archiveTruncated(this.#current, `the archive ends ${this.#bodyLeft} bytes before the end of its contents`);
    const { data, at, end } = this.#window;
    const chunk = data.subarray(at, Math.min(end, at + this.#bodyLeft));
    this.#window.skip(chunk.length);
    this.#bodyLeft -= chunk.length;
    return chunk;
  }

  /** Looks at the checksums that a compressed archive ends with. */
  async finish(): Promise<void> {
    if (!this.source.compressed) return;
    const start = this.#window.offset;
    while (!this.#window.ended && this.#window.offset - start < MAX_TRAILER) {
      this.#window.skip(this.#window.end - this.#window.at);
      await this.#window.fill(1);
    }
  }

  #has(count: number): boolean {
    return this.#window.end - this.#window.at >= count;
  }

  #need(count: number, place: Place, where: string): 'more' {
    if (this.#window.ended) {
      const end = this.#window.offset + this.#window.end - this.#window.at;
      throw archiveTruncated(place, `the archive ends at byte ${end}, ${where}`);
    }
    this.#wanted = count;
    return 'more';
  }

  #needHeader(at: number, place: Place): 'more' | 'end' {
    const { ended, missing } = this.#window;
    if (ended && missing > 0)
      throw archiveTruncated(this.#current, `the archive ends ${missing} bytes before the end of its contents`);
    if (!ended || at > 0 || this.#has(1)) return this.#need(at + BLOCK, place, 'in a header');
    const advice = 'it was probably cut short; if it is complete, append 1024 zero bytes';
    throw archiveTruncated(place, `the archive ends without the two blocks of zeros that end a tar; ${advice}`);
  }

  #readEnd(at: number, place: Place): 'more' | 'end' {
    if (at > 0) throw archiveInvalid(place, 'an extended header is not followed by its entry');
    if (!this.#has(2 * BLOCK) && !this.#window.ended) return this.#need(2 * BLOCK, place, '');
    if (!this.#has(2 * BLOCK)) {
      const message = 'the archive ends with one block of zeros instead of two';
      this.#onWarning(message, { kind: 'end-missing', name: '' });
    } else if (!isZeroBlock(this.#window.data, this.#window.at + BLOCK)) {
      throw archiveInvalid(place, 'there is a single block of zeros, but the archive goes on behind it');
    }
    this.#atEnd = true;
    return 'end';
  }

  /** Bytes of an extended header's data, padding included. */
  #metadataSize(header: Header, at: number, place: Place): number {
    const { size } = header;
    if (size < 0 || at + BLOCK + size > this.#limits.maxMetadata) {
      throw archiveInvalid(
        place,
        `its extended headers have ${at + size} bytes; the limit is ${this.#limits.maxMetadata}`,
      );
    }
    return padded(size);
  }

  #readExtended(header: Header, data: Buffer, pending: Pending, place: Place): void {
    if (header.type === 'V') return;
    if (header.type === 'L') pending.longName = stringOf(data, place);
    else if (header.type === 'K') pending.longLink = stringOf(data, place);
    else {
      const records = parsePax(data);
      if (typeof records === 'string') throw archiveInvalid(place, records);
      if (header.type === 'g') this.#addGlobals(records, place);
      else pending.records = pending.records.length === 0 ? records : [...pending.records, ...records];
    }
  }

  /** Reading the same headers again, with more of the archive in memory, changes nothing. */
  #addGlobals(records: readonly PaxRecord[], place: Place): void {
    const kept = keepGlobals(records);
    const replaced = new Set(kept.map(({ key }) => key));
    this.#globals = [...this.#globals.filter(({ key }) => !replaced.has(key)), ...kept];
    const size = this.#globals.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
    if (size > MAX_GLOBALS)
      throw archiveInvalid(place, `its global headers add up to ${size} bytes; the limit is ${MAX_GLOBALS}`);
  }

  #readEntry(header: Header, at: number, pending: Pending): Entry | 'more' {
    const window = this.#window;
    const extended = this.#extendedOf(pending);
    const name = effectiveName(header, extended, pending.longName);
    const place: Place = { name, offset: window.offset };
    const path = parsePath(name, this.#limits.maxDepth);
    if (typeof path === 'string') throw archiveInvalid(place, path);
    const size = hasBody(header.type) ? (extended.size ?? header.size) : 0;
    if (!Number.isSafeInteger(size) || size < 0) throw archiveInvalid(place, 'its size is out of range');

    const kind = kindOf(header, size, path.slash, place);
    const situation = { header, extended, data: window.data, headerAt: window.at + at, end: window.end, stored: size };
    const layout = kind === 'file' ? readLayout(situation) : { mapLength: 0, stored: size, sparse: undefined };
    if (typeof layout === 'string') throw archiveInvalid(place, layout);
    if (layout === undefined) {
      if (window.end - window.at > this.#limits.maxMetadata) {
        throw archiveInvalid(place, `its headers and sparse map have more than ${this.#limits.maxMetadata} bytes`);
      }
      return this.#need(window.end - window.at + 1, place, 'in a sparse map');
    }
    const bodyAt = at + BLOCK + layout.mapLength;
    const { stored, sparse } = layout;
    this.#checkLength(window.offset + bodyAt, stored, place);
    const inline = stored <= INLINE_LIMIT;
    if (inline && !this.#has(bodyAt + stored)) return this.#need(bodyAt + stored, place, 'in its contents');

    this.#countEntry(stored, place);
    const bodyIndex = window.at + bodyAt;
    const body: Body | undefined =
      kind !== 'file'
        ? undefined
        : {
            offset: window.offset + bodyAt,
            stored,
            ...(sparse && { map: sparse.map }),
            ...(inline && { inline: window.data, inlineAt: bodyIndex }),
          };
    const onDropped = (reason: string): void => {
      this.#onWarning(`${printable(name)}: ${reason}; left out`, { kind: 'xattr-dropped', name: printable(name) });
    };
    const linkname = extended.linkpath ?? pending.longLink ?? header.linkname;
    const fileSize = kind === 'file' ? (sparse?.size ?? stored) : 0;
    const { maxDepth } = this.#limits;
    const entry = assemble({
      header,
      extended,
      kind,
      name,
      path,
      linkname,
      place,
      size: fileSize,
      body,
      maxDepth,
      onDropped,
    });
    this.#current = { name: entry.name, offset: entry.offset };
    this.#bodyLeft = stored;
    this.#paddingLeft = padded(stored) - stored;
    window.skip(bodyAt);
    return entry;
  }

  #extendedOf(pending: Pending): Extended {
    const extended = readExtended(this.#globals, pending.records);
    if (typeof extended === 'string')
      throw archiveInvalid({ name: nameSoFar(pending), offset: this.#window.offset }, extended);
    return extended;
  }

  /** A size that the archive cannot hold is found before anything is made of the entry. */
  #checkLength(bodyOffset: number, stored: number, place: Place): void {
    const { size } = this.source;
    if (size === undefined || bodyOffset + stored <= size) return;
    throw archiveTruncated(
      place,
      `its contents have ${stored} bytes from byte ${bodyOffset} on, but the archive ends at byte ${size}`,
    );
  }

  #countEntry(stored: number, place: Place): void {
    this.#entries++;
    this.#bytes += stored;
    if (this.#bytes > this.#limits.maxBytes) {
      throw archiveInvalid(place, `the archive holds more than ${this.#limits.maxBytes} bytes, which is the limit`);
    }
    if (this.#entries > this.#limits.maxEntries) {
      throw archiveInvalid(place, `the archive has more than ${this.#limits.maxEntries} entries, which is the limit`);
    }
  }
}

function nameSoFar({ records, longName }: Pending): Buffer | undefined {
  return records.findLast(({ key }) => (key as string) === 'path')?.value ?? longName;
}

/** The name in a GNU `L` or `K` header, which ends in a NUL. */
function stringOf(data: Buffer, place: Place): Buffer {
  const name = upToNul(data);
  if (data.subarray(name.length).some((byte) => byte !== 0))
    throw archiveInvalid(place, 'its long name contains a NUL');
  return name;
}
