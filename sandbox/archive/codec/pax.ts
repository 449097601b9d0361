/** Pax extended headers: records of the form `LENGTH KEY=VALUE\n`, LENGTH in decimal and counting the whole record. */
import { type ByteString, toByteString } from './bytes';

export interface PaxRecord {
  /** UTF-8 by the standard; kept as bytes because xattr names end up in it. */
  readonly key: ByteString;
  /** Any bytes. A view of the header's data. */
  readonly value: Buffer;
}

const SPACE = 0x20;
const NEWLINE = 0x0a;
const EQUALS = 0x3d;

/** Reads the records of one header, in order. Gives the reason, for an error message, when they are malformed. */
export function parsePax(data: Buffer): PaxRecord[] | string {
  const records: PaxRecord[] = [];
  for (let at = 0; at < data.length;) {
    let length = 0;
    let digits = at;
    for (; digits < data.length && digits - at < 9; digits++) {
      const digit = data[digits]! - 0x30;
      if (digit < 0 || digit > 9) break;
      length = length * 10 + digit;
    }
    // star and others fill the rest of the block with NULs and count them in the header's size.
    if (digits === at && data.subarray(at).every((byte) => byte === 0)) break;
    if (digits === at || data[digits] !== SPACE) return `pax record at +${at} does not start with its length`;
    const end = at + length;
    if (end > data.length)
      return `pax record at +${at} says it has ${length} bytes, but only ${data.length - at} are left`;
    if (length < digits - at + 4 || data[end - 1] !== NEWLINE) return `pax record at +${at} does not end where it says`;
    const equals = data.indexOf(EQUALS, digits + 1);
    if (equals < 0 || equals >= end || equals === digits + 1) return `pax record at +${at} is not KEY=VALUE`;
    records.push({ key: toByteString(data.subarray(digits + 1, equals)), value: data.subarray(equals + 1, end - 1) });
    at = end;
  }
  return records;
}

/** One record. @throws RangeError for a key with `=`, which the format cannot express. */
export function paxRecord(key: ByteString, value: Uint8Array): Buffer {
  if (key.length === 0 || key.includes('=')) throw new RangeError('a pax key must not be empty or contain "="');
  const rest = key.length + value.length + 3;
  // The length counts its own digits.
  let length = rest + `${rest}`.length;
  if (`${length}`.length !== `${rest}`.length) length = rest + `${length}`.length;
  const out = Buffer.allocUnsafe(length);
  const start = out.write(`${length} ${key}=`, 'latin1');
  out.set(value, start);
  out[length - 1] = NEWLINE;
  return out;
}
