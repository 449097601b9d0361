import { C } from '../syscall';
import { knownMountOptions, type MountOptions, parseMountOptions } from './mount-options';

const NOTHING: MountOptions = {
  bind: false,
  recursive: false,
  attrSet: 0,
  attrClear: 0,
  recursiveAttrSet: 0,
  recursiveAttrClear: 0,
  propagation: [],
  data: [],
  copyUp: false,
  remount: false,
  idmap: 'none',
};

const { MOUNT_ATTR_RDONLY: RDONLY, MOUNT_ATTR__ATIME: ATIME, MOUNT_ATTR_NOATIME: NOATIME } = C;

test.each<[string, Partial<MountOptions>]>([
  ['', {}],
  ['defaults', {}],
  ['bind', { bind: true }],
  ['rbind,rprivate', { bind: true, recursive: true, propagation: [C.MS_PRIVATE | C.MS_REC] }],
  ['slave,shared,runbindable', { propagation: [C.MS_SLAVE, C.MS_SHARED, C.MS_UNBINDABLE | C.MS_REC] }],
  ['ro,nosuid,nodev,noexec', { attrSet: 15 }],
  ['ro,rw', { attrClear: RDONLY }],
  ['rw,ro', { attrSet: RDONLY }],
  ['exec,dev,suid', { attrClear: C.MOUNT_ATTR_NOEXEC | C.MOUNT_ATTR_NODEV | C.MOUNT_ATTR_NOSUID }],
  ['nosymfollow,nodiratime', { attrSet: C.MOUNT_ATTR_NOSYMFOLLOW | C.MOUNT_ATTR_NODIRATIME }],
  ['noatime', { attrSet: NOATIME, attrClear: ATIME }],
  ['noatime,atime', { attrClear: ATIME }],
  ['relatime', { attrClear: ATIME }],
  ['strictatime,noatime', { attrSet: C.MOUNT_ATTR_STRICTATIME, attrClear: ATIME }],
  ['rbind,rro', { bind: true, recursive: true, recursiveAttrSet: RDONLY }],
  ['rro,rrw', { recursiveAttrClear: RDONLY }],
  [
    'ro,rnoatime,rnosymfollow',
    { attrSet: RDONLY, recursiveAttrSet: NOATIME | C.MOUNT_ATTR_NOSYMFOLLOW, recursiveAttrClear: ATIME },
  ],
  [
    'mode=1777,size=65536k,noswap',
    {
      data: [
        { key: 'mode', value: '1777' },
        { key: 'size', value: '65536k' },
        { key: 'noswap', value: undefined },
      ],
    },
  ],
  [
    'context="a=b",empty=',
    {
      data: [
        { key: 'context', value: 'a=b' },
        { key: 'empty', value: '' },
      ],
    },
  ],
  [
    'sync,async,lazytime',
    {
      data: [
        { key: 'async', value: undefined },
        { key: 'lazytime', value: undefined },
      ],
    },
  ],
  ['acl,noacl', { data: [{ key: 'noacl', value: undefined }] }],
  ['rbind,acl', { bind: true, recursive: true }],
  ['rbind,sync', { bind: true, recursive: true }],
  ['tmpcopyup,remount', { copyUp: true, remount: true }],
  ['bind,idmap', { bind: true, idmap: 'mount' }],
  ['bind,ridmap', { bind: true, idmap: 'tree' }],
  [
    'constructor,racl',
    {
      data: [
        { key: 'constructor', value: undefined },
        { key: 'racl', value: undefined },
      ],
    },
  ],
])('%j', (options, expected) => {
  expect(parseMountOptions(options === '' ? [] : options.split(','))).toEqual({ ...NOTHING, ...expected });
});

test('every known option is known', () => {
  expect(knownMountOptions().length).toBeGreaterThan(60);
  const leftOver = knownMountOptions().filter((option) => parseMountOptions(['bind', option]).data.length > 0);
  expect(leftOver).toEqual([]);
});
