import {
  chmodSync,
  chownSync,
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { loadNative } from '../../../native';
import type { ArchiveWarning, OnWarning } from '../entry';
import { base256, archive, entry, header, pax } from '../testing/tar-bytes';
import { withFile } from '../testing/archive-file';
import { isRoot, look, makeTmpfs, setXattr, type Seen, type Upper } from '../testing/upper';
import { unpack, type UnpackOptions } from './index';
import { performPrivileged, type PrivilegedRequest } from './privileged';

const runner = loadNative();
const latin = (text: string): Buffer => Buffer.from(text, 'latin1');
const dir = (name: string, mode = '0000755\0'): Buffer => entry({ name, type: '5', mode });
const file = (name: string, contents = ''): Buffer => entry({ name }, contents);
const symlink = (name: string, linkname: string): Buffer => entry({ name, type: '2', linkname });
const link = (name: string, linkname: string): Buffer => entry({ name, type: '1', linkname });
const whiteout = (name: string): Buffer => entry({ name, type: '3', mode: '0000000\0' });

(isRoot() ? describe : describe.skip)('unpack', () => {
  let upper: Upper;
  let warnings: (ArchiveWarning & { message: string })[];
  let requests: PrivilegedRequest[];
  let openFds: string[];

  beforeEach(() => {
    openFds = readdirSync('/proc/self/fd');
    upper = makeTmpfs();
    warnings = [];
    requests = [];
  });
  afterEach(() => {
    upper.close();
    // Fewer is fine: jest closes files of its own when it likes.
    expect(readdirSync('/proc/self/fd').filter((fd) => !openFds.includes(fd))).toEqual([]);
  });

  function load(data: Buffer, options: Partial<UnpackOptions> = {}): Promise<unknown> {
    const privileged = (request: PrivilegedRequest): void => {
      requests.push({ ...request, dirFd: -1 });
      performPrivileged(runner, request);
    };
    const onWarning: OnWarning = (message, warning) => void warnings.push({ message, ...warning });
    return withFile(data, (archiveFd) =>
      unpack({ runner, archiveFd, upperFd: upper.fd, privileged, onWarning, ...options }),
    );
  }
  async function loaded(...parts: Buffer[]): Promise<Record<string, Seen>> {
    await load(archive(...parts));
    return look(upper.path);
  }
  const names = (tree: Record<string, Seen>): string[] => Object.keys(tree);

  test('every kind of entry with its metadata', async () => {
    const tree = await loaded(
      entry({ name: './', type: '5', mode: '0000711\0', mtime: '00000000100\0' }),
      entry({ name: './d/', type: '5', mode: '0001777\0', uid: '0000001\0', gid: '0000002\0', mtime: '00000000200\0' }),
      entry(
        {
          name: './d/f',
          mode: '0004755\0',
          uid: base256(4294967294n, 8),
          gid: base256(70000n, 8),
          mtime: '00000000300\0',
        },
        'hello',
      ),
      entry({ name: './d/l', type: '2', linkname: '../\xff', uid: '0000003\0', mtime: '00000000400\0' }),
      entry({ name: './d/p', type: '6', mode: '0000640\0', gid: '0000004\0', mtime: '00000000500\0' }),
      entry({ name: './d/w', type: '3', mode: '0000000\0', mtime: '00000000600\0' }),
      link('./d/w2', './d/w'),
      link('./h', './d/f'),
    );
    expect(tree).toEqual({
      '.': { type: 'dir', mode: '711', owner: '0:0', mtime: '64.000000000', links: 3 },
      // What has whiteouts is marked, for an overlay that merges it with nothing.
      d: {
        type: 'dir',
        mode: '1777',
        owner: '1:2',
        mtime: '128.000000000',
        links: 2,
        xattrs: { 'trusted.overlay.origin': '' },
      },
      'd/f': {
        type: 'file',
        mode: '4755',
        owner: '4294967294:70000',
        mtime: '192.000000000',
        links: 2,
        size: 5,
        blocks: 8,
        contents: 'hello',
      },
      'd/l': { type: 'link', mode: '777', owner: '3:0', mtime: '256.000000000', links: 1, target: '../\xff' },
      'd/p': { type: 'fifo', mode: '640', owner: '0:4', mtime: '320.000000000', links: 1 },
      'd/w': { type: 'char', mode: '0', owner: '0:0', mtime: '384.000000000', links: 2, device: '0:0' },
      'd/w2': { type: 'char', mode: '0', owner: '0:0', mtime: '384.000000000', links: 2, device: '0:0' },
      h: {
        type: 'file',
        mode: '4755',
        owner: '4294967294:70000',
        mtime: '192.000000000',
        links: 2,
        size: 5,
        blocks: 8,
        contents: 'hello',
      },
    });
    expect(warnings).toEqual([]);
  });

  test('nanoseconds, times before 1970 and beyond 2242', async () => {
    const tree = await loaded(
      pax([['mtime', '1700000000.123456789']]), file('a'),
      pax([['mtime', '-1.5']]), file('b'),
      entry({ name: 'c', mtime: base256(-2n, 12) }),
      entry({ name: 'd', mtime: base256(10000000000n, 12) }),
    ); // prettier-ignore
    expect(['a', 'b', 'c', 'd'].map((name) => tree[name]!.mtime)).toEqual([
      '1700000000.123456789',
      '-2.500000000',
      '-2.000000000',
      '10000000000.000000000',
    ]);
  });

  test('names that are not UTF-8, as long as they can be, and paths beyond 4096 bytes', async () => {
    const components = Array.from({ length: 21 }, (_, i) => latin(`${String.fromCharCode(97 + i).repeat(254)}\xfe`));
    const long = components.map((name) => name.toString('latin1')).join('/');
    const other = `${long.slice(0, -1)}\xfd`;
    expect(long.length).toBeGreaterThan(5000);
    await load(
      archive(
        pax([['path', latin(`./${long}`)]]),
        file('short', 'deep'),
        pax([['path', latin(other)]]),
        file('s', 'too'),
      ),
    );
    // No path of this length can be given to the kernel: one directory after the other.
    let at = openSync(upper.path, 'r');
    for (const name of components.slice(0, -1)) {
      const next = openSync(Buffer.concat([latin(`/proc/self/fd/${at}/`), name]), 'r');
      closeSync(at);
      at = next;
    }
    const read = (name: string): string => readFileSync(latin(`/proc/self/fd/${at}/${name}`), 'latin1');
    expect([long, other].map((path) => read(path.slice(-255)))).toEqual(['deep', 'too']);
    closeSync(at);
  });

  test('few calls wait at one time when the names of their entries are long', async () => {
    let batches = 0;
    const counted: typeof runner = {
      ...runner,
      start: (...args) => {
        batches++;
        return runner.start(...args);
      },
    };
    const path = Array.from({ length: 250 }, () => 'd'.repeat(200)).join('/');
    const fifos = Array.from({ length: 100 }, (_, i) => [
      pax([['path', `${path}/${i}`]]),
      entry({ name: 'p', type: '6' }),
    ]);
    await load(archive(...fifos.flat()), { runner: counted });
    expect(batches).toBeGreaterThan(3);
  });

  test('parents that are missing or come later, and names without ./', async () => {
    const tree = await loaded(
      file('a/b/c', 'x'),
      entry({ name: 'a/', type: '5', mode: '0000500\0', mtime: '00000000100\0' }),
      file('a/z'),
    );
    expect(tree['a']).toMatchObject({ mode: '500', mtime: '64.000000000' });
    expect(tree['a/b']).toMatchObject({ type: 'dir', mode: '755', owner: '0:0' });
    expect(names(tree)).toEqual(['.', 'a', 'a/b', 'a/b/c', 'a/z']);
  });

  test('a directory keeps its time although entries come back to it long after', async () => {
    const others = Array.from({ length: 200 }, (_, i) => [dir(`o${i}/`), file(`o${i}/f`)]).flat();
    const first = entry({ name: 'd/', type: '5', mode: '0000750\0', mtime: '00000000100\0' });
    const tree = await loaded(
      entry({ name: './', type: '5', mtime: '00000000050\0' }),
      first,
      file('d/1'),
      ...others,
      file('d/2'),
      file('o0/2'),
    );
    expect(tree['d']).toMatchObject({ mode: '750', mtime: '64.000000000' });
    expect(tree['.']).toMatchObject({ mtime: '40.000000000' });
    expect(tree['o0']!.mtime).toBe(tree['o1']!.mtime);
    expect(names(tree)).toEqual(expect.arrayContaining(['d/1', 'd/2', 'o199/f', 'o0/2']));
  });

  describe('hard links', () => {
    test('before their target, and before each other', async () => {
      const tree = await loaded(
        link('c', 'b'),
        link('x/b2', 'x/y/z'),
        link('b', 'a'),
        file('a', 'A'),
        file('x/y/z', 'Z'),
      );
      expect(['a', 'b', 'c', 'x/b2', 'x/y/z'].map((name) => [tree[name]!.contents, tree[name]!.links])).toEqual([
        ['A', 3], ['A', 3], ['A', 3], ['Z', 2], ['Z', 2],
      ]); // prettier-ignore
    });

    test('share the file that had the name at that time', async () => {
      const tree = await loaded(file('a', 'one'), link('b', 'a'), file('a', 'two'));
      expect([tree['a']!.contents, tree['b']!.contents]).toEqual(['two', 'one']);
    });

    test('replace what has their name, but not when it came later', async () => {
      const tree = await loaded(file('a', 'A'), file('b', 'old'), dir('d/'), file('d/x'), link('b', 'a'), link('d', 'a'), link('e', 'late'), file('e', 'mine'), link('f', 'late'), file('late', 'L')); // prettier-ignore
      expect(['b', 'd', 'e', 'f'].map((name) => tree[name]!.contents)).toEqual(['A', 'A', 'mine', 'L']);
    });

    test('to themselves and twice', async () => {
      const tree = await loaded(file('a', 'A'), link('a', 'a'), link('b', 'a'), link('b', 'a'));
      expect([tree['a'], tree['b']]).toMatchObject([{ contents: 'A', links: 2 }, { links: 2 }]);
    });

    test('of symbolic links, fifos and across directories', async () => {
      const tree = await loaded(
        symlink('s', 'nowhere'),
        link('d/s', 's'),
        entry({ name: 'p', type: '6' }),
        link('d/p', './p'),
      );
      expect([tree['d/s'], tree['d/p']]).toMatchObject([
        { type: 'link', links: 2 },
        { type: 'fifo', links: 2 },
      ]);
    });

    test.each([
      [
        'whose target never comes',
        [link('a', 'nothing')],
        /"a" at byte 0: the target of the hard link, "nothing", is not in the archive/,
      ],
      ['in a circle', [link('a', 'b'), link('b', 'a')], /the target of the hard link/],
      ['to itself alone', [link('a', 'a')], /the target of the hard link, "a", is not/],
      ['to a directory', [dir('d/'), link('a', 'd')], /"a" at byte 512: it is a hard link to a directory/],
      [
        'through a symbolic link',
        [symlink('s', '/etc'), link('a', 's/passwd')],
        /"a" at byte 512: looking for the target of the hard link: ELOOP/,
      ],
      ['to an absolute name', [link('a', '/etc/passwd')], /the hard link's target is refused: its name is absolute/],
      ['to a name outside', [link('a', '../x')], /the hard link's target is refused: its name has a ".." component/],
      [
        'whose target is below its own name',
        [file('a/t'), link('a', 'a/t')],
        /"a" at byte 512: it is a hard link to something in the directory that it replaces/,
      ],
    ])('%s are refused', async (_, parts, message) => {
      await expect(load(archive(...parts))).rejects.toMatchObject({
        code: 'ARCHIVE_INVALID',
        message: expect.stringMatching(message) as string,
      });
    });
  });

  describe('entries given twice', () => {
    test('the last file counts, with its kind', async () => {
      const tree = await loaded(
        file('a', 'one'), file('a', 'two'),
        file('b'), symlink('b', 'a'),
        symlink('c', 'a'), file('c', 'through?'),
        file('d'), dir('d/'), file('d/x', 'X'),
        dir('e/'), file('e/x'), dir('e/y/'), file('e/y/z'), file('e', 'flat'),
        whiteout('f'), file('f', 'back'),
        file('g'), whiteout('g'),
        symlink('h', 'a'), dir('h/'), file('h/i'),
        entry({ name: 'i', type: '6' }), file('i', 'I'),
      ); // prettier-ignore
      const shown = Object.fromEntries(
        Object.entries(tree).map(([name, { type, contents, target }]) => [name, contents ?? target ?? type]),
      );
      expect(shown).toEqual({
        '.': 'dir', a: 'two', b: 'a', c: 'through?', d: 'dir', 'd/x': 'X', e: 'flat', f: 'back', g: 'char', h: 'dir', 'h/i': '', i: 'I',
      }); // prettier-ignore
      expect(tree['a']).toMatchObject({ contents: 'two' });
    });

    test('a directory given twice merges', async () => {
      const again = entry({ name: 'd/', type: '5', mode: '0000700\0', uid: '0000007\0', mtime: '00000000100\0' });
      const tree = await loaded(
        pax([['SCHILY.xattr.user.a', '1']]),
        dir('d/'),
        file('d/x'),
        pax([['SCHILY.xattr.user.b', '2']]),
        again,
      );
      expect(tree['d']).toEqual({
        type: 'dir',
        mode: '700',
        owner: '7:0',
        mtime: '64.000000000',
        links: 2,
        xattrs: { 'user.a': '31', 'user.b': '32' },
      });
      expect(tree).toHaveProperty(['d/x']);
    });

    test('a directory that becomes a file and a directory again', async () => {
      const parts = [dir('d/'), file('d/x/old'), file('d', 'F'), dir('d/'), file('d/new')];
      expect(names(await loaded(...parts))).toEqual(['.', 'd', 'd/new']);
    });

    test('the same with more directories in between than are kept open', async () => {
      const many = (prefix: string): Buffer[] => Array.from({ length: 100 }, (_, i) => dir(`${prefix}${i}/`));
      const parts = [dir('d/'), file('d/x/old'), ...many('m'), file('d', 'F'), ...many('n'), dir('d/'), file('d/new')];
      expect(names(await loaded(...parts)).filter((name) => name.startsWith('d'))).toEqual(['d', 'd/new']);
    });

    test('a tree that is deep and wide goes when a file takes its place', async () => {
      const deep = `t/${'d/'.repeat(300)}f`;
      const wide = Array.from({ length: 3000 }, (_, i) => file(`t/w/${i}`));
      const empty = Array.from({ length: 300 }, (_, i) => dir(`t/e/${i}/`));
      expect(names(await loaded(pax([['path', deep]]), file('x'), ...wide, ...empty, file('t')))).toEqual(['.', 't']);
    });

    test('what was in the upper before counts as given before', async () => {
      mkdirSync(`${upper.path}/d/e`, { recursive: true });
      writeFileSync(`${upper.path}/f`, 'old');
      expect(names(await loaded(file('f', 'new'), file('d/e')))).toEqual(['.', 'd', 'd/e', 'f']);
      expect(readFileSync(`${upper.path}/f`, 'utf8')).toBe('new');
    });
  });

  describe('extended attributes', () => {
    const acl = 'AgAAAAEABgD/////AgAGAKCGAQAEAAQA/////xAABgD/////IAAEAP////8';
    const aclHex = Buffer.from(acl, 'base64').toString('hex');

    test('of files: binary, empty, large, odd names, capabilities and ACLs', async () => {
      const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
      const tree = await loaded(
        pax([
          ['SCHILY.xattr.user.bin', latin('\0\n=\xff')],
          ['SCHILY.xattr.user.none', ''],
          ['SCHILY.xattr.user.big', Buffer.alloc(60000, 0x61)],
          ['SCHILY.xattr.user.a%3Db', 'odd'],
          ['SCHILY.xattr.security.capability', capability],
          ['SCHILY.xattr.system.posix_acl_access', acl],
        ]),
        entry({ name: 'f', mode: '0004664\0', uid: '0000144\0' }, 'body'),
      );
      expect(tree['f']).toMatchObject({ mode: '4664', owner: '100:0', contents: 'body' });
      expect(tree['f']!.xattrs).toEqual({
        'security.capability': capability.toString('hex'),
        'system.posix_acl_access': aclHex,
        'user.a=b': '6f6464',
        'user.big': '61'.repeat(60000),
        'user.bin': '000a3dff',
        'user.none': '',
      });
      expect(warnings).toEqual([]);
    });

    test('a set-gid directory that is there already does not give its group to what is made in it, and stays one', async () => {
      mkdirSync(`${upper.path}/shared`);
      chownSync(`${upper.path}/shared`, 5, 6);
      chmodSync(`${upper.path}/shared`, 0o2775);
      const umask = process.umask(0o77);
      const tree = await loaded(file('shared/f'), file('shared/new/g'));
      expect(process.umask(umask)).toBe(0o77);
      expect(tree['shared']).toMatchObject({ mode: '2775', owner: '5:6' });
      for (const path of ['shared/f', 'shared/new', 'shared/new/g']) expect(tree[path]!.owner).toBe('0:0');
      expect(tree['shared/f']!.mode).toBe('644');
    });

    test('a default ACL does not reach the entries of its directory', async () => {
      const tree = await loaded(
        pax([['SCHILY.xattr.system.posix_acl_default', acl]]),
        dir('d/'),
        file('d/f'),
        dir('d/s/'),
        file('d/s/f'),
      );
      expect(tree['d']!.xattrs).toEqual({ 'system.posix_acl_default': aclHex });
      expect([tree['d/f']!.xattrs, tree['d/s']!.xattrs, tree['d/s/f']!.xattrs]).toEqual([
        undefined,
        undefined,
        undefined,
      ]);
    });

    test('not even when the directory has it from before, or was closed in between', async () => {
      setXattr(`${upper.path}/.`, 'system.posix_acl_default', Buffer.from(acl, 'base64'));
      mkdirSync(`${upper.path}/d`);
      const many = Array.from({ length: 100 }, (_, i) => dir(`m${i}/`));
      const tree = await loaded(dir('d/'), file('d/f'), ...many, file('d/g'), file('h'));
      expect(tree['.']!.xattrs).toEqual({ 'system.posix_acl_default': aclHex });
      expect(tree['d']!.xattrs).toHaveProperty(['system.posix_acl_default'], aclHex);
      expect([tree['d/f']!.xattrs, tree['d/g']!.xattrs, tree['h']!.xattrs, tree['m7']!.xattrs]).toEqual(
        Array(4).fill(undefined),
      );
    });

    test('what a directory had does not come back to another one in its place', async () => {
      mkdirSync(`${upper.path}/d/e`, { recursive: true });
      for (const path of ['d', 'd/e']) setXattr(`${upper.path}/${path}`, 'system.posix_acl_default', Buffer.from(acl, 'base64')); // prettier-ignore
      const many = (name: string): Buffer[] => Array.from({ length: 70 }, (_, i) => dir(`${name}${i}/`));
      const tree = await loaded(dir('d/'), dir('d/e/'), ...many('m'), file('d'), dir('d/'), dir('d/e/'), ...many('n'));
      expect([tree['d']!.xattrs, tree['d/e']!.xattrs]).toEqual([undefined, undefined]);
    });

    test('what many directories with long names had comes back to them', async () => {
      const paths = Array.from({ length: 2000 }, (_, i) => `${'p'.repeat(250)}/${'q'.repeat(250)}/${i}`);
      for (const path of paths) {
        mkdirSync(`${upper.path}/${path}`, { recursive: true });
        setXattr(`${upper.path}/${path}`, 'system.posix_acl_default', Buffer.from(acl, 'base64'));
      }
      const entries = paths.map((path) => [pax([['path', path]]), dir('d/')]);
      const tree = await loaded(
        ...entries.flat(),
        ...paths.map((path) => [pax([['path', `${path}/f`]]), file('f')]).flat(),
      );
      for (const path of paths) {
        expect(tree[path]!.xattrs).toEqual({ 'system.posix_acl_default': aclHex });
        expect(tree[`${path}/f`]!.xattrs).toBeUndefined();
      }
    });

    test('an opaque directory that something else replaces takes its mark along', async () => {
      const opaque = pax([['SCHILY.xattr.trusted.overlay.opaque', 'y']]);
      const tree = await loaded(opaque, dir('a/'), symlink('a', 'q'), dir('etc/'), file('etc/passwd'), opaque, dir('b/'), file('b'), opaque, dir('b/')); // prettier-ignore
      expect(names(tree).filter((path) => tree[path]!.xattrs !== undefined)).toEqual(['b']);
      expect(requests).toHaveLength(1);
    });

    test('opaque marks are asked for by fd, other trusted attributes are dropped', async () => {
      const opaque = pax([['SCHILY.xattr.trusted.overlay.opaque', 'y'], ['SCHILY.xattr.trusted.overlay.redirect', '/etc'], ['SCHILY.xattr.trusted.x', '1']]); // prettier-ignore
      const many = Array.from({ length: 150 }, (_, i) => [
        pax([['SCHILY.xattr.trusted.overlay.opaque', 'y']]),
        dir(`m${i}/`),
        file(`m${i}/f`),
      ]);
      const tree = await loaded(opaque, dir('d/'), file('d/f'), ...many.flat());
      expect(tree['d']!.xattrs).toEqual({ 'trusted.overlay.opaque': '79' });
      expect(Object.values(tree).filter(({ xattrs }) => xattrs?.['trusted.overlay.opaque'] === '79')).toHaveLength(151);
      expect(requests).toHaveLength(151);
      expect(warnings.map(({ kind, name, message }) => [kind, name, message])).toEqual([
        [
          'xattr-dropped',
          'd/',
          'd/: the extended attribute "trusted.overlay.redirect" is left out: only the host may set trusted attributes',
        ],
        [
          'xattr-dropped',
          'd/',
          'd/: the extended attribute "trusted.x" is left out: only the host may set trusted attributes',
        ],
      ]);
    });

    test('what this kind of file cannot have is told and left out', async () => {
      const tree = await loaded(pax([['SCHILY.xattr.user.a', '1'], ['SCHILY.xattr.security.x', 'kept']]), symlink('s', 't'), pax([['SCHILY.xattr.nonsense.a', '1']]), file('f')); // prettier-ignore
      expect(tree['s']!.xattrs).toEqual({ 'security.x': '6b657074' });
      expect(warnings.map(({ message }) => message)).toEqual([
        's: the extended attribute "user.a" is left out: setting it failed with EPERM',
        'f: the extended attribute "nonsense.a" is left out: setting it failed with EOPNOTSUPP',
      ]);
      expect(process.cwd()).not.toContain('/fd/');
    });

    test('more attributes than a batch holds', async () => {
      const records = Array.from({ length: 60 }, (_, i): [string, Buffer] => [
        `SCHILY.xattr.security.x${i}`,
        Buffer.alloc(60000, i),
      ]);
      const tree = await loaded(pax(records), file('f', 'F'), pax(records), dir('d/'), file('d/g'));
      expect(Object.keys(tree['f']!.xattrs!)).toHaveLength(60);
      expect(Object.keys(tree['d']!.xattrs!)).toHaveLength(60);
      expect(tree['f']).toMatchObject({ contents: 'F' });
    });
  });

  describe('contents', () => {
    const random = Buffer.from(Array.from({ length: 410_000 }, (_, i) => (i * 2654435761) >>> 24));

    test.each([0, 1, 511, 512, 513, 65536, 65537, 300_000])('of %i bytes', async (size) => {
      const data = random.subarray(0, size);
      await load(archive(entry({ name: 'f' }, data), file('g', 'next')));
      expect(readFileSync(`${upper.path}/f`).equals(data)).toBe(true);
      expect(readFileSync(`${upper.path}/g`, 'utf8')).toBe('next');
    });

    test('thousands of small files over many batches', async () => {
      const list = Array.from({ length: 5000 }, (_, i) => `${i}`.repeat(i % 400));
      await load(archive(...list.map((contents, i) => file(`d${i % 7}/f${i}`, contents))));
      list.forEach((contents, i) => expect(readFileSync(`${upper.path}/d${i % 7}/f${i}`, 'utf8')).toBe(contents));
    });

    test('sparse files keep their holes, small and large', async () => {
      const map = '3\n0\n4\n1048576\n4\n2097152\n0\n';
      const records = (name: string): Buffer => pax([['GNU.sparse.major', '1'], ['GNU.sparse.minor', '0'], ['GNU.sparse.name', name], ['GNU.sparse.realsize', '2097152']]); // prettier-ignore
      const stored = Buffer.concat([latin(map), Buffer.alloc(512 - map.length), latin('headtail')]);
      const runs = Array.from({ length: 100 }, (_, i) => `${i * 65536}\n4096\n`).join('');
      const bigMap = Buffer.from(`100\n${runs}`);
      const big = Buffer.concat([
        bigMap,
        Buffer.alloc(512 * Math.ceil(bigMap.length / 512) - bigMap.length),
        random.subarray(0, 100 * 4096).fill(7),
      ]);
      const bigRecords = pax([['GNU.sparse.major', '1'], ['GNU.sparse.minor', '0'], ['GNU.sparse.name', 'big'], ['GNU.sparse.realsize', '9000000000']]); // prettier-ignore
      await load(
        archive(
          records('s'),
          entry({ name: 'GNUSparseFile.0/s' }, stored),
          bigRecords,
          entry({ name: 'x' }, big),
          file('n', 'next'),
        ),
      );
      const tree = look(upper.path);
      expect(names(tree)).toEqual(['.', 'big', 'n', 's']);
      expect(tree['s']).toMatchObject({ size: 2097152, blocks: 16 });
      expect(tree['big']).toMatchObject({ size: 9000000000, blocks: 800 });
      const body = readFileSync(`${upper.path}/s`);
      expect([body.toString('latin1', 0, 5), body.toString('latin1', 1048576, 1048581)]).toEqual(['head\0', 'tail\0']);
    });
  });

  describe('devices', () => {
    const device = entry({
      name: 'n',
      type: '3',
      devmajor: '0000001\0',
      devminor: '0000003\0',
      mode: '0000666\0',
      uid: '0000005\0',
    });

    test('are refused unless the caller allows them', async () => {
      await expect(load(archive(device))).rejects.toMatchObject({
        code: 'ARCHIVE_INVALID',
        message: 'archive entry "n" at byte 0: it is the char device 1:3, which a container may not bring along',
      });
      await expect(load(archive(entry({ name: 'b', type: '4' })))).rejects.toMatchObject({ code: 'ARCHIVE_INVALID' });
      expect(requests).toEqual([]);
    });

    test('are asked for when allowed', async () => {
      const allowDevice: UnpackOptions['allowDevice'] = ({ type, major, minor }) =>
        type === 'char' && major === 1 && minor === 3;
      await load(archive(file('n'), device), { allowDevice });
      expect(look(upper.path)['n']).toMatchObject({ type: 'char', device: '1:3', mode: '666', owner: '5:0' });
      expect(requests).toMatchObject([{ kind: 'device', name: latin('n'), type: 'char', major: 1, minor: 3 }]);
    });
  });

  describe('what would leave the root', () => {
    test.each([
      ['an absolute name', [file('/etc/passwd')], 0, 'its name is absolute'],
      ['a .. component', [dir('d/'), file('d/../../x')], 512, 'its name has a ".." component'],
      [
        'a name through a symbolic link of the archive',
        [symlink('s', '/etc'), file('s/x')],
        512,
        'ELOOP, its name leads through a symbolic link',
      ],
      ['one through a link to inside', [dir('d/'), symlink('s', 'd'), file('s/x')], 1024, 'ELOOP'],
      ['a directory through a symbolic link', [symlink('s', '/'), dir('s/x/')], 512, 'ELOOP'],
      ['one through a symbolic link further up', [symlink('s', '/'), file('s/a/b/c')], 512, 'ELOOP'],
      [
        'a name through a file',
        [file('f'), file('f/x')],
        512,
        'ENOTDIR, its name leads through something that is not a directory',
      ],
      ['a name through a whiteout', [whiteout('f'), file('f/x')], 512, 'ENOTDIR'],
      ['the root as a file', [file('.', 'x')], 0, 'it would replace the root directory by a file'],
    ])('%s is refused', async (_, parts, offset, message) => {
      const promise = load(archive(...parts));
      await expect(promise).rejects.toMatchObject({
        code: 'ARCHIVE_INVALID',
        details: { offset },
        message: expect.stringContaining(message) as string,
      });
    });

    test('symbolic links that were in the upper before are not followed either', async () => {
      symlinkSync('/etc', `${upper.path}/s`);
      await expect(load(archive(file('s/x')))).rejects.toMatchObject({
        code: 'ARCHIVE_INVALID',
        details: { path: 's/x' },
      });
      await load(archive(file('s', 'mine')));
      expect(look(upper.path)['s']).toMatchObject({ type: 'file', contents: 'mine' });
    });
  });

  test('a full filesystem is NO_SPACE, with the entry', async () => {
    const small = makeTmpfs({ size: '64k' });
    const parts = Array.from({ length: 40 }, (_, i) => entry({ name: `f${i}` }, Buffer.alloc(4096, 1)));
    await expect(load(archive(...parts), { upperFd: small.fd })).rejects.toMatchObject({
      code: 'NO_SPACE',
      message: expect.stringMatching(
        /^archive entry "f\d+" at byte \d+: writing its contents: ENOSPC, the filesystem is full/,
      ) as string,
    });
    const large = archive(entry({ name: 'f' }, Buffer.alloc(200_000, 1)));
    await expect(load(large, { upperFd: small.fd })).rejects.toMatchObject({
      code: 'NO_SPACE',
      details: { path: 'f', offset: 0 },
    });
    small.close();
    const inodes = makeTmpfs({ nr_inodes: '3' });
    await expect(load(archive(file('a'), file('b'), dir('c/')), { upperFd: inodes.fd })).rejects.toMatchObject({
      code: 'NO_SPACE',
    });
    inodes.close();
  });

  test('a signal ends it', async () => {
    const parts = Array.from({ length: 3000 }, (_, i) => entry({ name: `f${i}` }, 'x'.repeat(1000)));
    await expect(load(archive(...parts), { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
  });

  test('an error of the privileged side is handed on', async () => {
    const privileged = (): Promise<void> => Promise.reject(new Error('no'));
    await expect(
      load(archive(pax([['SCHILY.xattr.trusted.overlay.opaque', 'y']]), dir('d/')), { privileged }),
    ).rejects.toThrow('no');
  });

  test('an archive that is cut anywhere fails and leaves no fd open', async () => {
    const whole = archive(
      dir('d/'),
      pax([['mtime', '1.5']]),
      file('d/f', 'x'.repeat(600)),
      file('g', 'y'.repeat(70_000)),
    );
    for (const cut of [0, 1, 511, 512, 700, 1024, 1536, 2000, 2600, 3000, 40_000, whole.length - 1024]) {
      await expect(load(whole.subarray(0, cut))).rejects.toMatchObject({ code: 'ARCHIVE_TRUNCATED' });
    }
    await load(whole.subarray(0, whole.length - 512));
    expect(warnings).toEqual([
      { kind: 'end-missing', name: '', message: 'the archive ends with one block of zeros instead of two' },
    ]);
  });

  test('a header of 1 TiB in a short archive makes nothing', async () => {
    const fields = { name: 'huge', size: base256(1n << 40n, 12) };
    await expect(load(Buffer.concat([header(fields), Buffer.alloc(4096)]))).rejects.toMatchObject({
      code: 'ARCHIVE_TRUNCATED',
      message:
        'archive entry "huge" at byte 0: its contents have 1099511627776 bytes from byte 512 on, but the archive ends at byte 4608',
    });
    expect(names(look(upper.path))).toEqual(['.']);
  });

  test('the archive’s fd and the upper’s stay open', async () => {
    await withFile(archive(file('f')), async (archiveFd) => {
      await unpack({ runner, archiveFd, upperFd: upper.fd, privileged: () => undefined });
      expect([fstatSync(archiveFd).size, fstatSync(upper.fd).isDirectory()]).toEqual([1536, true]);
    });
    expect(names(look(upper.path))).toEqual(['.', 'f']);
  });
});
