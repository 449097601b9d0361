import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, closeSync, constants, lchownSync, linkSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, symlinkSync, truncateSync, unlinkSync, writeFileSync, writeSync } from 'node:fs'; // prettier-ignore
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative } from '../../../native';
import { C } from '../../../syscall';
import type { OnWarning } from '../entry';
import { withFile } from '../testing/archive-file';
import { bsdtarTest, withoutBsdtar } from '../testing/bsdtar';
import { isRoot, look, makeNode, makeTmpfs, setTime, setXattr, type Upper } from '../testing/upper';
import { unpack } from '../unpack';
import { performPrivileged, type PrivilegedRequest } from '../unpack/privileged';
import { encodeHeaders, type OutEntry } from './headers';
import { PlainHeaders } from './plain-walk';
import type { IdRange } from './ids';
import { pack, type PackOptions } from './index';
import { byteStringOf } from '../codec/bytes';

const runner = loadNative();
/** The addon's functions one by one, to have others in place of some. */
const plainRunner: PackOptions['runner'] = {
  run: (...given) => runner.run(...given),
  start: (...given) => runner.start(...given),
  finish: () => runner.finish(),
  readNames: (...given) => runner.readNames(...given),
  packPlain: (...given) => runner.packPlain(...given),
  startWriting: (...given) => runner.startWriting(...given),
  finishWriting: () => runner.finishWriting(),
  plainHeaders: (...given) => runner.plainHeaders(...given),
};
/** A walk on which nothing is like most. */
const leaveAll: PackOptions['runner']['packPlain'] = (...[, , , , , , job]) => {
  job[1] = 0;
  return 2;
};
const latin = (text: string): Buffer => Buffer.from(text, 'latin1');

describe('headers', () => {
  const base = { type: '0' as const, mode: 0o644, uid: 0, gid: 0, mtime: { seconds: 1700000000, nanoseconds: 0 } };

  test('a plain one, byte for byte', () => {
    const block = encodeHeaders({
      ...base,
      name: byteStringOf('./etc/hosts'),
      mode: 0o104755,
      uid: 1000,
      gid: 100,
      stored: 5,
    });
    const expected = Buffer.alloc(512);
    expected.write('./etc/hosts', 0);
    expected.write('0004755\x000001750\x000000144\x0000000000005\x0014524770400\x00', 100);
    expected.write('015116\x00 0', 148);
    expected.write('ustar\x0000', 257);
    expected.write('0000000\x000000000\x00', 329);
    let sum = 0;
    for (const byte of Buffer.concat([expected.subarray(0, 148), Buffer.alloc(8, 0x20), expected.subarray(156)]))
      sum += byte;
    expected.write(sum.toString(8).padStart(6, '0'), 148);
    expect(block.equals(expected)).toBe(true);
  });

  test('a name of up to 256 bytes is split at a slash when nothing else needs a pax header', () => {
    const name = byteStringOf(`./${'d'.repeat(120)}/${'f'.repeat(100)}`);
    const block = encodeHeaders({ ...base, name });
    expect(block).toHaveLength(512);
    expect(block.toString('latin1', 0, 100)).toBe('f'.repeat(100));
    expect(block.toString('latin1', 345, 345 + 123)).toBe(`./${'d'.repeat(120)}\0`);
    const withTime = encodeHeaders({ ...base, name, mtime: { seconds: 1, nanoseconds: 5 } });
    expect(withTime.toString('latin1', 512, 1024).replace(/\0+$/, '')).toBe(
      `21 mtime=1.000000005\n${name.length + 10} path=${name}\n`,
    );
  });

  test.each([
    ['a long name', { name: byteStringOf(`./${'n'.repeat(101)}`) }, `113 path=./${'n'.repeat(101)}\n`],
    ['a name that is not ASCII', { name: byteStringOf('./é') }, '13 path=./\xc3\xa9\n'],
    ['a link that is not UTF-8', { type: '2' as const, linkname: '\xff' as never }, '14 linkpath=\xff\n'],
    ['large ids', { uid: 2097152, gid: 4294967294 }, '18 gid=4294967294\n15 uid=2097152\n'],
    ['more than 8 GiB', { stored: 8 ** 11 }, '19 size=8589934592\n'],
    ['a time before 1970', { mtime: { seconds: -2, nanoseconds: 500000000 } }, '14 mtime=-1.5\n'],
    ['a time after 2242', { mtime: { seconds: 8 ** 11, nanoseconds: 0 } }, '20 mtime=8589934592\n'],
    ['attributes', { xattrs: [{ name: byteStringOf('user.b'), value: latin('\0') }, { name: byteStringOf('user.a'), value: latin('=') }] }, '25 SCHILY.xattr.user.a==\n25 SCHILY.xattr.user.b=\0\n'],
  ])('%s needs a pax header', (_, fields, records) => {
    const blocks = encodeHeaders({ ...base, name: byteStringOf('./d/f'), ...fields });
    expect(blocks).toHaveLength(1536);
    expect(blocks.toString('latin1', 512, 512 + records.length)).toBe(records);
    expect(blocks[156]).toBe(0x78);
    expect(blocks.toString('latin1', 124, 135)).toBe(records.length.toString(8).padStart(11, '0'));
    expect(blocks.toString('latin1', 100, 124)).toBe('0000000\x000000000\x000000000\x00');
  }); // prettier-ignore

  test('the pax header is named after its entry', () => {
    const nameOf = (name: string): string => encodeHeaders({ ...base, name: byteStringOf(name), uid: 9999999 }).toString('latin1', 0, 100).replace(/\0+$/, ''); // prettier-ignore
    expect(['./a/b', './a/b/', './', './x'].map(nameOf)).toEqual([
      'a/PaxHeaders.0/b',
      'a/b/PaxHeaders.0',
      'PaxHeaders.0',
      'PaxHeaders.0/x',
    ]);
  });
});

(isRoot() ? describe : describe.skip)('pack', () => {
  let upper: Upper;
  let dir: string;
  let warnings: string[];
  let openFds: string[];

  beforeEach(() => {
    openFds = readdirSync('/proc/self/fd');
    upper = makeTmpfs();
    dir = mkdtempSync(join(tmpdir(), 'silt-pack-'));
    warnings = [];
  });
  afterEach(() => {
    upper.close();
    rmSync(dir, { recursive: true });
    expect(readdirSync('/proc/self/fd').filter((fd) => !openFds.includes(fd))).toEqual([]);
  });

  const onWarning: OnWarning = (message, { kind }) => void warnings.push(`${kind}: ${message}`);
  async function packed(from: Upper = upper, options: Partial<PackOptions> = {}): Promise<Buffer> {
    const path = join(dir, 'packed.tar');
    const outFd = openSync(path, 'w');
    try {
      const { bytes } = await pack({ runner, upperFd: from.fd, outFd, onWarning, ...options });
      const data = readFileSync(path);
      expect(data).toHaveLength(bytes);
      return data;
    } finally {
      closeSync(outFd);
    }
  }
  async function unpacked(data: Buffer): Promise<Upper> {
    const other = makeTmpfs();
    const privileged = (request: PrivilegedRequest): void => performPrivileged(runner, request);
    try {
      await withFile(data, (archiveFd) => unpack({ runner, archiveFd, upperFd: other.fd, onWarning, privileged }));
    } catch (error) {
      other.close();
      throw error;
    }
    return other;
  }
  const at = (name: string): string => `${upper.path}/${name}`;
  const list = (data: Buffer, ...args: string[]): string[] => {
    writeFileSync(join(dir, 'l.tar'), data);
    const listed = spawnSync('tar', ['--numeric-owner', '--quoting-style=escape', '-tf', join(dir, 'l.tar'), ...args], {
      encoding: 'latin1',
    });
    expect(listed.stderr).toBe('');
    return listed.stdout.split('\n').slice(0, -1);
  };

  const acl = Buffer.from(
    '0200000001000600ffffffff02000600a086010004000400ffffffff10000600ffffffff20000400ffffffff',
    'hex',
  );
  const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');

  /** Everything that an upper can hold. */
  function makeEverything(): void {
    mkdirSync(at('dir/sub'), { recursive: true });
    writeFileSync(at('dir/file'), 'contents');
    chownSync(at('dir/file'), 1000, 4294967294);
    chmodSync(at('dir/file'), 0o6755);
    setXattr(at('dir/file'), 'user.bin', latin('\0\n=\xff'));
    setXattr(at('dir/file'), 'user.empty', Buffer.alloc(0));
    setXattr(at('dir/file'), 'user.a=b%c', latin('odd'));
    setXattr(at('dir/file'), 'security.capability', capability);
    setXattr(at('dir/file'), 'user.large', Buffer.alloc(50_000, 0x62));
    linkSync(at('dir/file'), at('dir/sub/hard'));
    writeFileSync(at('acl'), 'x');
    setXattr(at('acl'), 'system.posix_acl_access', acl);
    setXattr(at('dir/sub'), 'trusted.overlay.opaque', latin('y'));
    setXattr(at('dir/sub'), 'trusted.overlay.origin', latin('host only'));
    symlinkSync('../\xe9', at('dir/link'));
    setXattr(at('dir/link'), 'security.note', latin('on a link'));
    symlinkSync('t'.repeat(200), at('dir/long-link'));
    makeNode(at('dir/fifo'), 'S_IFIFO', 0o640);
    makeNode(at('gone'), 'S_IFCHR');
    makeNode(at('dir/sub/gone-too'), 'S_IFCHR');
    setXattr(at('dir/sub'), 'system.posix_acl_default', acl);
    makeNode(at('null'), 'S_IFCHR', 0o666, 1, 3);
    writeFileSync(Buffer.concat([latin(`${upper.path}/`), latin('raw\xff\xfe')]), 'raw');
    writeFileSync(at('n'.repeat(255)), 'long name');
    for (const size of [511, 512, 513, 16384, 16385, 200_000])
      writeFileSync(at(`size-${size}`), Buffer.alloc(size, `${size}`));
    const fd = openSync(at('sparse'), 'w');
    writeSync(fd, 'head', 0);
    writeSync(fd, 'middle', 1_000_000);
    closeSync(fd);
    truncateSync(at('sparse'), 10_000_000_000);
    truncateSync(openAndClose(at('all-hole')), 100_000);
    setTime(at('dir/file'), 1600000000, 123456789);
    setTime(at('dir/link'), -5, 1);
    setTime(at('gone'), 77, 0);
    setTime(at('acl'), 10000000000, 0);
    setTime(at('dir/sub'), 1500000000, 5);
    setTime(at('dir'), 1500000001, 0);
    setTime(`${upper.path}/.`, 1500000002, 0);
  }
  function openAndClose(path: string): string {
    closeSync(openSync(path, 'w'));
    return path;
  }

  test('an empty upper is the root alone', async () => {
    setTime(`${upper.path}/.`, 1700000000);
    const data = await packed();
    expect(data).toHaveLength(512 + 1024);
    expect(data.toString('latin1', 0, 3)).toBe('./\0');
    expect(data.subarray(512).equals(Buffer.alloc(1024))).toBe(true);
  });

  test('pack, unpack, pack gives the same bytes and the same tree', async () => {
    makeEverything();
    unlinkSync(at('null'));
    const first = await packed();
    const other = await unpacked(first);
    const second = await packed(other);
    expect(second.equals(first)).toBe(true);
    const [one, two] = [look(upper.path), look(other.path)];
    // The overlay's note of where it came from holds only where it was made; an empty one is the mark of a directory with whiteouts, which share one inode.
    one['dir/sub']!.xattrs!['trusted.overlay.origin'] = '';
    one['gone']!.links = one['dir/sub/gone-too']!.links = 2;
    one['gone']!.mtime = one['dir/sub/gone-too']!.mtime;
    expect(two).toEqual(one);
    expect(two['sparse']).toMatchObject({ size: 10_000_000_000, blocks: 16 });
    expect(warnings).toEqual([]);
    other.close();
  });

  test('names are in order of their bytes, directories before what is in them', async () => {
    for (const name of ['b', 'a.b', 'a', 'a-', 'Z']) mkdirSync(at(name));
    for (const name of ['a/z', 'a/b', 'a.b/c', 'c', '\x01', 'zz']) writeFileSync(at(name), '');
    writeFileSync(Buffer.concat([latin(`${upper.path}/`), latin('\xff')]), '');
    const names = [
      './',
      './\\001',
      './Z/',
      './a/',
      './a/b',
      './a/z',
      './a-/',
      './a.b/',
      './a.b/c',
      './b/',
      './c',
      './zz',
      './\\377',
    ];
    expect(list(await packed())).toEqual(names);
  });

  test('what the addon writes of files like most is what would be written otherwise', async () => {
    makeEverything();
    for (let d = 0; d < 18; d++) {
      const directory = `${'d'.repeat(2 * d + 1)}${d % 9 === 8 ? 'é' : ''}`;
      mkdirSync(at(directory), d % 2 ? 0o1777 : 0o750);
      for (let f = 0; f < 30; f++) {
        const name = at(`${directory}/${'f'.repeat(f + 1)}${f % 11 === 10 ? '\xff' : ''}`);
        writeFileSync(name, Buffer.alloc(f % 10 === 9 ? (128 << 10) + f - 19 : 37 * d * f, d + 1), { mode: 0o600 + f });
        chownSync(name, 100_000 + d * f, 100_000 + (f % 7) * 40_000);
        if (f % 5 === 4) setTime(name, f === 4 ? 8 ** 11 + d : f === 9 ? -5 : 1_700_000_000 + d, f % 2 ? 0 : 1000 * f);
        if (f === 13) linkSync(name, `${name}.link`);
        if (f === 14) setXattr(name, 'user.a', Buffer.from('b'));
        if (f === 15) truncateSync(name, 70_000);
      }
      for (const [l, target] of ['f', '../..', '/'.repeat(99), 't'.repeat(100), 't'.repeat(101), 'é', ' '].entries()) {
        const name = at(`${directory}/l${'l'.repeat(9 * l)}`);
        symlinkSync(target, name);
        lchownSync(name, 100_000 + d * l, 100_000);
        if (l % 2 === 0) setTime(name, 1_700_000_000 + l, l * d);
        if (l === 1) setXattr(name, 'trusted.a', Buffer.from('b'));
        if (l === 6) linkSync(name, `${name}.link`);
      }
    }
    const other = { packPlain: leaveAll, plainHeaders: () => 0 };
    const range = (containerID: number, hostID: number, size: number): IdRange => ({ containerID, hostID, size });
    const maps: (PackOptions['idMaps'] | undefined)[] = [
      undefined,
      { uids: [range(0, 100_000, 500), range(2_000_000, 100_500, 1000)], gids: [range(7, 100_000, 200_000)] },
      { uids: [range(0, 100_000, 65536)], gids: [] },
    ];
    for (const idMaps of maps) {
      const general = await packed(upper, { ...(idMaps && { idMaps }), runner: { ...plainRunner, ...other } });
      const said = warnings.splice(0);
      expect((await packed(upper, { ...(idMaps && { idMaps }) })).equals(general)).toBe(true);
      expect(warnings.splice(0)).toEqual(said);
    }
  });

  test('GNU tar lists and extracts what is written', async () => {
    makeEverything();
    const data = await packed();
    const lines = list(data, '-v', '--full-time');
    const find = (name: string): string => lines.find((line) => line.includes(` ./${name}`))!;
    expect(lines[0]).toMatch(/^drwxr?.* 0\/0 +0 2017-07-14 02:40:02 \.\/$/);
    expect(find('dir/file')).toMatch(/^-rwsr-sr-x 1000\/4294967294 +8 2020-09-13 \d\d:26:40.123456789 \.\/dir\/file$/);
    expect(find('dir/sub/hard')).toMatch(/^hrwsr-sr-x .* \.\/dir\/sub\/hard link to \.\/dir\/file$/);
    expect(find('dir/link')).toMatch(/ \.\/dir\/link -> \.\.\/\xc3\xa9$/);
    expect(find('dir/sub/gone-too')).toMatch(/^c--------- 0\/0 +0,0 /);
    expect(find('gone')).toMatch(/^h--------- .* \.\/gone link to \.\/dir\/sub\/gone-too$/);
    expect(find('null')).toMatch(/^crw-r--r-- 0\/0 +1,3 /);
    expect(find('dir/fifo')).toMatch(/^p/);
    expect(find('sparse')).toMatch(/ 10000000000 /);
    const out = makeTmpfs();
    const args = ['--xattrs', '--xattrs-include=*', '--exclude=./sparse', '-C', out.path, '-xf', join(dir, 'l.tar')];
    const complaints = spawnSync('tar', args, { encoding: 'utf8' })
      .stderr.split('\n')
      .filter((line) => !line.includes('time stamp'));
    // GNU tar does not know that gVisor has ACLs in base64.
    expect(complaints.filter((line) => !line.includes('system.posix_acl_'))).toEqual(['']);
    const tree = look(out.path);
    expect(tree['dir/file']).toMatchObject({
      mode: '6755',
      owner: '1000:4294967294',
      mtime: '1600000000.123456789',
      links: 2,
      contents: 'contents',
    });
    expect(tree['dir/file']!.xattrs).toMatchObject({
      'user.bin': latin('\0\n=\xff').toString('hex'),
      'user.a=b%c': latin('odd').toString('hex'),
    });
    expect(tree['size-200000']).toMatchObject({ size: 200_000 });
    expect(readFileSync(`${out.path}/size-200000`).equals(Buffer.alloc(200_000, '200000'))).toBe(true);
    expect(tree['all-hole']).toMatchObject({ size: 100_000, blocks: 0 });
    out.close();
  });

  bsdtarTest(`bsdtar lists the same names${withoutBsdtar}`, async () => {
    makeEverything();
    const data = await packed();
    // It complains of names that are not in its locale, and lists them all the same.
    const { stdout } = spawnSync('bsdtar', ['-tf', '-'], {
      input: data,
      encoding: 'latin1',
      env: { ...process.env, LC_ALL: 'C' },
    });
    expect(stdout.split('\n').slice(0, -1)).toHaveLength(list(data).length);
  });

  test('ids, ACLs and capabilities are those of the container', async () => {
    const idMaps = {
      uids: [{ containerID: 0, hostID: 100000, size: 65536 }],
      gids: [{ containerID: 0, hostID: 200000, size: 65536 }],
    };
    const version3 = (root: number): Buffer => {
      const value = Buffer.concat([capability, Buffer.alloc(4)]);
      value[3] = 3;
      value.writeUInt32LE(root, 20);
      return value;
    };
    chownSync(`${upper.path}/.`, 100000, 200000);
    for (const [name, uid, gid] of [
      ['a', 101000, 200100],
      ['b', 5, 200000],
      ['c', 100000, 200000],
      ['d', 100000, 200000],
      ['e', 100000, 200000],
    ] as const) {
      // prettier-ignore
      writeFileSync(at(name), '');
      chownSync(at(name), uid, gid);
    }
    setXattr(at('a'), 'system.posix_acl_access', acl);
    setXattr(at('c'), 'security.capability', version3(100000));
    setXattr(at('d'), 'security.capability', version3(100007));
    setXattr(at('e'), 'security.capability', capability);
    const other = await unpacked(await packed(upper, { idMaps }));
    const tree = look(other.path);
    expect(['.', 'a', 'b'].map((name) => tree[name]!.owner)).toEqual(['0:0', '1000:100', '65534:0']);
    // 0x000186a0, host id 100000, is the container's root.
    expect(tree['a']!.xattrs!['system.posix_acl_access']).toBe(acl.toString('hex').replace('a0860100', '00000000'));
    expect(tree['c']!.xattrs!['security.capability']).toBe(capability.toString('hex'));
    expect(tree['d']!.xattrs!['security.capability']).toBe(version3(7).toString('hex'));
    expect(tree['e']!.xattrs).toBeUndefined();
    expect(warnings).toEqual([
      'id-unmapped: ./b: the host’s user 5 is not in the container; written as 65534',
      'xattr-dropped: ./e: the extended attribute "security.capability" is left out: it is not for this container',
    ]);
    other.close();
  });

  test('sockets are left out with a warning, and so is what an overlay has under another name; whatever else overlayfs notes silently, and labels', async () => {
    const server = createServer().listen(at('socket'));
    await once(server, 'listening');
    mkdirSync(at('d'));
    setXattr(at('d'), 'trusted.overlay.redirect', latin('/x'));
    setXattr(at('d'), 'trusted.overlay.opaque', latin('x'));
    setXattr(at('d'), 'trusted.other', latin('kept'));
    setXattr(at('d'), 'security.selinux', latin('a:b:c:s0'));
    const data = await packed();
    server.close();
    await once(server, 'close');
    expect(list(data)).toEqual(['./', './d/']);
    expect(data.toString('latin1')).not.toMatch(/trusted\.overlay|security\.selinux/);
    expect(data.toString('latin1')).toContain('SCHILY.xattr.trusted.other=kept\n');
    expect(warnings).toEqual([
      'xattr-dropped: ./d/: the extended attribute "trusted.overlay.redirect" is left out: what it stands for is in a lower layer under another name, and not in the archive',
      'socket-skipped: ./socket: an archive cannot hold a socket; it is left out',
    ]);
  });

  test('a directory with more attributes than the kernel lists keeps what says that it replaces one', async () => {
    mkdirSync(at('d'));
    setXattr(at('d'), 'trusted.overlay.opaque', latin('y'));
    for (let i = 0; i < 300; i++) setXattr(at('d'), `user.${'x'.repeat(240)}${i}`, latin('v'));
    expect((await packed()).toString('latin1')).toContain('SCHILY.xattr.trusted.overlay.opaque=y\n');
  });

  test('a tree deeper than the directories that are kept open, and paths beyond 4096 bytes', async () => {
    const depth = 120;
    let fd = openSync(upper.path, 'r');
    for (let i = 0; i < depth; i++) {
      mkdirSync(`/proc/self/fd/${fd}/${'d'.repeat(60)}`);
      writeFileSync(`/proc/self/fd/${fd}/z${i}`, `${i}`);
      const next = openSync(`/proc/self/fd/${fd}/${'d'.repeat(60)}`, 'r');
      closeSync(fd);
      fd = next;
    }
    closeSync(fd);
    const first = await packed();
    const names = list(first);
    expect(names).toHaveLength(1 + 2 * depth);
    expect(names.at(-1)).toBe('./z0');
    expect(names[depth]).toBe(`./${`${'d'.repeat(60)}/`.repeat(depth)}`);
    const other = await unpacked(first);
    expect((await packed(other)).equals(first)).toBe(true);
    other.close();
  });

  test.each([
    [1025, 'd'],
    [300, 'd'.repeat(250)],
  ])('that a tree of %i directories cannot be loaded again is said', async (depth, name) => {
    let fd = openSync(upper.path, 'r');
    for (let i = 0; i < depth; i++) {
      mkdirSync(`/proc/self/fd/${fd}/${name}`);
      const next = openSync(`/proc/self/fd/${fd}/${name}`, 'r');
      closeSync(fd);
      fd = next;
    }
    closeSync(fd);
    const data = await packed();
    expect(warnings).toEqual([
      expect.stringMatching(
        /^too-deep: \.\/d.*: silt will refuse this archive as a seed where names in it have more than 1024 components and 65536 bytes$/,
      ),
    ]);
    await expect(unpacked(data)).rejects.toThrow(/the limit is/);
  });

  test('thousands of entries, many links among them', async () => {
    for (let i = 0; i < 30; i++) mkdirSync(at(`d${i}`));
    for (let i = 0; i < 30; i++) {
      for (let k = 0; k < 100; k++) writeFileSync(at(`d${i}/f${k}`), `${i}-${k}`.repeat(k));
      linkSync(at(`d${i}/f0`), at(`d${(i * 7) % 30}/l${i}`));
    }
    const first = await packed();
    const other = await unpacked(first);
    expect((await packed(other)).equals(first)).toBe(true);
    const [one, two] = [look(upper.path), look(other.path)];
    expect(two).toEqual(one);
    other.close();
  });

  test('into a pipe, also one that is slow and in non-blocking mode, and into a file that is open for appending', async () => {
    makeEverything();
    unlinkSync(at('sparse'));
    for (const name of ['sent', 'sent too']) writeFileSync(at(name), Buffer.alloc(300_001, name));
    const expected = await packed();
    const reader = spawn('sh', ['-c', `sleep 0.2; cat > ${join(dir, 'through')}`], {
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    const fd = (reader.stdin as unknown as { _handle: { fd: number } })._handle.fd;
    const pid = reader.pid!;
    expect(pid).toBeGreaterThan(0);
    await pack({ runner, upperFd: upper.fd, outFd: fd, onWarning });
    reader.stdin.end();
    await once(reader, 'close');
    expect(readFileSync(join(dir, 'through')).equals(expected)).toBe(true);
    const appended = openSync(join(dir, 'appended'), 'a');
    await pack({ runner, upperFd: upper.fd, outFd: appended, onWarning });
    closeSync(appended);
    expect(readFileSync(join(dir, 'appended')).equals(expected)).toBe(true);
  });

  test('a file that shrinks is filled up with zeros', async () => {
    for (let i = 1; i < 100; i++) writeFileSync(at(`a${`${i}`.padStart(3, '0')}`), Buffer.alloc(20_000, 1));
    let shrunk = false;
    // The first warning comes when a file behind the socket has been looked at and not yet read: one that is not like most, as what is in
    // front of both.
    makeNode(at('a00'), 'S_IFIFO');
    makeNode(at('a0000'), 'S_IFSOCK');
    linkSync(at('a001'), at('b'));
    const shrinking: OnWarning = (message, warning) => {
      onWarning(message, warning);
      if (!shrunk) truncateSync(at('a001'), 5);
      shrunk = true;
    };
    const data = await packed(upper, { onWarning: shrinking });
    expect(warnings).toEqual([
      'socket-skipped: ./a0000: an archive cannot hold a socket; it is left out',
      'changed: ./a001: it shrank by 19995 bytes while it was read; zeros are written for them',
    ]);
    expect(list(data)).toHaveLength(102);
    const other = await unpacked(data);
    expect(readFileSync(`${other.path}/a001`).equals(Buffer.concat([Buffer.alloc(5, 1), Buffer.alloc(19_995)]))).toBe(
      true,
    );
    other.close();
  });

  test('and so is one that is sent between others', async () => {
    for (let i = 0; i < 10; i++) writeFileSync(at(`a00${i}`), Buffer.alloc(300_000, i + 1));
    let shrunk = false;
    // The more names follow each other that are not like most, the more are looked at together.
    for (const name of ['a', 'a0']) makeNode(at(name), 'S_IFIFO');
    makeNode(at('a0000'), 'S_IFSOCK');
    const shrinking: OnWarning = (message, warning) => {
      onWarning(message, warning);
      if (!shrunk) [5, 0].forEach((size, i) => truncateSync(at(`a00${i + 1}`), size));
      shrunk = true;
    };
    const data = await packed(upper, { onWarning: shrinking });
    expect(warnings.slice(1)).toEqual(
      [299_995, 300_000].map(
        (missing, i) =>
          `changed: ./a00${i + 1}: it shrank by ${missing} bytes while it was read; zeros are written for them`,
      ),
    );
    const other = await unpacked(data);
    for (let i = 0; i < 10; i++) {
      const kept = i === 1 ? 5 : i === 2 ? 0 : 300_000;
      const expected = Buffer.concat([Buffer.alloc(kept, i + 1), Buffer.alloc(300_000 - kept)]);
      expect(readFileSync(`${other.path}/a00${i}`).equals(expected)).toBe(true);
    }
    other.close();
  });

  test('what goes away while it is read is left out with a warning', async () => {
    for (let i = 0; i < 100; i++) writeFileSync(at(`f${`${i}`.padStart(3, '0')}`), '');
    mkdirSync(at('g/h'), { recursive: true });
    makeNode(at('f0000'), 'S_IFSOCK');
    const removing: OnWarning = (message, warning) => {
      onWarning(message, warning);
      if (warning.kind === 'socket-skipped') {
        unlinkSync(at('f099'));
        rmSync(at('g'), { recursive: true });
      }
    };
    const data = await packed(upper, { onWarning: removing });
    expect(warnings.slice(1)).toEqual([
      'changed: ./f099: it went away while it was read; it is left out',
      'changed: ./g/: it went away while it was read; it is left out',
    ]);
    expect(list(data)).toHaveLength(100);
  });

  test('what becomes something else while it is read is left out with a warning, also what cannot be opened then', async () => {
    const kinds: Record<string, (path: string) => void> = {
      whiteout: (path) => makeNode(path, 'S_IFCHR'),
      fifo: (path) => makeNode(path, 'S_IFIFO'),
      directory: (path) => mkdirSync(path),
    };
    const from: Record<string, (path: string) => void> = {
      file: (path) => writeFileSync(path, ''),
      link: (path) => symlinkSync('target', path),
    };
    // As the uppers of containers are mounted.
    for (const attributes of [0, C.MOUNT_ATTR_NODEV])
      for (const make of Object.values(from))
        for (const replace of Object.values(kinds)) {
          const changing = makeTmpfs({}, attributes);
          const path = `${changing.path}/f`;
          make(path);
          writeFileSync(`${changing.path}/g`, '');
          const replacing: PackOptions['runner'] = {
            ...plainRunner,
            readNames: (...given) => {
              const errno = runner.readNames(...given);
              unlinkSync(path);
              replace(path);
              return errno;
            },
          };
          warnings.length = 0;
          expect(list(await packed(changing, { runner: replacing }))).toHaveLength(2);
          expect(warnings).toEqual([
            expect.stringMatching(/^changed: \.\/f: it (became something else|went away) while/),
          ]);
          changing.close();
        }
  });

  test('also what is what it was again when it has been left out', async () => {
    const changing = makeTmpfs({}, C.MOUNT_ATTR_NODEV);
    const path = `${changing.path}/f`;
    writeFileSync(path, '');
    let hasNames = false;
    const replacing: PackOptions['runner'] = {
      ...plainRunner,
      packPlain: leaveAll,
      readNames: (...given) => {
        hasNames = true;
        return runner.readNames(...given);
      },
      run: (...given) => {
        if (!hasNames) return runner.run(...given);
        hasNames = false;
        unlinkSync(path);
        makeNode(path, 'S_IFCHR');
        const outcome = runner.run(...given);
        unlinkSync(path);
        writeFileSync(path, '');
        return outcome;
      },
    };
    expect(list(await packed(changing, { runner: replacing }))).toEqual(['./']);
    expect(warnings).toEqual(['changed: ./f: it became something else while it was read; it is left out']);
    changing.close();
  });

  test('a directory that is removed when it is open already is an empty one, with a warning', async () => {
    mkdirSync(at('d/e'), { recursive: true });
    writeFileSync(at('z'), '');
    let directories = 0;
    const removing: PackOptions['runner'] = {
      ...plainRunner,
      packPlain: leaveAll,
      readNames: (...given) => {
        directories++;
        if (directories === 3) rmSync(at('d'), { recursive: true });
        return runner.readNames(...given);
      },
    };
    expect(list(await packed(upper, { runner: removing }))).toEqual(['./', './d/', './d/e/', './z']);
    expect(warnings).toEqual(['changed: ./d/e/: it went away while it was read; it is written as an empty directory']);
  });

  test('a full filesystem is NO_SPACE, a closed pipe an error, and no fd stays open', async () => {
    makeEverything();
    unlinkSync(at('sparse'));
    const small = makeTmpfs({ size: '64k' });
    const outFd = openSync(`${small.path}/o`, 'w');
    await expect(pack({ runner, upperFd: upper.fd, outFd })).rejects.toMatchObject({ code: 'NO_SPACE', message: 'writing the archive: ENOSPC, the filesystem is full' }); // prettier-ignore
    closeSync(outFd);
    small.close();
    execFileSync('mkfifo', [join(dir, 'fifo')]);
    const reader = openSync(join(dir, 'fifo'), constants.O_RDONLY | constants.O_NONBLOCK);
    const writer = openSync(join(dir, 'fifo'), 'w');
    closeSync(reader);
    await expect(pack({ runner, upperFd: upper.fd, outFd: writer })).rejects.toMatchObject({
      code: 'SYSCALL_FAILED',
      details: { errno: 'EPIPE' },
    });
    closeSync(writer);
  });

  test('a signal ends it', async () => {
    const cwd = process.cwd();
    for (let i = 0; i < 300; i++) mkdirSync(at(`d${i}/e`), { recursive: true });
    const slow: Partial<PackOptions> = { signal: AbortSignal.abort(new Error('enough')) };
    for (let i = 0; i < 300; i++) makeNode(at(`d${i}/s`), 'S_IFSOCK');
    const until = performance.now();
    const busy: OnWarning = () => {
      while (performance.now() - until < 25);
    };
    await expect(packed(upper, { ...slow, onWarning: busy })).rejects.toThrow('enough');
    expect(process.cwd()).toBe(cwd);
  });
});

describe('headers that the addon writes', () => {
  const plainHeaders = new PlainHeaders(runner);
  const entry = { name: byteStringOf('./a/b'), type: '0' as const, mode: 0o644, uid: 0, gid: 0, mtime: { seconds: 1700000000, nanoseconds: 0 } }; // prettier-ignore
  const fields: Partial<OutEntry>[] = [
    {},
    { mtime: { seconds: 1700000000, nanoseconds: 120 } },
    { name: byteStringOf(`./${'n'.repeat(80)}`), mtime: { seconds: 1, nanoseconds: 999999999 } },
    { name: byteStringOf('./a/'), type: '5', mode: 0o1777, mtime: { seconds: 0, nanoseconds: 500000000 } },
    { name: byteStringOf('./'), type: '5', mtime: { seconds: 8 ** 11 - 1, nanoseconds: 1 } },
    { uid: 0o7777777, gid: 1, stored: 8 ** 11 - 1 },
    { name: byteStringOf('./x'), type: '6', mode: 0 },
    { name: byteStringOf(`./${'d'.repeat(40)}/${'n'.repeat(44)}`), mtime: { seconds: 12345, nanoseconds: 10 } },
  ];

  test('are what they are otherwise, whatever came before', () => {
    for (const first of fields) {
      for (const second of fields) {
        for (const one of [first, second]) {
          const plain = plainHeaders.encode({ ...entry, ...one });
          expect(plain && Buffer.from(plain)).toEqual(Buffer.from(encodeHeaders({ ...entry, ...one })));
        }
      }
    }
  });

  test('are none of entries that need more', () => {
    const more: Partial<OutEntry>[] = [{ uid: 0o10000000 }, { name: byteStringOf('./é') }, { name: byteStringOf(`./${'n'.repeat(99)}`) }, { linkname: byteStringOf('x') }, { mtime: { seconds: -1, nanoseconds: 0 } }, { stored: 8 ** 11 }, { minor: 3 }, { realSize: 1 }]; // prettier-ignore
    for (const one of more) expect(plainHeaders.encode({ ...entry, ...one })).toBeUndefined();
  });
});
