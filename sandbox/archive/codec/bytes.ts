/**
 * A string in which every character stands for one byte (latin1). File names are bytes, not text; as byte strings they
 * are lossless and can still be compared, joined and used as keys. Never decode or print one: see {@link printable}.
 */
export type ByteString = string & { readonly bytes: unique symbol };

export function toByteString(raw: Uint8Array): ByteString {
  const view = Buffer.isBuffer(raw) ? raw : Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
  return view.toString('latin1') as ByteString;
}

/** The UTF-8 bytes of ordinary text. */
export function byteStringOf(text: string): ByteString {
  return toByteString(Buffer.from(text));
}

export function toBuffer(bytes: ByteString): Buffer {
  return Buffer.from(bytes, 'latin1');
}

/** The field's bytes up to the first NUL. */
export function upToNul(field: Buffer): Buffer {
  const end = field.indexOf(0);
  return end < 0 ? field : field.subarray(0, end);
}

const LONGEST_SHOWN = 240;

/**
 * A name for people: UTF-8 stays as it is, control characters and what is not UTF-8 become `\n`, `\x1b` and the like, and
 * the middle of a very long name is left out.
 */
export function printable(name: Uint8Array | ByteString): string {
  const raw = typeof name === 'string' ? toBuffer(name) : Buffer.from(name);
  if (raw.length > LONGEST_SHOWN) {
    const half = LONGEST_SHOWN / 2;
    const cut = `…(${raw.length - LONGEST_SHOWN} bytes)…`;
    return `${escape(raw.subarray(0, half))}${cut}${escape(raw.subarray(raw.length - half))}`;
  }
  return escape(raw);
}

function escape(raw: Buffer): string {
  let shown = '';
  for (let at = 0; at < raw.length;) {
    const length = sequenceLength(raw[at]!);
    const text = raw.subarray(at, at + length).toString('utf8');
    if (length > 0 && !text.includes('\ufffd')) {
      // Control, format, unassigned, private and separator characters could disguise what a log line says.
      shown += /[\p{C}\p{Zl}\p{Zp}"\\]/u.test(text) ? escapeBytes(raw.subarray(at, at + length)) : text;
      at += length;
    } else {
      shown += escapeBytes(raw.subarray(at, at + 1));
      at += 1;
    }
  }
  return shown;
}

/** How many bytes the UTF-8 sequence has that starts with this byte; 0: none starts with it. */
function sequenceLength(first: number): number {
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

function escapeBytes(raw: Buffer): string {
  let shown = '';
  for (const byte of raw) {
    if (byte === 0x22 || byte === 0x5c) shown += `\\${String.fromCharCode(byte)}`;
    else if (byte === 0x0a) shown += '\\n';
    else shown += `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return shown;
}
