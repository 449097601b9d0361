/** Archives built byte by byte for tests, apart from the code under test: every field can be given a wrong value. */

export interface RawFields {
  name?: string | Buffer;
  mode?: string;
  uid?: string | Buffer;
  gid?: string | Buffer;
  size?: string | number | Buffer;
  mtime?: string | Buffer;
  type?: string;
  linkname?: string | Buffer;
  magic?: string;
  prefix?: string;
  devmajor?: string;
  devminor?: string;
  /** Text of the checksum field; computed when left out. `signed` sums signed bytes. */
  checksum?: string;
}

function put(block: Buffer, at: number, value: string | Buffer): void {
  (typeof value === 'string' ? Buffer.from(value, 'latin1') : value).copy(block, at);
}

/** One header block; numbers are text in octal, as they stand in the block. */
export function header(fields: RawFields = {}): Buffer {
  const block = Buffer.alloc(512);
  put(block, 0, fields.name ?? 'file');
  put(block, 100, fields.mode ?? '0000644\0');
  put(block, 108, fields.uid ?? '0000000\0');
  put(block, 116, fields.gid ?? '0000000\0');
  const size = fields.size ?? 0;
  put(block, 124, typeof size === 'number' ? `${size.toString(8).padStart(11, '0')}\0` : size);
  put(block, 136, fields.mtime ?? '14524411230\0');
  put(block, 156, fields.type ?? '0');
  put(block, 157, fields.linkname ?? '');
  put(block, 257, fields.magic ?? 'ustar\x0000');
  put(block, 329, fields.devmajor ?? '0000000\0');
  put(block, 337, fields.devminor ?? '0000000\0');
  put(block, 345, fields.prefix ?? '');
  return seal(block, fields.checksum);
}

/** Writes the checksum into a block that was changed. */
export function seal(block: Buffer, checksum?: string): Buffer {
  block.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of block) sum += checksum === 'signed' && byte > 127 ? byte - 256 : byte;
  put(
    block,
    148,
    checksum !== undefined && checksum !== 'signed' ? checksum : `${sum.toString(8).padStart(6, '0')}\0 `,
  );
  return block;
}

export function pad(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}

/** An entry with its contents. */
export function entry(fields: RawFields, contents: Buffer | string = ''): Buffer {
  const data = typeof contents === 'string' ? Buffer.from(contents, 'latin1') : contents;
  return Buffer.concat([header({ size: data.length, ...fields }), pad(data)]);
}

/** A pax record; its length is found by trying, apart from how the code under test finds it. */
export function record(key: string, value: string | Buffer): Buffer {
  const rest = Buffer.concat([
    Buffer.from(` ${key}=`, 'latin1'),
    Buffer.from(value as string, 'latin1'),
    Buffer.from('\n'),
  ]);
  for (let length = rest.length; ; length++) {
    if (`${length}`.length + rest.length === length) return Buffer.concat([Buffer.from(`${length}`), rest]);
  }
}

/** An extended header with these records. */
export function pax(records: readonly (readonly [key: string, value: string | Buffer])[], type = 'x'): Buffer {
  return entry({ name: 'PaxHeaders.0/x', type }, Buffer.concat(records.map(([key, value]) => record(key, value))));
}

export const END = Buffer.alloc(1024);

/** A whole archive, ended properly. */
export function archive(...parts: Buffer[]): Buffer {
  return Buffer.concat([...parts, END]);
}

/** A number in base-256 for a field of this length. */
export function base256(value: bigint, length: number): Buffer {
  const field = Buffer.alloc(length);
  let rest = BigInt.asUintN(length * 8, value);
  for (let i = length - 1; i >= 0; i--, rest >>= 8n) field[i] = Number(rest & 0xffn);
  field[0]! |= 0x80;
  return field;
}
