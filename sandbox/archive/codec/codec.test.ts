import { aclFromRecord, aclFromText, aclToRecord, mapAclIds } from './acl';
import { byteStringOf, printable, toBuffer, toByteString } from './bytes';
import { mapCapability } from './capability';
import { decodeHeader, headerSum, signedHeaderSum } from './header';
import { parsePath } from './names';
import { readDecimal, readNumber, writeOctal } from './numbers';
import { parsePax, paxRecord, type PaxRecord } from './pax';
import { checkSparse, oldGnuMap, oldGnuMapLength, paxMap00, paxMap01, storedMap } from './sparse';
import { formatTime, parseTime } from './time';
import { readXattrs, xattrRecord } from './xattrs';
import { base256, header, record, seal } from '../testing/tar-bytes';

const latin = (text: string): Buffer => Buffer.from(text, 'latin1');

describe('numbers of header fields', () => {
  test.each([
    ['0000644\0', 0o644],
    ['   644 \0', 0o644],
    ['\0\0\0\0\0\0\0\0', 0],
    ['        ', 0],
    ['7777777\0', 0o7777777],
    ['77777777', 0o77777777],
    ['644 junk', 0o644],
    ['0000648\0', undefined],
    ['-000644\0', undefined],
    ['644x\0\0\0\0', undefined],
  ])('octal %j is %p', (text, value) => {
    expect(readNumber(latin(text), 0, text.length)).toBe(value);
  });

  test.each([
    [0n, 0],
    [1n << 40n, 2 ** 40],
    [4294967294n, 4294967294],
    [-1n, -1],
    [-62135596800n, -62135596800],
    [(1n << 53n) - 1n, Number.MAX_SAFE_INTEGER],
    [1n << 53n, Infinity],
    [-(1n << 60n), -Infinity],
  ])('base-256 of %p is %p', (number, value) => {
    expect(readNumber(base256(number, 12), 0, 12)).toBe(value);
  });

  test('octal is written with leading zeros and a NUL, and refuses what does not fit', () => {
    const block = Buffer.alloc(8, 0xff);
    writeOctal(block, 0, 8, 0o755);
    expect(block.toString('latin1')).toBe('0000755\0');
    expect(() => writeOctal(block, 0, 8, 0o10000000)).toThrow(RangeError);
  });

  test.each([
    ['0', 0],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
    ['9007199254740992', Infinity],
    ['', undefined],
    ['1 ', undefined],
    ['-1', undefined],
    ['0x1', undefined],
  ])('decimal %j is %p', (text, value) => expect(readDecimal(latin(text))).toBe(value));
});

test.each([
  ['1700000000', 1700000000, 0, '1700000000'],
  ['1700000000.5', 1700000000, 500000000, '1700000000.5'],
  ['1.000000001', 1, 1, '1.000000001'],
  ['1.0000000019', 1, 1, '1.000000001'],
  ['5.', 5, 0, '5'],
  ['-1', -1, 0, '-1'],
  ['-0.25', -1, 750000000, '-0.25'],
  ['-1.5', -2, 500000000, '-1.5'],
  ['-0', 0, 0, '0'],
])('time %s', (text, seconds, nanoseconds, shortest) => {
  expect(parseTime(latin(text))).toEqual({ seconds, nanoseconds });
  expect(formatTime({ seconds, nanoseconds })).toBe(shortest);
});
test.each(['', 'x', '1e5', ' 1', '.5', '1.5x', '99999999999999999999'])('%j is no time', (text) => {
  expect(parseTime(latin(text))).toBeUndefined();
});

describe('pax records', () => {
  test.each([0, 1, 3, 4, 5, 6, 90, 91, 92, 93, 94, 95, 990, 991, 992, 993, 9985, 99990])(
    'a value of %i bytes is written with the length that counts itself',
    (size) => {
      const value = Buffer.alloc(size, 0x0a);
      const written = paxRecord(byteStringOf('k'), value);
      expect(written).toEqual(record('k', value));
      expect(parsePax(written)).toEqual([{ key: 'k', value }]);
    },
  );

  test('values may hold anything, keys may be UTF-8, NULs at the end are padding', () => {
    const data = Buffer.concat([
      record('SCHILY.xattr.user.x', latin('\0\n=\xff')),
      record('k\xc3\xa9', ''),
      Buffer.alloc(7),
    ]);
    expect(parsePax(data)).toEqual([
      { key: 'SCHILY.xattr.user.x', value: latin('\0\n=\xff') },
      { key: 'k\xc3\xa9', value: Buffer.alloc(0) },
    ]);
  });

  test.each([
    ['x 1=2\n', 'does not start with its length'],
    ['6a=b\n', 'does not start with its length'],
    ['99 a=b\n', 'says it has 99 bytes'],
    ['5 a=b\n', 'does not end where it says'],
    ['2 a=b\n', 'does not end where it says'],
    ['6 aab\n', 'is not KEY=VALUE'],
    ['6 =ab\n', 'is not KEY=VALUE'],
    ['6 aaa\n7 a=bc\n', 'is not KEY=VALUE'],
    ['0000000000006 a=b\n', 'does not start with its length'],
  ])('%j is refused', (text, reason) => expect(parsePax(latin(text))).toContain(reason));
});

describe('header blocks', () => {
  test('every field', () => {
    const block = header({
      name: 'dir/f',
      mode: '0004755\0',
      uid: base256(4294967294n, 8),
      gid: '0001750\0',
      size: 99,
      prefix: 'pre/fix',
    });
    expect(decodeHeader(block, 0)).toEqual({
      flavour: 'ustar', name: latin('pre/fix/dir/f'), linkname: latin(''), mode: 0o4755, uid: 4294967294, gid: 1000, size: 99,
      mtime: 0o14524411230, type: '0', major: 0, minor: 0,
    }); // prettier-ignore
  });

  test('a name that fills its field has no NUL', () => {
    expect(decodeHeader(header({ name: 'n'.repeat(100) }), 0)).toMatchObject({ name: latin('n'.repeat(100)) });
  });

  test('GNU and v7 blocks have no prefix, star blocks a shorter one', () => {
    expect(decodeHeader(header({ magic: 'ustar  \0', prefix: 'times' }), 0)).toMatchObject({
      flavour: 'gnu',
      name: latin('file'),
    });
    expect(decodeHeader(header({ magic: '\0', prefix: 'junk' }), 0)).toMatchObject({
      flavour: 'v7',
      name: latin('file'),
    });
    const star = header({ prefix: `${'p'.repeat(131)}0123456789a 0123456789a ` });
    star.write('tar\0', 508, 'latin1');
    expect(decodeHeader(seal(star), 0)).toMatchObject({ name: latin(`${'p'.repeat(131)}/file`) });
  });

  test('checksums over unsigned and over signed bytes are accepted, others are not', () => {
    const name = latin('\xff\xfe\x80');
    expect(headerSum(header({ name }), 0) - signedHeaderSum(header({ name }), 0)).toBe(3 * 256);
    expect(decodeHeader(header({ name }), 0)).toMatchObject({ name });
    expect(decodeHeader(header({ name, checksum: 'signed' }), 0)).toMatchObject({ name });
    expect(decodeHeader(header({ checksum: '0000001\0' }), 0)).toMatch(
      /^the header's checksum is wrong \(it says 1, its bytes add up to \d+\)$/,
    );
    expect(decodeHeader(header({ checksum: 'garbage!' }), 0)).toContain('it says no number');
    expect(decodeHeader(header({ size: 'rubbish' }), 0)).toBe("the header's size is not a number");
  });
});

describe('names', () => {
  test.each([
    ['./', '', '', 0, true],
    ['.', '', '', 0, false],
    ['a', '', 'a', 1, false],
    ['./a/b/', 'a', 'b', 2, true],
    ['a//./b/./c', 'a/b', 'c', 3, false],
    ['././a', '', 'a', 1, false],
    ['...', '', '...', 1, false],
    ['..a/.b', '..a', '.b', 2, false],
    ['a\xff/\xc3', 'a\xff', '\xc3', 2, false],
    ['n'.repeat(255), '', 'n'.repeat(255), 1, false],
  ])('%j', (name, dir, base, depth, slash) => {
    expect(parsePath(latin(name), 10)).toEqual({ dir, base, depth, slash });
  });

  test.each([
    ['', 'empty'],
    ['/a', 'absolute'],
    ['..', '".." component'],
    ['a/../b', '".." component'],
    ['./..', '".." component'],
    ['a/..', '".." component'],
    ['a\0b', 'NUL'],
    ['n'.repeat(256), '256 bytes'],
    ['a/'.repeat(11), '11 components; the limit is 10'],
  ])('%j is refused', (name, reason) => expect(parsePath(latin(name), 10)).toContain(reason));

  test('a path of more than 4096 bytes', () => {
    const name = Array.from({ length: 30 }, () => 'd'.repeat(200)).join('/');
    expect(parsePath(latin(name), 100)).toMatchObject({ depth: 30, base: 'd'.repeat(200) });
  });

  test('printable form', () => {
    expect(printable(Buffer.from('./été'))).toBe('./été');
    expect(printable(latin('a\n\x1b[31m"\\\x7f'))).toBe('a\\n\\x1b[31m\\"\\\\\\x7f');
    expect(printable(latin('\xff\xc3'))).toBe('\\xff\\xc3');
    expect(printable(Buffer.from('\u202egpj'))).toBe('\\xe2\\x80\\xaegpj');
    expect(printable(toByteString(Buffer.from('ü')))).toBe('ü');
    expect(printable(latin('x'.repeat(500)))).toBe(`${'x'.repeat(120)}…(260 bytes)…${'x'.repeat(120)}`);
    expect(toBuffer(toByteString(latin('\xff\0a')))).toEqual(latin('\xff\0a'));
  });
});

describe('sparse maps', () => {
  const records = (...pairs: [string, string][]): PaxRecord[] =>
    pairs.map(([key, value]) => ({ key: byteStringOf(key), value: latin(value) }));

  test('version 0.0', () => {
    const list = records(
      ['GNU.sparse.offset', '0'],
      ['GNU.sparse.numbytes', '5'],
      ['x', ''],
      ['GNU.sparse.offset', '9'],
      ['GNU.sparse.numbytes', '1'],
    );
    expect(paxMap00(list, latin('10'))).toEqual({ map: Float64Array.of(0, 5, 9, 1), size: 10 });
    expect(paxMap00(list.slice(1), latin('10'))).toContain('GNU.sparse.numbytes where GNU.sparse.offset belongs');
    expect(paxMap00(list.slice(0, 1), latin('10'))).toContain('offset without a length');
  });

  test('version 0.1', () => {
    expect(paxMap01(latin('0,5,9,1'), latin('10'))).toEqual({ map: Float64Array.of(0, 5, 9, 1), size: 10 });
    expect(paxMap01(latin(''), latin('10'))).toEqual({ map: Float64Array.of(), size: 10 });
    expect(paxMap01(latin('0,x'), latin('10'))).toContain('malformed');
    expect(paxMap01(latin('0,5'), latin('many'))).toContain('size of its sparse file');
  });

  test('version 1.0', () => {
    const data = Buffer.concat([latin('2\n0\n5\n4096\n1\n'), Buffer.alloc(500)]);
    expect(storedMap(data, 0, data.length, latin('9000'))).toEqual({
      sparse: { map: Float64Array.of(0, 5, 4096, 1), size: 9000 },
      length: 512,
    });
    expect(storedMap(data, 0, 8, latin('9000'))).toBeUndefined();
    expect(storedMap(latin('2\n0\nfive\n'), 0, 9, latin('1'))).toContain('not a list of numbers');
    expect(storedMap(latin('1'.repeat(50)), 0, 50, latin('1'))).toContain('not a list of numbers');
  });

  test('old GNU headers with extension blocks', () => {
    const block = header({ type: 'S', magic: 'ustar  \0' });
    for (let i = 0; i < 4; i++)
      block.write(`${(i * 8).toString(8).padStart(11, '0')}\0${'1'.padStart(11, '0')}\0`, 386 + i * 24, 'latin1');
    block[482] = 1;
    block.write(`${(1000).toString(8).padStart(11, '0')}\0`, 483, 'latin1');
    const more = Buffer.alloc(512);
    more.write(`${(512).toString(8).padStart(11, '0')}\0${'2'.padStart(11, '0')}\0`, 0, 'latin1');
    const data = Buffer.concat([seal(block), more]);
    expect(oldGnuMapLength(data, 0, 512)).toBeUndefined();
    expect(oldGnuMapLength(data, 0, 1024)).toBe(512);
    expect(oldGnuMap(data, 0, 512)).toEqual({ map: Float64Array.of(0, 1, 8, 1, 16, 1, 24, 1, 512, 2), size: 1000 });
  });

  test.each([
    [[0, 5, 9, 1], 10, 6, undefined],
    [[0, 5, 10, 0], 10, 5, undefined],
    [[], 10, 0, undefined],
    [[5, 5, 0, 1], 10, 6, 'goes backwards at 0'],
    [[0, 5, 4, 1], 10, 6, 'goes backwards at 4'],
    [[0, 11], 10, 11, 'reaches to 11, beyond the size of 10'],
    [[0, 5], 10, 6, 'adds up to 5 bytes, but 6 are stored'],
  ])('%p of size %i with %i stored', (map, size, stored, reason) => {
    const fault = checkSparse({ map: Float64Array.from(map), size }, stored);
    if (reason === undefined) expect(fault).toBeUndefined();
    else expect(fault).toContain(reason);
  });
});

describe('extended attributes', () => {
  const xattr = (key: string, value: Buffer): PaxRecord => ({ key: toByteString(latin(key)), value });

  test('names are encoded as GNU tar encodes them', () => {
    const name = toByteString(latin('user.a=b%c'));
    const written = xattrRecord({ name, value: latin('\0') });
    expect(written).toEqual({ key: 'SCHILY.xattr.user.a%3Db%25c', value: latin('\0') });
    expect(readXattrs([written])).toEqual({ list: [{ name, value: latin('\0') }], dropped: [] });
  });

  test('SCHILY counts more than LIBARCHIVE, whose names are URL-encoded and whose values are base64', () => {
    const list = [
      xattr('LIBARCHIVE.xattr.user.%41', latin('CgA9IP8')),
      xattr('SCHILY.xattr.user.B', latin('raw')),
      xattr('LIBARCHIVE.xattr.user.B', latin('AAAA')),
    ];
    expect(readXattrs(list)).toEqual({
      list: [
        { name: 'user.A', value: latin('\n\0= \xff') },
        { name: 'user.B', value: latin('raw') },
      ],
      dropped: [],
    });
  });

  test('an ACL in base64 without padding and one in raw bytes are the same', () => {
    const binary = Buffer.concat([Buffer.from([2, 0, 0, 0]), Buffer.from('01000600ffffffff', 'hex')]);
    expect(aclToRecord(binary)).toEqual(latin('AgAAAAEABgD/////'));
    expect(aclFromRecord(aclToRecord(binary))).toEqual(binary);
    expect(aclFromRecord(binary)).toBe(binary);
    expect(aclFromRecord(latin('not an acl'))).toBeUndefined();
    expect(aclFromRecord(latin('AAAA'))).toBeUndefined();
  });

  test('ACLs in text', () => {
    const expected = Buffer.from(
      [
        '02000000',
        '01000600ffffffff',
        '0200060001000000',
        '0200040039300000',
        '04000400ffffffff',
        '10000600ffffffff',
        '20000400ffffffff',
      ].join(''),
      'hex',
    );
    const gnu = latin('user::rw-\nuser:1:rw-\t#effective:r--\nuser:12345:r--\ngroup::r--\nmask::rw-\nother::r--\n');
    const libarchive = latin('user::rw-,group::r--,other::r--,user:daemon:rw-:1,user:12345:r--,mask::rw-');
    expect(aclFromText(gnu)).toEqual({ acl: expected });
    expect(aclFromText(libarchive)).toEqual({ acl: expected });
    expect(aclFromText(latin('user:daemon:rw-'))).toEqual({ reason: 'its ACL names "daemon" without a number' });
    expect(aclFromText(latin('user:rwx'))).toEqual({ reason: '"user:rwx" is not an ACL entry' });
  });

  test('ids of ACLs are mapped', () => {
    const source = Buffer.from('0200000001000600ffffffff02000600a086010008000400a1860100', 'hex');
    expect(
      mapAclIds(
        source,
        (id) => id - 100000,
        (id) => id + 1,
      ),
    ).toEqual(Buffer.from('0200000001000600ffffffff020006000000000008000400a2860100', 'hex'));
  });

  test.each([
    ['SCHILY.xattr.', latin('v'), 'is empty, too long or contains NUL'],
    [`SCHILY.xattr.user.${'n'.repeat(251)}`, latin('v'), 'is empty, too long or contains NUL'],
    ['SCHILY.xattr.user.big', Buffer.alloc(65537), 'has 65537 bytes; the most that Linux has is 65536'],
    ['SCHILY.xattr.system.posix_acl_access', latin('rubbish'), 'is not an ACL'],
  ])('case %# is refused', (key, value, reason) => expect(readXattrs([xattr(key, value)])).toContain(reason));

  test('keys that are also properties of every object are no attributes', () => {
    expect(readXattrs([xattr('constructor', latin('v')), xattr('__proto__', latin('v'))])).toEqual({
      list: [],
      dropped: [],
    });
  });
});

describe('file capabilities', () => {
  const v2 = Buffer.from('0100000200200000000000000000000000000000', 'hex');
  const v3 = (root: number): Buffer => {
    const value = Buffer.concat([v2, Buffer.alloc(4)]);
    value[3] = 3;
    value.writeUInt32LE(root, 20);
    return value;
  };
  const map = (id: number): number | undefined => (id >= 100000 && id < 165536 ? id - 100000 : undefined);

  test('those of the container’s root become version 2, others keep a mapped root', () => {
    expect(mapCapability(v3(100000), map)).toEqual(v2);
    expect(mapCapability(v3(100007), map)).toEqual(v3(7));
    expect(mapCapability(v3(5), map)).toBeUndefined();
    expect(mapCapability(v2, map)).toBeUndefined();
    expect(mapCapability(v2, (id) => id)).toEqual(v2);
    expect(mapCapability(latin('junk'), map)).toBeUndefined();
  });
});
