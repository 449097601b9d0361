import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { encodeFields, type WireField } from './image-file';
import { describeFile } from './manifest';
import { PAGE, parsePagemap, readPagemaps } from './pagemap';

const number = (field: number, value: number): WireField => ({ number: field, wireType: 0, value: BigInt(value) });

/** An image as CRIU writes it: two magic numbers, then each message behind its size. */
function image(...messages: readonly (readonly WireField[])[]): Buffer {
  const magic = Buffer.alloc(8);
  magic.writeUInt32LE(0x54564319);
  const parts = messages.flatMap((fields) => {
    const body = encodeFields(fields);
    const size = Buffer.alloc(4);
    size.writeUInt32LE(body.length);
    return [size, body];
  });
  return Buffer.concat([magic, ...parts]);
}

test('pages lie in the file in the order of their runs, those of lazy ones too', () => {
  const bytes = image(
    [number(1, 7)],
    [number(1, 0x400000), number(2, 2), number(4, 4)],
    [number(1, 0x7f0000000000), number(2, 3), number(4, 6)],
    [number(1, 0x7fff00000000), number(2, 1), number(4, 4)],
  );
  expect(parsePagemap(bytes)).toEqual({
    pages: 'pages-7.img',
    runs: [
      { start: 0x400000, end: 0x402000, offset: 0, lazy: false },
      { start: 0x7f0000000000, end: 0x7f0000003000, offset: 2 * PAGE, lazy: true },
      { start: 0x7fff00000000, end: 0x7fff00001000, offset: 5 * PAGE, lazy: false },
    ],
  });
});

test('the number of pages may be in the wider field of newer CRIUs, and what is not in the file takes no room there', () => {
  const bytes = image(
    [number(1, 1)],
    [number(1, 0x10000), number(2, 0), number(4, 0), number(5, 9)],
    [number(1, 0x40000), number(2, 1), number(4, 6), number(5, 4)],
    [number(1, 0x80000), number(2, 1)],
  );
  expect(parsePagemap(bytes).runs).toEqual([
    { start: 0x40000, end: 0x44000, offset: 0, lazy: true },
    { start: 0x80000, end: 0x81000, offset: 4 * PAGE, lazy: false },
  ]);
});

test('what is no such image is refused', () => {
  expect(() => parsePagemap(image([number(1, 1)]).subarray(0, 11))).toThrow(/is not of the form/);
});

test('only those where CRIU looks count', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'silt-pagemap-'));
  try {
    const paths = [
      'process/pagemap-1.img',
      'process/pages-7.img',
      'pagemap-2.img',
      'pages-8.img',
      'process/sub/pagemap-3.img',
    ];
    for (const path of paths) {
      mkdirSync(dirname(join(directory, path)), { recursive: true });
      writeFileSync(join(directory, path), image([number(1, path.includes('-2') ? 8 : 7)]));
    }
    const files = await Promise.all(paths.map((path) => describeFile(directory, path)));
    expect([...readPagemaps(directory, { version: 1, files })]).toEqual([
      { map: 'pagemap-1.img', runs: [], file: files[1] },
    ]);
    expect([...readPagemaps(directory, { version: 2, files })]).toEqual([
      { map: 'pagemap-2.img', runs: [], file: files[3] },
    ]);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
