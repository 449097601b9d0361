import { loadNative, openInterpreter } from '../../native';
import { Kernel } from '../../syscall';
import { performPrivileged, unpack } from '../archive';
import { withFile } from '../archive/testing/archive-file';
import { archive, entry, pax } from '../archive/testing/tar-bytes';
import { isRoot, look, makeTmpfs, type Seen, type Upper } from '../archive/testing/upper';
import { NO_CGROUP } from '../programs/cgroup-entry';
import { makeSmall } from './small';

const native = loadNative();
const kernel = new Kernel(native, openInterpreter(undefined, native));
const ALL = [{ containerID: 0, hostID: 0, size: 0xffff_ffff }];
const dir = (name: string, fields = {}): Buffer => entry({ name, type: '5', mode: '0000755\0', ...fields });
const whiteout = (name: string): Buffer => entry({ name, type: '3', mode: '0000000\0' });
const link = (name: string, linkname: string): Buffer => entry({ name, type: '1', linkname });

const PLAIN = [
  dir('./', { mode: '0000711\0', mtime: '00000000100\0' }),
  dir('./d/', { mode: '0001777\0', uid: '0000001\0', gid: '0000002\0', mtime: '00000000200\0' }),
  entry({ name: './d/f', mode: '0004755\0', uid: '0000003\0', mtime: '00000000300\0' }, 'hello'),
  entry({ name: './d/empty', mode: '0000600\0' }),
  entry({ name: './d/l', type: '2', linkname: '../\xff', uid: '0000003\0', mtime: '00000000400\0' }),
  dir('./d/inner/', { mode: '0000500\0' }),
  entry({ name: './d/inner/\xfe' }, Buffer.alloc(60_000, 'x')),
  whiteout('./gone'),
];

(isRoot() ? describe : describe.skip)('a small archive', () => {
  let upper: Upper;
  beforeEach(() => (upper = makeTmpfs()));
  afterEach(() => upper.close());

  const small = (data: Buffer, target = upper, ids = ALL): Promise<boolean> =>
    withFile(data, (file) =>
      makeSmall(kernel, { archive: file, directory: target.fd, idMaps: { uids: ids, gids: ids }, cgroup: NO_CGROUP }),
    );

  test('becomes what the unpacker makes of it', async () => {
    const other = makeTmpfs();
    try {
      expect(await small(archive(...PLAIN))).toBe(true);
      const privileged = (request: Parameters<typeof performPrivileged>[1]): void => performPrivileged(native, request);
      await withFile(archive(...PLAIN), (archiveFd) =>
        unpack({ runner: native, archiveFd, upperFd: other.fd, privileged }),
      );
      const [made, wanted] = [look(upper.path), look(other.path)];
      // Ours first: two empty trees would be alike, too.
      expect(Object.keys(made)).toContain('d/inner/\xfe');
      expect(made).toEqual(wanted);
    } finally {
      other.close();
    }
  });

  test('has the pod’s ids', async () => {
    const mapped = makeTmpfs({ uid: '100000', gid: '100000' });
    try {
      const ids = [{ containerID: 0, hostID: 100_000, size: 65536 }];
      expect(await small(archive(entry({ name: 'f', uid: '0000005\0', gid: '0000006\0' })), mapped, ids)).toBe(true);
      expect(look(mapped.path)['f']?.owner).toBe('100005:100006');
    } finally {
      mapped.close();
    }
  });

  test('has its other whiteouts as inodes of their own', async () => {
    expect(await small(archive(whiteout('a'), link('b', 'a')))).toBe(true);
    const devices = Object.values(look(upper.path)).flatMap(({ device }: Seen) => device ?? []);
    expect(devices).toEqual(['0:0', '0:0']);
  });

  test.each([
    ['extended attributes', [pax([['SCHILY.xattr.user.x', 'y']]), entry({ name: 'f' })]],
    ['a hard link to a file', [entry({ name: 'a' }), link('b', 'a')]],
    ['a fifo', [entry({ name: 'p', type: '6' })]],
    ['a device', [entry({ name: 'n', type: '3', devmajor: '0000001\0', devminor: '0000003\0' })]],
    ['one name twice', [entry({ name: 'f' }), entry({ name: 'f' })]],
    ['a directory that it does not list', [entry({ name: 'd/f' })]],
    ['a file within a symbolic link', [entry({ name: 'l', type: '2', linkname: '/' }), entry({ name: 'l/f' })]],
    ['a large file', [entry({ name: 'f' }, Buffer.alloc(70_000))]],
    ['more than a MiB', [entry({ name: 'f' }, Buffer.alloc(1 << 20))]],
    ['many entries', Array.from({ length: 257 }, (_, i) => entry({ name: `${i}` }))],
    ['a wrong checksum', [entry({ name: 'f', checksum: '0000000\0 ' })]],
  ])('with %s is left to the unpacker, and nothing made of it', async (_, parts) => {
    expect(await small(archive(...parts))).toBe(false);
    expect(Object.keys(look(upper.path))).toHaveLength(1);
  });

  test('that does not fit is left to the unpacker', async () => {
    const tiny = makeTmpfs({ size: '4096' });
    try {
      expect(await small(archive(entry({ name: 'f' }, Buffer.alloc(60_000, 'x'))), tiny)).toBe(false);
    } finally {
      tiny.close();
    }
  });
});
