/** CRIU's images for tests. */
import { encodeFields, type WireField } from './image-file';

/** The varints of a field. */
export function numbers(number: number, values: readonly bigint[]): WireField[] {
  return values.map((value) => ({ number, wireType: 0, value }));
}

/** A message within one. */
export function message(number: number, fields: readonly WireField[]): WireField {
  return { number, wireType: 2, value: encodeFields(fields) };
}

/** An image with these entries. */
export function imageOf(...entries: readonly (readonly WireField[])[]): Buffer {
  const parts = entries.flatMap((fields) => {
    const entry = encodeFields(fields);
    const size = Buffer.alloc(4);
    size.writeUInt32LE(entry.length);
    return [size, entry];
  });
  const magic = Buffer.alloc(8);
  magic.writeUInt32LE(0x54564319);
  return Buffer.concat([magic, ...parts]);
}
