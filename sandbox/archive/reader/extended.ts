/** What the pax records of one entry say, put together from the global headers and its own. */
import type { PaxRecord } from '../codec/pax';
import { readDecimal } from '../codec/numbers';
import { parseTime, type Timestamp } from '../codec/time';
import { isXattrRecord } from '../codec/xattrs';

export interface Extended {
  path?: Buffer | undefined;
  linkpath?: Buffer | undefined;
  size?: number | undefined;
  uid?: number | undefined;
  gid?: number | undefined;
  mtime?: Timestamp | undefined;
  major?: number | undefined;
  minor?: number | undefined;
  /** `GNU.sparse.*` by the rest of the key, without the pairs of version 0.0. */
  sparse?: Map<string, Buffer>;
  /** All records that hold in this entry, in their order. */
  records: readonly PaxRecord[];
}

const NUMBERS = new Map<string, 'size' | 'uid' | 'gid' | 'major' | 'minor'>([
  ['size', 'size'],
  ['uid', 'uid'],
  ['gid', 'gid'],
  ['SCHILY.devmajor', 'major'],
  ['SCHILY.devminor', 'minor'],
]);
const NAMES = new Map<string, 'path' | 'linkpath'>([
  ['path', 'path'],
  ['linkpath', 'linkpath'],
]);
const SPARSE = 'GNU.sparse.';

/** The records that hold for an entry: an own record, also an empty one, replaces the global ones of its key. */
function effective(globals: readonly PaxRecord[], own: readonly PaxRecord[]): readonly PaxRecord[] {
  if (globals.length === 0) return own;
  const replaced = new Set(own.map(({ key }) => key));
  return [...globals.filter(({ key }) => !replaced.has(key)), ...own];
}

/** Reads the records. Of several with one key the last one counts. Gives the reason when one is malformed. */
export function readExtended(globals: readonly PaxRecord[], own: readonly PaxRecord[]): Extended | string {
  const extended: Extended = { records: effective(globals, own) };
  for (const { key, value } of extended.records) {
    const number = NUMBERS.get(key);
    const name = NAMES.get(key);
    // An empty value takes a record back (pax(1)); an extended attribute may well be empty, but is none of these.
    if (number !== undefined) {
      const read = value.length === 0 ? undefined : (readDecimal(value) ?? NaN);
      if (Number.isNaN(read)) return `its pax record "${key}" is not a number`;
      extended[number] = read;
    } else if (name !== undefined) {
      extended[name] = value.length === 0 ? undefined : value;
    } else if (key === 'mtime') {
      const time = value.length === 0 ? undefined : (parseTime(value) ?? 'malformed');
      if (time === 'malformed') return 'its pax record "mtime" is not a time';
      extended.mtime = time;
    } else if (key.startsWith(SPARSE)) {
      extended.sparse ??= new Map();
      extended.sparse.set(key.slice(SPARSE.length), value);
    }
  }
  return extended;
}

/** Without the records that nothing reads, for global headers, which are kept. */
export function keepGlobals(records: readonly PaxRecord[]): PaxRecord[] {
  const wanted = ({ key }: PaxRecord): boolean =>
    NUMBERS.has(key) || NAMES.has(key) || key === 'mtime' || key.startsWith(SPARSE) || isXattrRecord(key);
  return records.filter(wanted).map(({ key, value }) => ({ key, value: Buffer.from(value) }));
}
