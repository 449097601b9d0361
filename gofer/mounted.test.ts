import { mountOf, mountsBeneath, readMounts } from './mounted';

const mounts = readMounts(
  [
    '22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw',
    '30 22 0:40 / /data rw - nfs4 server:/x rw',
    '31 30 0:41 / /data/with\\040space rw - tmpfs tmpfs rw,size=64k',
    '32 22 0:42 / /database rw - xfs /dev/vdb rw',
    '33 30 0:43 / /data rw - fuse.sshfs host: rw',
    '',
  ].join('\n'),
);

test('a path lies on the uppermost mount of the nearest place', () => {
  const typeOf = (path: string): string | undefined => mountOf(path, mounts)?.type;
  expect(['/data/sub', '/data', '/srv', '/data/with space', '/database/x'].map(typeOf)).toEqual([
    'fuse.sshfs',
    'fuse.sshfs',
    'ext4',
    'tmpfs',
    'xfs',
  ]);
});

test('the mounts beneath a path', () => {
  expect(mountsBeneath('/data', mounts).map(({ point }) => point)).toEqual(['/data/with space']);
  expect(mountsBeneath('/srv', mounts)).toEqual([]);
});

test('options of the filesystem', () => {
  expect(mountOf('/data/with space', mounts)?.options).toEqual(['rw', 'size=64k']);
});
