import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, openSync, closeSync, readFileSync, rmSync, truncateSync, utimesSync, writeFileSync, writeSync, mkdirSync, symlinkSync, linkSync, chownSync } from 'node:fs'; // prettier-ignore
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { ArchiveWarning, Entry } from '../entry';
import type { Limits } from '../limits';
import { bsdtarTest, withoutBsdtar } from '../testing/bsdtar';
import { archive, base256, END, entry, header, pad, pax, record, seal } from '../testing/tar-bytes';
import { MemorySource } from '../testing/memory-source';
import { ArchiveReader } from './reader';
import { openSource } from './source';

const latin = (text: string): Buffer => Buffer.from(text, 'latin1');

interface Read {
  entries: Entry[];
  bodies: string[];
  warnings: (ArchiveWarning & { message: string })[];
}

async function readAll(reader: ArchiveReader): Promise<{ entries: Entry[]; bodies: string[] }> {
  const entries: Entry[] = [];
  const bodies: string[] = [];
  for (let found = await reader.next(); found; found = await reader.next()) {
    entries.push(found);
    const chunks: Buffer[] = [];
    for (let chunk = await reader.readBody(); chunk; chunk = await reader.readBody()) chunks.push(Buffer.from(chunk));
    const body = Buffer.concat(chunks);
    if (found.body?.inline) {
      const { inline, inlineAt = 0, stored } = found.body;
      expect(body.equals(inline.subarray(inlineAt, inlineAt + stored))).toBe(true);
    }
    bodies.push(body.toString('latin1'));
  }
  await reader.finish();
  return { entries, bodies };
}

/** Reads an archive as a file and as a stream in awkward pieces; both must agree. */
async function readMemory(data: Buffer, limits: Partial<Limits> = {}): Promise<Read> {
  const warnings: Read['warnings'] = [];
  const first = await readAll(
    new ArchiveReader(new MemorySource(data), limits, (message, warning) => warnings.push({ message, ...warning })),
  );
  for (const step of [333, 4096]) {
    const again = await readAll(new ArchiveReader(new MemorySource(data, false, step), limits));
    expect(again.bodies).toEqual(first.bodies);
    expect(again.entries.map(summary)).toEqual(first.entries.map(summary));
  }
  return { ...first, warnings };
}

/** An entry without the views of the window, which are not what they were once reading went on. */
function summary({ body, ...rest }: Entry): unknown {
  return { ...rest, body: body && { offset: body.offset, stored: body.stored, map: body.map && [...body.map] } };
}

describe('reading', () => {
  test('kinds, offsets and bodies', async () => {
    const big = 'b'.repeat(70_000);
    const { entries, bodies } = await readMemory(
      archive(entry({ name: './', type: '5' }), pax([['mtime', '1.5']]), entry({ name: './f' }, 'hello'), entry({ name: 'big' }, big), entry({ name: 'l', type: '2', linkname: 't' })),
    ); // prettier-ignore
    expect(entries.map(({ kind, name, offset }) => [kind, name, offset])).toEqual([
      ['directory', './', 0],
      ['file', './f', 512],
      ['file', 'big', 2560],
      ['symlink', 'l', 73216],
    ]);
    expect(bodies).toEqual(['', 'hello', big, '']);
    expect(entries[1]).toMatchObject({
      mode: 0o644,
      size: 5,
      mtime: { seconds: 1, nanoseconds: 5e8 },
      body: { offset: 2048, stored: 5 },
    });
    expect(entries[2]!.body).toEqual({ offset: 3072, stored: 70_000 });
    expect(entries[3]).toMatchObject({ target: latin('t') });
  });

  test('bodies need not be looked at', async () => {
    const data = archive(
      entry({ name: 'a' }, 'x'.repeat(100_000)),
      entry({ name: 'b' }, 'y'.repeat(3_000_000)),
      entry({ name: 'c' }),
    );
    for (const source of [new MemorySource(data), new MemorySource(data, false, 10_000)]) {
      const reader = new ArchiveReader(source);
      expect([
        (await reader.next())?.name,
        (await reader.next())?.name,
        (await reader.next())?.name,
        await reader.next(),
      ]).toEqual(['a', 'b', 'c', undefined]);
    }
  });

  test('pax records count more than the header', async () => {
    const { entries, bodies } = await readMemory(
      archive(
        pax([['path', 'p\xff'], ['uid', '4294967294'], ['gid', '70000'], ['size', '3'], ['mtime', '-1.5'], ['comment', 'x'], ['VENDOR.x', 'y']]),
        entry({ name: 'h', size: 0 }, 'abc'),
        pax([['linkpath', '../\xff'], ['path', '']]),
        entry({ name: 's', type: '2', linkname: 'short' }),
      ),
    ); // prettier-ignore
    expect(entries[0]).toMatchObject({
      name: 'p\xff',
      uid: 4294967294,
      gid: 70000,
      size: 3,
      mtime: { seconds: -2, nanoseconds: 5e8 },
    });
    expect(bodies[0]).toBe('abc');
    expect(entries[1]).toMatchObject({ name: 's', target: latin('../\xff') });
  });

  test('global headers hold until they are replaced or taken back', async () => {
    const { entries } = await readMemory(
      archive(
        pax([['uid', '7'], ['mtime', '5'], ['SCHILY.xattr.user.a', '1']], 'g'),
        entry({ name: 'a' }),
        pax([['uid', '']]), entry({ name: 'b' }),
        pax([['gid', '9'], ['uid', '8']], 'g'), entry({ name: 'c' }),
      ),
    ); // prettier-ignore
    expect(entries.map(({ uid, gid, mtime }) => [uid, gid, mtime.seconds])).toEqual([[7, 0, 5], [0, 0, 5], [8, 9, 5]]); // prettier-ignore
    expect(entries[2]!.xattrs).toEqual([{ name: 'user.a', value: latin('1') }]);
  });

  test('an archive of nothing but a global header, as git writes it', async () => {
    expect((await readMemory(archive(pax([['comment', 'commit']], 'g')))).entries).toEqual([]);
  });

  test('GNU long names and links, sparse headers, labels', async () => {
    const long = `${'d/'.repeat(150)}f`;
    const block = header({ name: 's', type: 'S', magic: 'ustar  \0', size: 3 });
    block.write('00000000010\x0000000000003\0', 386, 'latin1');
    block.write('00000000100\0', 483, 'latin1');
    const { entries, bodies } = await readMemory(
      archive(
        entry({ name: 'Volume', type: 'V' }),
        entry({ name: '././@LongLink', type: 'L' }, `${long}\0`),
        entry({ name: '././@LongLink', type: 'K' }, `${long}2\0`),
        entry({ name: 'cut', type: '2', linkname: 'cut', magic: 'ustar  \0' }),
        Buffer.concat([seal(block), pad(latin('abc'))]),
      ),
    );
    expect(entries.map(({ name }) => name)).toEqual([long, 's']);
    expect(entries[0]).toMatchObject({ offset: 512, target: latin(`${long}2`) });
    expect(entries[1]).toMatchObject({ size: 64, body: { map: Float64Array.of(8, 3) } });
    expect(bodies[1]).toBe('abc');
  });

  test('the size of what has no body means nothing', async () => {
    const parts = ['1', '2', '3', '4', '5', '6'].map((type) => entry({ name: 'n', type, linkname: 't', size: 1234 }));
    expect((await readMemory(archive(...parts))).entries).toHaveLength(6);
  });

  test('old directories are files with a slash', async () => {
    const { entries } = await readMemory(
      archive(entry({ name: 'd/', type: '\0', magic: '\0' }), entry({ name: 'e/', type: '0' })),
    );
    expect(entries.map(({ kind }) => kind)).toEqual(['directory', 'directory']);
  });

  test('what follows the end is not looked at, and nothing is an end without zeros', async () => {
    const data = Buffer.concat([archive(entry({ name: 'a' })), latin('garbage'.repeat(1000))]);
    expect((await readMemory(data)).entries).toHaveLength(1);
    const { warnings } = await readMemory(Buffer.concat([entry({ name: 'a' }), Buffer.alloc(512)]));
    expect(warnings).toMatchObject([{ kind: 'end-missing' }]);
  });

  test('an ACL with names but no numbers is told and left out', async () => {
    const { entries, warnings } = await readMemory(archive(pax([['SCHILY.acl.access', 'user::rw-,user:joe:r--,group::r--,mask::r--,other::r--']]), entry({ name: 'a' }))); // prettier-ignore
    expect(entries[0]!.xattrs).toEqual([]);
    expect(warnings).toEqual([
      { kind: 'xattr-dropped', name: 'a', message: 'a: its ACL names "joe" without a number; left out' },
    ]);
  });
});

describe('archives that are refused', () => {
  const one = entry({ name: 'one' }, 'x');
  const invalid: [string, Buffer, number, string | undefined, RegExp, Partial<Limits>?][] = [
    ['a wrong checksum', archive(one, entry({ name: 'bad', checksum: '0000000\0' })), 1024, undefined, /^archive, at byte 1024: the header's checksum is wrong/],
    ['garbage', Buffer.alloc(4096, 'garbage'), 0, undefined, /checksum/],
    ['a wrong checksum behind an extended header', archive(pax([['path', 'p']]), entry({ checksum: '1' })), 1024, 'p', /checksum/],
    ['an unknown type', archive(one, entry({ name: 'q', type: 'Q' })), 1024, 'q', /its type "Q" is unknown/],
    ['an unprintable type', archive(entry({ name: 'q', type: '\x01' })), 0, 'q', /its type 0x01 is unknown/],
    ['a type that is not supported', archive(entry({ name: 'q', type: 'M' })), 0, 'q', /"M" is the continuation of a file from another volume/],
    ['an absolute name', archive(one, entry({ name: '/x' })), 1024, '/x', /its name is absolute/],
    ['a .. component', archive(entry({ name: 'a/../b' })), 0, 'a/../b', /".." component/],
    ['a .. in a pax path', archive(pax([['path', '../x']]), entry({ name: 'fine' })), 0, '../x', /".." component/],
    ['a .. in a GNU long name', archive(entry({ type: 'L' }, '../x\0'), entry({})), 0, '../x', /".." component/],
    ['a .. in a sparse name', archive(pax([['GNU.sparse.name', '../x'], ['GNU.sparse.size', '0'], ['GNU.sparse.map', '']]), entry({})), 0, '../x', /".." component/],
    ['a NUL in a name', archive(pax([['path', 'a\0b']]), entry({})), 0, 'a\\x00b', /contains a NUL/],
    ['a NUL in a GNU long name', archive(entry({ type: 'L' }, 'a\0b\0'), entry({})), 0, undefined, /its long name contains a NUL/],
    ['a NUL in a link', archive(pax([['linkpath', 'a\0b']]), entry({ name: 'l', type: '2' })), 0, 'l', /target of the symbolic link contains a NUL/],
    ['a link to nothing', archive(entry({ name: 'l', type: '2' })), 0, 'l', /symbolic link to nothing/],
    ['a link that is too long', archive(pax([['linkpath', 'x'.repeat(4096)]]), entry({ name: 'l', type: '2' })), 0, 'l', /has 4096 bytes/],
    ['a hard link outside', archive(entry({ name: 'l', type: '1', linkname: '/etc/passwd' })), 0, 'l', /hard link's target is refused: its name is absolute/],
    ['a hard link to the root', archive(entry({ name: 'l', type: '1', linkname: './' })), 0, 'l', /hard link to the root/],
    ['a name of 256 bytes', archive(pax([['path', 'n'.repeat(256)]]), entry({})), 0, 'n'.repeat(120) + '…(16 bytes)…' + 'n'.repeat(120), /component of 256 bytes/],
    ['an empty name', archive(entry({ name: '' })), 0, '', /its name is empty/],
    ['a name that is too deep', archive(entry({ name: 'a/b/c' })), 0, 'a/b/c', /3 components; the limit is 2/, { maxDepth: 2 }],
    ['a name of more than 64 KiB', archive(pax([['path', 'n/'.repeat(40_000)]]), entry({})), 0, undefined, /its name has 80000 bytes; the limit is 65536/, { maxMetadata: 1 << 20, maxDepth: 100_000 }],
    ['too many entries', archive(one, one, one), 2048, 'one', /more than 2 entries/, { maxEntries: 2 }],
    ['too much metadata', archive(pax([['comment', 'c'.repeat(20_000)]]), one), 0, undefined, /limit is 10000/, { maxMetadata: 10_000 }],
    ['a size of an extended header', archive(entry({ type: 'x', size: base256(1n << 50n, 12) })), 0, undefined, /extended headers have/],
    ['a negative size', archive(entry({ name: 'f', size: base256(-5n, 12) })), 0, 'f', /its size is out of range/],
    ['a size beyond all bounds', archive(entry({ name: 'f', size: base256(1n << 80n, 12) })), 0, 'f', /its size is out of range/],
    ['a size that is no number', archive(pax([['size', '12x']]), entry({ name: 'f' })), 0, undefined, /pax record "size" is not a number/],
    ['an owner beyond 2^32', archive(pax([['uid', '4294967295']]), entry({ name: 'f' })), 0, 'f', /its owner is 4294967295/],
    ['a negative group', archive(entry({ name: 'f', gid: base256(-1n, 8) })), 0, 'f', /its group is -1/],
    ['a time that is none', archive(pax([['mtime', 'noon']]), entry({ name: 'f' })), 0, undefined, /"mtime" is not a time/],
    ['a malformed pax record', archive(entry({ type: 'x' }, '99 a=b\n'), entry({ name: 'f' })), 0, undefined, /says it has 99 bytes/],
    ['an extended header at the end', archive(pax([['path', 'p']])), 0, 'p', /an extended header is not followed by its entry/],
    ['a single block of zeros', Buffer.concat([one, Buffer.alloc(512), one, END]), 1024, undefined, /a single block of zeros/],
    ['a device number', archive(entry({ name: 'n', type: '3', devmajor: '7777777\0' })), 0, 'n', /device number 2097151:0 is out of range/],
    ['the root as a link', archive(entry({ name: './', type: '2', linkname: 'x' })), 0, './', /replace the root directory by a symlink/],
    ['a file with a slash', archive(entry({ name: 'f/' }, 'x')), 0, 'f/', /ends in a slash, but it is a file with contents/],
    ['an xattr beyond 64 KiB', archive(pax([['SCHILY.xattr.user.a', Buffer.alloc(65537)]]), entry({ name: 'f' })), 0, 'f', /"user.a" has 65537 bytes/],
    ['an xattr without a name', archive(pax([['SCHILY.xattr.', 'x']]), entry({ name: 'f' })), 0, 'f', /extended attribute "" is empty/],
    ['a malformed ACL', archive(pax([['SCHILY.xattr.system.posix_acl_default', '!!']]), entry({ name: 'd/', type: '5' })), 0, 'd/', /is not an ACL/],
    ['sparse bytes that do not add up', archive(pax([['GNU.sparse.map', '0,5'], ['GNU.sparse.size', '9']]), entry({ name: 'f' }, 'four')), 0, 'f', /adds up to 5 bytes, but 4 are stored/],
    ['a sparse version', archive(pax([['GNU.sparse.major', '2'], ['GNU.sparse.minor', '0'], ['GNU.sparse.realsize', '9']]), entry({ name: 'f' }, 'x')), 0, 'f', /unknown version 2.0/],
    ['a sparse map longer than the body', archive(pax([['GNU.sparse.major', '1'], ['GNU.sparse.minor', '0'], ['GNU.sparse.realsize', '9']]), entry({ name: 'f' }, '9\n1\n')), 0, 'f', /sparse map is longer than its contents/],
    ['too many global records', archive(...Array.from({ length: 3 }, (_, i) => pax([[`SCHILY.xattr.user.${i}`, 'v'.repeat(500_000)]], 'g')), one), 1001472, undefined, /global headers add up/],
  ]; // prettier-ignore

  test.each(invalid.map(([name, ...rest]) => ({ name, rest })))(
    '$name',
    async ({ rest: [data, offset, path, message, limits] }) => {
      const expected = {
        code: 'ARCHIVE_INVALID',
        message: expect.stringMatching(message) as string,
        details: path === undefined ? { offset } : { offset, path },
      };
      await expect(readMemory(data, limits)).rejects.toMatchObject(expected);
      await expect(readAll(new ArchiveReader(new MemorySource(data, false, 100), limits))).rejects.toMatchObject(
        expected,
      );
    },
  );

  const whole = archive(
    entry({ name: 'a' }, 'x'.repeat(600)),
    pax([['path', 'b']]),
    entry({ name: 'B' }, 'y'.repeat(70_000)),
  );
  const cuts: [string, number, RegExp][] = [
    ['nothing at all', 0, /^archive, at byte 0: the archive ends without the two blocks of zeros/],
    ['in the first header', 100, /^archive, at byte 0: the archive ends at byte 100, in a header/],
    ['in a small body', 700, /^archive entry "a" at byte 0: .*(archive ends at byte 700|ends)/],
    ['in the padding', 1200, /archive ends/],
    [
      'at a boundary',
      1536,
      /^archive, at byte 1536: the archive ends without the two blocks of zeros .* if it is complete, append 1024 zero bytes$/,
    ],
    ['in an extended header', 2100, /^archive, at byte 1536: the archive ends at byte 2100, in an extended header/],
    ['behind an extended header', 2560, /^archive entry "b" at byte 1536: the archive ends at byte 2560, in a header/],
    ['in a large body', 50_000, /^archive entry "b" at byte 1536: .*archive ends/],
    ['before the end', whole.length - 1024, /ends without the two blocks/],
  ];
  test.each(cuts)('cut: %s', async (_, length, message) => {
    const data = whole.subarray(0, length);
    const expected = { code: 'ARCHIVE_TRUNCATED', message: expect.stringMatching(message) as string };
    await expect(readAll(new ArchiveReader(new MemorySource(data)))).rejects.toMatchObject(expected);
    await expect(readAll(new ArchiveReader(new MemorySource(data, false, 300)))).rejects.toMatchObject(expected);
    // Also when nobody looks at the bodies.
    const reader = new ArchiveReader(new MemorySource(data, false, 300));
    const skip = async (): Promise<void> => {
      while (await reader.next());
    };
    await expect(skip()).rejects.toMatchObject({ code: 'ARCHIVE_TRUNCATED' });
  });

  test('1 TiB in a short archive is found before the body is touched', async () => {
    const data = archive(entry({ name: 'huge', size: base256(1n << 40n, 12) }));
    const message =
      'archive entry "huge" at byte 0: its contents have 1099511627776 bytes from byte 512 on, but the archive ends at byte 1536';
    await expect(new ArchiveReader(new MemorySource(data)).next()).rejects.toMatchObject({
      code: 'ARCHIVE_TRUNCATED',
      message,
    });
  });

  test('names in messages are escaped', async () => {
    const data = archive(entry({ name: latin('/\x1b[31m\n\xff') }));
    await expect(readMemory(data)).rejects.toMatchObject({
      message: 'archive entry "/\\x1b[31m\\n\\xff" at byte 0: its name is absolute',
    });
  });
});

describe('compressed archives and streams', () => {
  const body = 'z'.repeat(200_000);
  const data = archive(entry({ name: 'a' }, 'small'), entry({ name: 'b' }, body), entry({ name: 'c' }));
  let dir: string;
  beforeAll(() => void (dir = mkdtempSync(join(tmpdir(), 'silt-reader-'))));
  afterAll(() => rmSync(dir, { recursive: true }));

  async function readFd(fd: number): Promise<{ entries: Entry[]; bodies: string[] }> {
    const source = await openSource(fd);
    try {
      return await readAll(new ArchiveReader(source));
    } finally {
      source.close();
    }
  }
  async function readFile(bytes: Buffer): Promise<{ entries: Entry[]; bodies: string[] }> {
    writeFileSync(join(dir, 'a'), bytes);
    const fd = openSync(join(dir, 'a'), 'r');
    try {
      return await readFd(fd);
    } finally {
      closeSync(fd);
    }
  }
  const split = zstdCompressSync(data.subarray(0, 100_000));
  const rest = zstdCompressSync(data.subarray(100_000));
  const skippable = Buffer.from('502a4d18040000000000000000'.slice(0, 24), 'hex');

  test.each([
    ['gzip', gzipSync(data)],
    ['gzip of two members', Buffer.concat([gzipSync(data.subarray(0, 1000)), gzipSync(data.subarray(1000))])],
    ['zstd', zstdCompressSync(data)],
    ['zstd of two frames', Buffer.concat([split, rest])],
    ['zstd as pzstd writes it', Buffer.concat([skippable, split, skippable, rest])],
  ])('%s', async (_, bytes) => {
    const { entries, bodies } = await readFile(bytes);
    expect(entries.map(({ name, offset }) => [name, offset])).toEqual([['a', 0], ['b', 1024], ['c', 201728]]); // prettier-ignore
    expect(bodies).toEqual(['small', body, '']);
  });

  const damaged = (bytes: Buffer): Buffer => {
    const copy = Buffer.from(bytes);
    copy[copy.length - 6]! ^= 0xff;
    return copy;
  };
  test.each([
    ['gzip that is cut', gzipSync(data).subarray(0, 200), 'ARCHIVE_TRUNCATED'],
    ['gzip cut in its checksum', gzipSync(data).subarray(0, -4), 'ARCHIVE_TRUNCATED'],
    ['gzip with a wrong checksum', damaged(gzipSync(data)), 'ARCHIVE_INVALID'],
    ['zstd that is cut', zstdCompressSync(data).subarray(0, 30), 'ARCHIVE_TRUNCATED'],
    ['zstd without its second frame', split, 'ARCHIVE_TRUNCATED'],
    ['zstd with garbage for a frame', Buffer.concat([split, latin('garbage that is no frame')]), 'ARCHIVE_INVALID'],
    ['xz', Buffer.from('fd377a585a000000', 'hex'), 'ARCHIVE_INVALID'],
    ['bzip2', latin('BZh91AY&SY'), 'ARCHIVE_INVALID'],
    ['an archive that is cut inside of gzip', gzipSync(data.subarray(0, 100_000)), 'ARCHIVE_TRUNCATED'],
  ])('%s is refused', async (_, bytes, code) => {
    await expect(readFile(bytes)).rejects.toMatchObject({ code });
  });

  test.each([
    ['plain', data],
    ['gzip', gzipSync(data)],
    ['zstd', zstdCompressSync(data)],
  ])('a pipe with %s', async (_, bytes) => {
    writeFileSync(join(dir, 'p'), bytes);
    execFileSync('mkfifo', [join(dir, 'fifo')]);
    const cat = spawnSync('sh', ['-c', 'cat p > fifo & echo'], { cwd: dir, stdio: 'ignore' });
    expect(cat.status).toBe(0);
    const fd = openSync(join(dir, 'fifo'), 'r');
    const { bodies } = await readFd(fd);
    closeSync(fd);
    rmSync(join(dir, 'fifo'));
    expect(bodies).toEqual(['small', body, '']);
  });

  test('a small archive has no magic to speak of', async () => {
    await expect(readFile(Buffer.alloc(0))).rejects.toMatchObject({ code: 'ARCHIVE_TRUNCATED' });
    await expect(readFile(latin('x'))).rejects.toMatchObject({ code: 'ARCHIVE_TRUNCATED' });
  });
});

describe('archives of other programs', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'silt-others-'));
    mkdirSync(join(dir, 't', 'd'.repeat(120), 'e'.repeat(120)), { recursive: true });
    const deep = join('t', 'd'.repeat(120), 'e'.repeat(120), 'f');
    writeFileSync(join(dir, deep), 'deep');
    symlinkSync('x'.repeat(150), join(dir, 't', 'long-link'));
    writeFileSync(Buffer.concat([latin(join(dir, 't/')), latin('\xff\xfe')]), 'raw');
    linkSync(join(dir, deep), join(dir, 't', 'hard'));
    writeFileSync(join(dir, 't', 'owned'), 'o');
    if (process.getuid?.() === 0) chownSync(join(dir, 't', 'owned'), 4294967290, 3000000);
    const fd = openSync(join(dir, 't', 'sparse'), 'w');
    writeSync(fd, 'head', 0);
    for (let i = 1; i <= 10; i++) writeSync(fd, `run${i}`, i * 100_000);
    closeSync(fd);
    truncateSync(join(dir, 't', 'sparse'), 5_000_000);
    utimesSync(join(dir, 't', 'owned'), 1700000000.25, 1700000000.25);
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  /** What the tree must be read as; `sparse` says whether holes stay. */
  function check(entries: Entry[], bodies: string[], sparse: boolean): void {
    const found = new Map(
      entries.map((found, i) => [
        `${found.path.dir === '' ? '' : `${found.path.dir}/`}${found.path.base}`,
        { ...found, text: bodies[i]! },
      ]),
    );
    const long = `${'d'.repeat(120)}/${'e'.repeat(120)}/f`;
    expect([...found.keys()].sort()).toEqual(
      [
        '',
        'd'.repeat(120),
        `${'d'.repeat(120)}/${'e'.repeat(120)}`,
        long,
        'hard',
        'long-link',
        'owned',
        'sparse',
        '\xff\xfe',
      ].sort(),
    );
    const linked = [found.get(long)!, found.get('hard')!];
    expect(linked.map(({ kind }) => kind).sort()).toEqual(['file', 'hardlink']);
    expect(linked.find(({ kind }) => kind === 'file')!.text).toBe('deep');
    expect(found.get('long-link')).toMatchObject({ kind: 'symlink', target: latin('x'.repeat(150)) });
    expect(found.get('\xff\xfe')).toMatchObject({ text: 'raw' });
    if (process.getuid?.() === 0) expect(found.get('owned')).toMatchObject({ uid: 4294967290, gid: 3000000 });
    const { size, body, text } = found.get('sparse')!;
    expect(size).toBe(5_000_000);
    if (sparse) expect(body!.stored).toBeLessThan(200_000);
    const restored = Buffer.alloc(size);
    let at = 0;
    const map = body!.map ?? Float64Array.of(0, body!.stored);
    for (let i = 0; i < map.length; i += 2) at += restored.write(text.slice(at, at + map[i + 1]!), map[i]!, 'latin1');
    expect(restored.equals(readFileSync(join(dir, 't', 'sparse')))).toBe(true);
  }

  const read = async (data: Buffer): Promise<{ entries: Entry[]; bodies: string[] }> =>
    readAll(new ArchiveReader(new MemorySource(data)));
  const tar = (...args: string[]): Buffer =>
    execFileSync('tar', [...args, '-cf', '-', '-C', join(dir, 't'), '.'], { maxBuffer: 1 << 26 });

  test.each([
    [['--format=gnu'], false],
    [['--format=gnu', '--sparse'], true],
    [['--format=oldgnu', '--sparse'], true],
    [['--format=posix'], false],
    [['--format=posix', '--sparse', '--sparse-version=0.0'], true],
    [['--format=posix', '--sparse', '--sparse-version=0.1'], true],
    [['--format=posix', '--sparse', '--sparse-version=1.0'], true],
    [['--format=posix', '--pax-option=globexthdr.name=g,comment=hello'], false],
  ])('GNU tar %p', async (args, sparse) => {
    const { entries, bodies } = await read(tar(...args));
    check(entries, bodies, sparse);
    const owned = entries.find(({ name }) => name === './owned')!;
    expect(owned.mtime).toEqual({ seconds: 1700000000, nanoseconds: args[0] === '--format=posix' ? 250000000 : 0 });
  });

  bsdtarTest.each([
    [['--format=pax'], true],
    [['--format=gnutar'], false],
  ])(`bsdtar %p${withoutBsdtar}`, async (args, sparse) => {
    const data = execFileSync('bsdtar', [...args, '-cf', '-', '-C', join(dir, 't'), '.'], {
      maxBuffer: 1 << 26,
      env: { ...process.env, LC_ALL: 'C' },
    });
    const { entries, bodies } = await read(data);
    check(entries, bodies, sparse);
  });

  test('extended attributes and ACLs of GNU tar', async () => {
    const data = archive(Buffer.concat([entry({ name: 'x', type: 'x' }, Buffer.concat([record('SCHILY.xattr.user.a%3Db%25', 'v'), record('SCHILY.acl.access', 'user::rw-\nuser:9:r--\ngroup::r--\nmask::r--\nother::---\n')])), entry({ name: 'f' })])); // prettier-ignore
    const { entries } = await read(data);
    expect(entries[0]!.xattrs.map(({ name, value }) => [name, value.length])).toEqual([['system.posix_acl_access', 44], ['user.a=b%', 1]]); // prettier-ignore
  });
});
