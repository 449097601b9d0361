/** Archives as other programs write them, unpacked; and archives that nobody writes. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs'; // prettier-ignore
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { SiltError } from '../../../errors';
import { loadNative } from '../../../native';
import { pack } from '../pack';
import { withFile } from '../testing/archive-file';
import { bsdtarTest, withoutBsdtar } from '../testing/bsdtar';
import { archive, entry, pax, record } from '../testing/tar-bytes';
import { isRoot, look, makeTmpfs, setXattr, type Upper } from '../testing/upper';
import { unpack } from './index';
import { performPrivileged } from './privileged';

const runner = loadNative();
const latin = (text: string): Buffer => Buffer.from(text, 'latin1');

/** A pax header as Go's archive/tar writes it: nothing but name, size and zeros. */
function goPax(name: string, records: [key: string, value: string | Buffer][]): Buffer {
  const fields = { name, mode: '0000000\0', mtime: '00000000000\0', devmajor: '', devminor: '', type: 'x' };
  return entry(fields, Buffer.concat(records.map(([key, value]) => record(key, value))));
}

/** What gVisor writes of an upper, from its description; siblings in the order of their names, which it does not care for. */
function gvisorArchive(): Buffer {
  const mtime = '14524770400\0';
  const file = { mode: '0000640\0', uid: '0001750\0', gid: '0001751\0', mtime };
  const acl = 'AgAAAAEABgD/////AgAEAOgDAAAEAAQA/////xAABAD/////IAAEAP////8';
  const long = `./var/${'x'.repeat(110)}`;
  return archive(
    entry({ name: './', type: '5', mode: '0000755\0', mtime }),
    entry({ name: './etc/', type: '5', mode: '0000755\0', mtime }),
    entry({ name: './etc/group', type: '3', mode: '0000000\0', mtime }),
    entry({ name: './etc/passwd', type: '1', mode: '0000000\0', mtime, linkname: './etc/group' }),
    goPax('var/PaxHeaders.0', [['SCHILY.xattr.trusted.overlay.opaque', 'y']]),
    entry({ name: './var/', type: '5', mode: '0000755\0', mtime }),
    entry({ name: './var/file', ...file }, 'data'),
    entry({ name: './var/link', type: '1', linkname: './var/file', ...file }),
    // After 2242: eleven octal digits do not hold it.
    goPax('var/PaxHeaders.0/new', [['mtime', '9000000000']]),
    entry({ name: './var/new', mtime: '00000000000\0', mode: '0000600\0' }),
    goPax('var/PaxHeaders.0/old', [['gid', '3000000'], ['mtime', '-86400'], ['uid', '3000000']]),
    entry({ name: './var/old', mtime: '00000000000\0', mode: '0000600\0' }),
    entry({ name: './var/pipe', type: '6', mode: '0000600\0', mtime }),
    entry({ name: './var/shadow', type: '1', mode: '0000000\0', mtime, linkname: './etc/group' }),
    goPax(`var/PaxHeaders.0/${'x'.repeat(83)}`, [['SCHILY.xattr.system.posix_acl_access', acl], ['SCHILY.xattr.user.x', latin('\x01\n=')], ['path', long]]),
    entry({ name: long.slice(0, 100), mode: '0000644\0', mtime }, 'long'),
    goPax('var/PaxHeaders.0', [['linkpath', latin('\xfe/target')], ['path', latin('./var/\xff')]]),
    entry({ name: './var/', type: '2', linkname: '/target', mode: '0000777\0', mtime }),
  ); // prettier-ignore
}

(isRoot() ? describe : describe.skip)('archives of other writers', () => {
  let upper: Upper;
  let dir: string;
  beforeEach(() => {
    upper = makeTmpfs();
    dir = mkdtempSync(join(tmpdir(), 'silt-compat-'));
  });
  afterEach(() => {
    upper.close();
    rmSync(dir, { recursive: true });
  });

  const load = (archiveFd: number): Promise<unknown> =>
    unpack({ runner, archiveFd, upperFd: upper.fd, privileged: (request) => performPrivileged(runner, request) });

  test('a snapshot of gVisor loads, and packing it gives its bytes', async () => {
    const data = gvisorArchive();
    await withFile(data, load);
    const tree = look(upper.path);
    expect(tree['etc/passwd']).toMatchObject({ type: 'char', device: '0:0', links: 3 });
    expect(tree['var']!.xattrs).toEqual({ 'trusted.overlay.opaque': '79', 'trusted.overlay.origin': '' });
    expect(tree['var/link']).toMatchObject({ contents: 'data', links: 2, owner: '1000:1001' });
    expect(tree[`var/${'x'.repeat(110)}`]!.xattrs).toEqual({
      'user.x': '010a3d',
      'system.posix_acl_access':
        '0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000400ffffffff',
    });
    expect(tree['var/\xff']).toMatchObject({ target: '\xfe/target' });
    expect(tree['var/new']).toMatchObject({ mtime: '9000000000.000000000' });
    expect(tree['var/old']).toMatchObject({ owner: '3000000:3000000', mtime: '-86400.000000000' });
    const out = openSync(join(dir, 'o'), 'w');
    await pack({ runner, upperFd: upper.fd, outFd: out });
    closeSync(out);
    expect(readFileSync(join(dir, 'o')).toString('latin1')).toBe(data.toString('latin1'));
  });

  test('a snapshot of gVisor loads with siblings in any order, too', async () => {
    const inOrder = archive(
      entry({ name: './', type: '5' }),
      entry({ name: './b/', type: '5' }),
      entry({ name: './b/z', type: '3', mode: '0000000\0' }),
      entry({ name: './b/a', type: '1', mode: '0000000\0', linkname: './b/z' }),
      entry({ name: './a/', type: '5' }),
      entry({ name: './a/d/', type: '5' }),
      entry({ name: './a/d/gone', type: '1', mode: '0000000\0', linkname: './b/z' }),
      entry({ name: './a/c' }, 'c'),
    );
    await withFile(inOrder, load);
    const tree = look(upper.path);
    expect(Object.keys(tree).sort()).toEqual(['.', 'a', 'a/c', 'a/d', 'a/d/gone', 'b', 'b/a', 'b/z']);
    expect(tree['a/d/gone']).toMatchObject({ type: 'char', device: '0:0', links: 3 });
    expect([tree['a']!.xattrs, tree['a/d']!.xattrs]).toEqual([undefined, { 'trusted.overlay.origin': '' }]);
  });

  describe('GNU tar', () => {
    function makeTree(): void {
      mkdirSync(join(dir, 't', 'd'), { recursive: true });
      writeFileSync(join(dir, 't', 'd', 'f'), 'contents');
      setXattr(join(dir, 't', 'd', 'f'), 'user.bin', latin('\0\n=\xff'));
      setXattr(join(dir, 't', 'd', 'f'), 'user.a=b%', latin('odd'));
      const fd = openSync(join(dir, 't', 'sparse'), 'w');
      for (let i = 0; i < 60; i++) writeSync(fd, `run ${i}`, i * 200_000);
      closeSync(fd);
      truncateSync(join(dir, 't', 'sparse'), 50_000_000);
    }
    test.each([['0.0'], ['0.1'], ['1.0'], ['gnu']])('sparse files %s and extended attributes', async (version) => {
      makeTree();
      const format =
        version === 'gnu' ? ['--format=gnu'] : ['--format=posix', `--sparse-version=${version}`, '--xattrs'];
      execFileSync('tar', [...format, '--sparse', '-cf', join(dir, 'a.tar'), '-C', join(dir, 't'), '.']);
      await withFile(readFileSync(join(dir, 'a.tar')), load);
      const tree = look(upper.path);
      expect(tree['sparse']!.size).toBe(50_000_000);
      expect(tree['sparse']!.blocks).toBe(60 * 8);
      expect(readFileSync(`${upper.path}/sparse`).equals(readFileSync(join(dir, 't', 'sparse')))).toBe(true);
      if (version !== 'gnu') expect(tree['d/f']!.xattrs).toEqual({ 'user.a=b%': '6f6464', 'user.bin': '000a3dff' });
      expect(tree['d/f']!.mtime.split('.')[1] === '000000000').toBe(version === 'gnu');
    });
  });

  describe('streams', () => {
    const body = Buffer.from(Array.from({ length: 400_000 }, (_, i) => (i * 2654435761) >>> 24));
    const map = '2\n4096\n300000\n1000000\n100000\n';
    const stored = Buffer.concat([latin(map), Buffer.alloc(512 - map.length), body]);
    const data = archive(
      entry({ name: 'small' }, 'small'),
      entry({ name: 'big' }, body),
      pax([['GNU.sparse.major', '1'], ['GNU.sparse.minor', '0'], ['GNU.sparse.name', 'holes'], ['GNU.sparse.realsize', '2000000']]),
      entry({ name: 'x' }, stored),
      entry({ name: 'last', type: '1', linkname: 'big' }),
    ); // prettier-ignore
    function check(): void {
      const tree = look(upper.path);
      expect(Object.keys(tree)).toEqual(['.', 'big', 'holes', 'last', 'small']);
      expect(readFileSync(`${upper.path}/big`).equals(body)).toBe(true);
      expect(tree['holes']).toMatchObject({ size: 2_000_000 });
      expect(tree['holes']!.blocks).toBeLessThan(900);
      const holes = readFileSync(`${upper.path}/holes`);
      expect(holes.subarray(4096, 304096).equals(body.subarray(0, 300_000))).toBe(true);
      expect(holes.subarray(1_000_000, 1_100_000).equals(body.subarray(300_000))).toBe(true);
    }

    test.each([['plain', data], ['gzip', gzipSync(data)], ['zstd', zstdCompressSync(data)]])('a %s file', async (_, bytes) => {
      await withFile(bytes, load);
      check();
    }); // prettier-ignore

    test.each([['plain', data], ['gzip', gzipSync(data)]])('a pipe with %s', async (_, bytes) => {
      writeFileSync(join(dir, 'a'), bytes);
      execFileSync('mkfifo', [join(dir, 'fifo')]);
      const cat = spawn('sh', ['-c', 'cat a > fifo'], { cwd: dir, stdio: 'ignore' });
      const closed = once(cat, 'close');
      const fd = openSync(join(dir, 'fifo'), 'r');
      await load(fd);
      closeSync(fd);
      await closed;
      check();
    }); // prettier-ignore

    test('that are cut in a large body say where', async () => {
      const promise = withFile(gzipSync(data.subarray(0, 200_000)), load);
      await expect(promise).rejects.toMatchObject({
        code: 'ARCHIVE_TRUNCATED',
        details: { path: 'big', offset: 1024 },
      });
    });
  });

  test('damaged archives fail in one of the ways that are documented, or load', async () => {
    const seeds = [gvisorArchive(), archive(entry({ name: 'a/b' }, 'x'), pax([['GNU.sparse.map', '0,1'], ['GNU.sparse.size', '9']]), entry({ name: 'c' }, 'y'))]; // prettier-ignore
    const codes = new Set<string>();
    let state = 12345;
    const random = (below: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      return Math.floor((state / 0x80000000) * below);
    };
    const fds = readdirSync('/proc/self/fd').length;
    for (let round = 0; round < 400; round++) {
      const data = Buffer.from(seeds[round % 2]!);
      for (let i = 0; i <= random(3); i++) data[random(data.length - 1024)] = random(256);
      fixChecksums(data, random(4) > 0);
      const scratch = makeTmpfs();
      const outcome = await withFile(
        data.subarray(0, random(10) === 0 ? random(data.length) : data.length),
        (archiveFd) =>
          unpack({
            runner,
            archiveFd,
            upperFd: scratch.fd,
            privileged: (request) => performPrivileged(runner, request),
          }).then(
            () => 'loaded',
            (error: unknown) => {
              if (!(error instanceof SiltError)) throw error;
              expect(error.message).toMatch(/^archive/);
              return error.code;
            },
          ),
      );
      codes.add(outcome);
      scratch.close();
    }
    expect([...codes].sort()).toEqual(['ARCHIVE_INVALID', 'ARCHIVE_TRUNCATED', 'loaded']);
    expect(readdirSync('/proc/self/fd')).toHaveLength(fds);
  }, 60_000);

  /** Makes the checksums right again, so that what is damaged is looked at. */
  function fixChecksums(data: Buffer, wanted: boolean): void {
    for (let at = 0; wanted && at < data.length; at += 512) {
      if (data.toString('latin1', at + 257, at + 262) !== 'ustar') continue;
      data.fill(0x20, at + 148, at + 156);
      const sum = data.subarray(at, at + 512).reduce((total, byte) => total + byte, 0);
      data.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
    }
  }

  bsdtarTest(`bsdtar’s attributes and ACLs${withoutBsdtar}`, async () => {
    mkdirSync(join(dir, 't'));
    writeFileSync(join(dir, 't', 'f'), 'x');
    setXattr(join(dir, 't', 'f'), 'user.bin', latin('\0\n=\xff'));
    setXattr(join(dir, 't', 'f'), 'system.posix_acl_access', Buffer.from('0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000400ffffffff', 'hex')); // prettier-ignore
    execFileSync('bsdtar', [
      '--format=pax',
      '--xattrs',
      '--acls',
      '-cf',
      join(dir, 'a.tar'),
      '-C',
      join(dir, 't'),
      '.',
    ]);
    await withFile(readFileSync(join(dir, 'a.tar')), load);
    expect(look(upper.path)['f']!.xattrs).toEqual({
      'user.bin': '000a3dff',
      'system.posix_acl_access':
        '0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000400ffffffff',
    });
    return undefined;
  });
});
