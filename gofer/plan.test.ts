import { refusal } from '../errors/testing/refusal';
import type { Device, Linux, Mount, Spec } from '../oci';
import { C } from '../syscall';
import type { IdMaps } from './id-map';
import type { OverlayView } from './overlay-view';
import { hostOwner } from './owners';
import { planRoot, podRootSysctls } from './plan';
import { unmappedVolumes } from './plan-bind';
import type { Owner } from './target';
import type { CgroupV1View, MountStep, RootPlan, RootPlanInput } from './root-plan';

const ID_MAPS: IdMaps = {
  uids: [{ containerID: 0, hostID: 100_000, size: 65536 }],
  gids: [{ containerID: 0, hostID: 300_000, size: 65536 }],
};
const DEVPTS: Mount = { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['newinstance', 'gid=5'] };
const V1_VIEW: CgroupV1View = {
  directories: [{ name: 'cpu,cpuacct', hostPath: '/sys/fs/cgroup/cpu,cpuacct/x' }],
  links: [{ name: 'cpu', target: 'cpu,cpuacct' }],
};

/** A plan of a spec, on a host where every path that has "dir" in it is a directory and "none" is nothing. */
function plan(spec: Partial<Spec>, input: Partial<RootPlanInput> = {}): RootPlan {
  return planRoot({
    spec: { ociVersion: '1.2.0', ...spec },
    bundle: '/run/bundle',
    layers: ['/layers/1'],
    ownerOf: () => ({ uid: 0, gid: 0 }),
    upper: { fs: 'fs', work: 'work' },
    overlayVolumes: false,
    cover: false,
    kernel: [6, 15],
    mountPoint: '/run/silt/pod/web/rootfs',
    idMaps: null,
    placeOf: () => undefined,
    kindOf: (path) => (path.includes('none') ? undefined : path.includes('dir') ? 'directory' : 'other'),
    viewOf: () => undefined,
    isTmpfs: (path) => path.includes('tmpfs'),
    modeOf: () => undefined,
    cgroup: 'v2',
    ...input,
  });
}

/** The step that a single mount becomes. */
function stepOf(mount: Mount, input: Partial<RootPlanInput> = {}): MountStep {
  const [step, ...others] = plan({ mounts: [mount] }, input).mounts;
  expect(others).toEqual([]);
  return step!;
}

describe('bind mounts under overlay2=all', () => {
  const all = { overlayVolumes: true, kindOf: (path: string) => (path.includes('dir') ? 'directory' : path.includes('socket') ? 'other' : 'file') } as const; // prettier-ignore
  const overlayOf = (source: string, destination: string, options: string[]): string | undefined => {
    const step = stepOf({ source, destination, options }, all);
    return step.kind === 'bind' ? step.overlay : 'no bind mount';
  };

  test.each([
    ['a writable directory', '/dir', '/data', ['rbind', 'rw'], 'volume-0'],
    ['a writable file', '/file', '/etc/hosts', ['bind'], 'volume-0'],
    ['a read-only one', '/dir', '/data', ['bind', 'ro'], undefined],
    ['a recursively read-only one', '/dir', '/data', ['rbind', 'rro'], undefined],
    ['a socket', '/socket', '/run/socket', ['bind'], undefined],
    ['the pod’s shared memory', '/run/shm-dir', '/dev/shm', ['rbind'], undefined],
    ['the message for the kubelet', '/pods/file', '/dev/termination-log', ['rbind'], undefined],
    ['a directory of the kernel’s', '/sys/dir', '/hostsys', ['rbind'], undefined],
  ] as const)('%s', (_, source, destination, options, overlay) => {
    expect(overlayOf(source, destination, [...options])).toBe(overlay);
  });

  test('one whose mounts are to appear on the host is refused', () => {
    expect(refusal(() => overlayOf('/dir', '/data', ['rbind', 'rshared']))).toMatchObject({
      code: 'SPEC_UNSUPPORTED',
      details: { jsonPath: '$.mounts[0].options' },
    });
  });

  test('it is not covered otherwise', () => {
    expect(stepOf({ source: '/dir', destination: '/data', options: ['rbind'] })).not.toHaveProperty('overlay');
  });
});

describe('bind mounts', () => {
  test.each<[string, Mount, object]>([
    [
      'of a directory',
      { destination: '/data', type: 'bind', source: '/dir', options: ['rbind', 'ro'] },
      { source: '/dir', destination: '/data', directory: true, idmap: null },
    ],
    [
      'of a file, by the option alone',
      { destination: '/etc/hosts', source: '/etc/hosts', options: ['bind'] },
      { source: '/etc/hosts', directory: false },
    ],
    [
      'by the type alone',
      { destination: '/etc/hosts', type: 'bind', source: '/etc/hosts' },
      { source: '/etc/hosts', directory: false },
    ],
    [
      'from a relative source, which starts at the bundle',
      { destination: '/data', type: 'bind', source: '../dir' },
      { source: '/run/dir', directory: true },
    ],
    [
      'to a relative destination, which starts at the root',
      { destination: 'data/./x/../y/', type: 'bind', source: '/dir' },
      { destination: '/data/y' },
    ],
    [
      'to a destination that climbs, which ends at the root',
      { destination: '/../../etc', type: 'bind', source: '/dir' },
      { destination: '/etc' },
    ],
  ])('%s', (_, mount, expected) => {
    expect(stepOf(mount)).toMatchObject({ kind: 'bind', ...expected });
  });

  test.each<[string, Mount, string, string]>([
    [
      'a source that is not there',
      { destination: '/data', type: 'bind', source: '/none' },
      '$.mounts[1].source',
      'there is nothing at /none to bind to /data',
    ],
    [
      'a relative source that is not there, by its full path',
      { destination: '/data', type: 'bind', source: 'none' },
      '$.mounts[1].source',
      'there is nothing at /run/bundle/none to bind to /data',
    ],
    ['no source', { destination: '/data', options: ['rbind'] }, '$.mounts[1].source', 'a bind mount needs a source'],
    [
      'an empty source',
      { destination: '/data', type: 'bind', source: '' },
      '$.mounts[1].source',
      'a bind mount needs a source',
    ],
    [
      'no type',
      { destination: '/data', source: 'x' },
      '$.mounts[1].type',
      'a mount that is no bind mount needs a type',
    ],
  ])('refuse %s', (_, mount, jsonPath, message) => {
    expect(refusal(() => plan({ mounts: [DEVPTS, mount] }))).toEqual({
      code: 'SPEC_INVALID',
      message: `${jsonPath}: ${message}`,
      details: { jsonPath },
    });
  });

  test.each([
    ['/dir', true],
    ['/processes/dir', true],
    ['/proc', false],
    ['/proc/dir', false],
    ['/sys/fs/cgroup/dir', false],
    ['/dev/dir', false],
    ['/dev/../dir', true],
  ])('in a user namespace %s is idmapped: %p', (source, idmap) => {
    const mount = { destination: '/data', type: 'bind', source };
    const shown = idmap ? { userns: 'userns', recursive: false } : null;
    expect(stepOf(mount, { idMaps: ID_MAPS })).toMatchObject({ idmap: shown });
    expect(stepOf(mount)).toMatchObject({ idmap: null });
  });

  test('in a user namespace that the spec asks for, one without mappings is what it is', () => {
    const mounts = [{ destination: '/data', type: 'bind', source: '/dir' }];
    const linux: Linux = { namespaces: [{ type: 'user' }] };
    expect(plan({ mounts, linux }, { idMaps: ID_MAPS }).mounts).toMatchObject([{ idmap: null }]);
    const annotations = { 'io.kubernetes.cri.container-type': 'container' };
    const ofPod = plan({ mounts, linux, annotations }, { idMaps: ID_MAPS });
    expect(ofPod.mounts).toMatchObject([{ idmap: { userns: 'userns' } }]);
  });

  test('an overlay of layers that show the pod’s owners already is what it is, whatever is asked', () => {
    const viewOf = (): OverlayView => ({ layers: ['/gone'], upper: '/upper', inside: '' });
    const ownerOf = (): Owner => ({ uid: 100_007, gid: 300_000 });
    const linux: Linux = { namespaces: [{ type: 'user' }] };
    const annotations = { 'io.kubernetes.cri.container-type': 'container' };
    const { uids: uidMappings, gids: gidMappings } = ID_MAPS;
    for (const asked of [{}, { uidMappings, gidMappings }, { options: ['ro', 'ridmap'] }]) {
      const mount = { destination: '/image', type: 'bind', source: '/dir', options: ['ro'], ...asked };
      const spec = { mounts: [mount], linux, annotations };
      expect(plan(spec, { idMaps: ID_MAPS, viewOf, ownerOf }).mounts).toMatchObject([{ idmap: null }]);
      expect(plan(spec, { idMaps: ID_MAPS, viewOf }).mounts).toMatchObject([{ view: { layers: [{ path: '/gone' }] } }]);
    }
  });

  const { MOUNT_ATTR_RDONLY: RO, MOUNT_ATTR_NOSUID: NOSUID, MOUNT_ATTR_NODEV: NODEV } = C;
  const { MOUNT_ATTR_NOEXEC: NOEXEC, MOUNT_ATTR_NOSYMFOLLOW: NOSYMFOLLOW } = C;
  test.each<[string, string[], Linux, number, number]>([
    ['none leave those of the source', ['rbind', 'rprivate'], {}, 0, 0],
    ['any are the only ones', ['ro', 'nodev'], {}, RO | NODEV, NOSUID | NOEXEC | NOSYMFOLLOW],
    ['so is a word for none', ['rw'], {}, 0, RO | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW],
    ['in a user namespace of the spec only what it can lock stays', ['ro'], { namespaces: [{ type: 'user' }] }, RO, NOSYMFOLLOW], // prettier-ignore
  ])('flags: %s', (_, options, linux, attrSet, attrClear) => {
    const mounts = [{ destination: '/data', type: 'bind', source: '/dir', options }];
    expect(plan({ mounts, linux }).mounts).toMatchObject([{ options: { attrSet, attrClear } }]);
  });
});

describe('bind mounts of what is in the container', () => {
  const root = '/run/silt/pod/web/rootfs';
  const bind = (source: string, destination: string, more: Partial<Mount> = {}): Mount => ({
    source,
    destination,
    type: 'bind',
    ...more,
  });
  const last = (mounts: Mount[], more: Partial<Spec> = {}, idMaps: IdMaps | null = ID_MAPS): MountStep =>
    plan({ mounts, ...more }, { idMaps }).mounts.at(-1)!;

  test.each<[string, Mount[], object]>([
    ['by an earlier mount', [bind('/dir', '/a'), bind(`${root}/a`, '/b')], { source: '/a', directory: true }],
    ['below one', [bind('/tree', '/a'), bind(`${root}/a/dir`, '/b')], { source: '/a/dir', directory: true }],
    ['by the last of several', [bind('/dir', '/a'), bind('/file', '/a'), bind(`${root}/a`, '/b')], { directory: false }], // prettier-ignore
    ['by a filesystem', [{ destination: '/a', type: 'tmpfs' }, bind(`${root}/a`, '/b')], { directory: true }],
    ['by the image', [bind(`${root}/some-dir`, '/b')], { source: '/some-dir', directory: true }],
    ['by one of these', [bind('/file', '/a'), bind(`${root}/a`, '/b'), bind(`${root}/b`, '/c')], { source: '/b', directory: false }], // prettier-ignore
  ])('%s', (_, mounts, expected) => {
    expect(last(mounts)).toMatchObject({ kind: 'bind', ofContainer: true, idmap: null, ...expected });
  });

  test('have the mappings that they ask for', () => {
    const maps = [{ containerID: 0, hostID: 7, size: 1 }];
    const mount = bind(`${root}/dir`, '/b', { uidMappings: maps, gidMappings: maps, options: ['rbind', 'ridmap'] });
    expect(last([mount], {}, null)).toMatchObject({ idmap: { userns: 'mount_userns0', recursive: true } });
  });

  test('are found by the root that the spec gives, too', () => {
    expect(last([bind('/run/bundle/root/dir', '/b')], { root: { path: 'root' } })).toMatchObject({ source: '/dir' });
  });

  test('that is not there are refused', () => {
    const mounts = [{ destination: '/a', type: 'tmpfs' }, bind(`${root}/a/x`, '/b')];
    expect(refusal(() => last(mounts))).toMatchObject({
      code: 'SPEC_INVALID',
      message: '$.mounts[1].source: there is nothing at /a/x of the container to bind to /b',
    });
  });
});

describe('filesystems', () => {
  const tmpfs = (...options: string[]): Mount => ({ destination: '/run', type: 'tmpfs', source: 'tmpfs', options });

  test.each<[string, Mount, IdMaps | null, [string, string | undefined][]]>([
    ['a source', { destination: '/proc', type: 'proc', source: 'proc' }, null, [['source', 'proc']]],
    ['no source', { destination: '/proc', type: 'proc' }, null, []],
    [
      'options of the filesystem, not of the mount',
      tmpfs('nosuid', 'strictatime', 'mode=755', 'size=65536k', 'noswap'),
      null,
      [
        ['source', 'tmpfs'],
        ['mode', '755'],
        ['size', '65536k'],
        ['noswap', undefined],
      ],
    ],
    [
      'ids as they are without a user namespace',
      tmpfs('uid=7', 'gid=8'),
      null,
      [
        ['source', 'tmpfs'],
        ['uid', '7'],
        ['gid', '8'],
      ],
    ],
    [
      'ids as the host numbers them with one',
      tmpfs('uid=7', 'gid=8'),
      ID_MAPS,
      [
        ['source', 'tmpfs'],
        ['uid', '100007'],
        ['gid', '300008'],
      ],
    ],
    [
      'the pod’s root where the spec gives no owner of a tmpfs',
      tmpfs('mode=755', 'gid=8'),
      ID_MAPS,
      [
        ['source', 'tmpfs'],
        ['mode', '755'],
        ['gid', '300008'],
        ['uid', '100000'],
      ],
    ],
    [
      'a devpts: its group mapped, its owner the pod’s root',
      DEVPTS,
      ID_MAPS,
      [
        ['source', 'devpts'],
        ['newinstance', undefined],
        ['gid', '300005'],
        ['uid', '100000'],
      ],
    ],
    ['nothing for a filesystem without owners', { destination: '/proc', type: 'proc' }, ID_MAPS, []],
  ])('have %s', (_, mount, idMaps, data) => {
    expect(stepOf(mount, { idMaps })).toMatchObject({ kind: 'filesystem', type: mount.type, data });
  });

  test('of which the kernel makes host root the owner are chowned to the pod’s root', () => {
    const mounts = ['mqueue', 'devpts', 'tmpfs', 'proc', 'sysfs'].map((type) => ({ destination: `/${type}`, type }));
    const owners = (idMaps: IdMaps | null) =>
      plan({ mounts }, { idMaps }).mounts.map((step) => (step.kind === 'filesystem' ? step.chown : step));
    const podRoot = { uid: 100_000, gid: 300_000 };
    expect(owners(ID_MAPS)).toEqual([podRoot, podRoot, undefined, undefined, undefined]);
    expect(owners(null)).toEqual([undefined, undefined, undefined, undefined, undefined]);
  });

  test.each([
    ['uid=65536', 'uid=65536'],
    ['gid=70000', 'gid=70000'],
    ['uid=root', 'uid=root'],
  ])('refuse %s, which the user namespace does not have', (option, shown) => {
    expect(refusal(() => plan({ mounts: [tmpfs(option)] }, { idMaps: ID_MAPS }))).toEqual({
      code: 'SPEC_INVALID',
      message: `$.mounts[0].options: ${shown} is not in the pod's user namespace`,
      details: { jsonPath: '$.mounts[0].options' },
    });
  });
});

describe('the container’s cgroup', () => {
  test.each(['cgroup', 'cgroup2'])(
    'mounted as %s is a cgroup2 filesystem on a v2 host, whatever options v1 had',
    (type) => {
      const mount = { destination: '/sys/fs/cgroup', type, source: 'cgroup', options: ['ro', 'nosuid', 'mode=755'] };
      expect(stepOf(mount)).toMatchObject({
        kind: 'filesystem',
        type: 'cgroup2',
        destination: '/sys/fs/cgroup',
        data: [],
        options: { attrSet: C.MOUNT_ATTR_RDONLY | C.MOUNT_ATTR_NOSUID },
      });
    },
  );

  test.each(['cgroup', 'cgroup2'])('mounted as %s is the view of its own directories on a v1 host', (type) => {
    const mount = { destination: '/sys/fs/cgroup', type, source: 'cgroup', options: ['ro'] };
    expect(stepOf(mount, { cgroup: V1_VIEW })).toMatchObject({
      kind: 'cgroup-v1',
      destination: '/sys/fs/cgroup',
      view: V1_VIEW,
      options: { attrSet: C.MOUNT_ATTR_RDONLY },
    });
  });
});

describe('a terminal', () => {
  const spec = { process: { args: ['sh'], cwd: '/', terminal: true, user: { uid: 7, gid: 8 } } };

  test('belongs to the process’s user, and to the group of the devpts', () => {
    expect(plan({ ...spec, mounts: [DEVPTS] }).terminal).toEqual({ uid: 7, gid: 5 });
  });

  test('is found below a destination that ends in a slash', () => {
    expect(plan({ ...spec, mounts: [{ ...DEVPTS, destination: '/dev/pts/' }] }).terminal).toEqual({ uid: 7, gid: 5 });
  });

  test('belongs to it as the host numbers it', () => {
    expect(plan({ ...spec, mounts: [DEVPTS] }, { idMaps: ID_MAPS }).terminal).toEqual({ uid: 100_007, gid: 300_005 });
  });

  test.each<[string, Mount[]]>([
    ['no mounts', []],
    ['a devpts elsewhere', [{ ...DEVPTS, destination: '/mnt/pts' }]],
    ['the host’s /dev/pts', [{ destination: '/dev/pts', type: 'bind', source: '/dev/pts-dir' }]],
  ])('with %s is refused', (_, mounts) => {
    expect(refusal(() => plan({ ...spec, mounts }))).toEqual({
      code: 'SPEC_INVALID',
      message: '$.process.terminal: a terminal needs a devpts mount at /dev/pts, and $.mounts has none',
      details: { jsonPath: '$.process.terminal' },
    });
  });

  test('is not made for a process that does not ask for one', () => {
    expect(plan({ process: { args: ['sh'], cwd: '/' } }).terminal).toBeUndefined();
  });
});

describe('devices', () => {
  const DEFAULTS = ['/dev/null', '/dev/zero', '/dev/full', '/dev/random', '/dev/urandom', '/dev/tty'];

  test('are the defaults without any in the spec', () => {
    const { devices } = plan({});
    expect(devices.map(({ path }) => path)).toEqual(DEFAULTS);
    expect(devices.map(({ major, minor }) => [major, minor])).toEqual([
      [1, 3],
      [1, 5],
      [1, 7],
      [1, 8],
      [1, 9],
      [5, 0],
    ]);
    expect(devices[0]).toEqual({
      path: '/dev/null',
      type: 'S_IFCHR',
      major: 1,
      minor: 3,
      mode: 0o666,
      owner: { uid: 0, gid: 0 },
    });
  });

  test('of the spec come after the defaults, and replace those of the same path where they stand', () => {
    const devices: Device[] = [
      { path: '/dev/fuse', type: 'c', major: 10, minor: 229, fileMode: 0o600, uid: 3, gid: 4 },
      { path: '/dev/zero', type: 'c', major: 1, minor: 5, fileMode: 0o444 },
      { path: '/dev/sda', type: 'b', major: 8, minor: 0 },
      { path: '/dev/raw', type: 'u', major: 162, minor: 1 },
      { path: '/dev/pipe', type: 'p' },
    ];
    const planned = plan({ linux: { devices } }).devices;
    expect(planned.map(({ path }) => path)).toEqual([...DEFAULTS, '/dev/fuse', '/dev/sda', '/dev/raw', '/dev/pipe']);
    expect(planned[1]).toMatchObject({ path: '/dev/zero', mode: 0o444 });
    expect(planned.slice(6)).toEqual([
      { path: '/dev/fuse', type: 'S_IFCHR', major: 10, minor: 229, mode: 0o600, owner: { uid: 3, gid: 4 } },
      { path: '/dev/sda', type: 'S_IFBLK', major: 8, minor: 0, mode: 0o666, owner: { uid: 0, gid: 0 } },
      { path: '/dev/raw', type: 'S_IFCHR', major: 162, minor: 1, mode: 0o666, owner: { uid: 0, gid: 0 } },
      { path: '/dev/pipe', type: 'S_IFIFO', major: 0, minor: 0, mode: 0o666, owner: { uid: 0, gid: 0 } },
    ]);
  });

  test('belong to ids of the pod, and to nobody when the pod does not have them', () => {
    const devices: Device[] = [{ path: '/dev/x', type: 'c', major: 1, minor: 1, uid: 9, gid: 70_000 }];
    const planned = plan({ linux: { devices } }, { idMaps: ID_MAPS }).devices;
    expect([planned[0]?.owner, planned.at(-1)?.owner]).toEqual([
      { uid: 100_000, gid: 300_000 },
      { uid: 100_009, gid: 65534 },
    ]);
  });

  test.each<[string, Mount[], number, boolean]>([
    ['a tmpfs at /dev', [{ destination: '/dev/', type: 'tmpfs' }], 6, true],
    ['no mount at /dev', [], 6, true],
    ['the host’s directory at /dev', [{ destination: '/dev', type: 'bind', source: '/dev-dir' }], 0, false],
    ['the host’s directory at /dev/', [{ destination: '/dev/', type: 'bind', source: '/dev-dir' }], 0, false],
    ['the host’s directory below /dev', [{ destination: '/dev/dri', type: 'bind', source: '/dev-dir' }], 6, true],
  ])('with %s', (_, mounts, count, links) => {
    const planned = plan({ mounts });
    expect([planned.devices.length, planned.deviceLinks]).toEqual([count, links]);
  });
});

describe('the propagation of the root', () => {
  test.each([
    [undefined, C.MS_PRIVATE, false],
    ['', C.MS_PRIVATE, false],
    ['private', C.MS_PRIVATE, false],
    ['rprivate', C.MS_PRIVATE, true],
    ['slave', C.MS_SLAVE, false],
    ['rslave', C.MS_SLAVE, true],
    ['shared', C.MS_SHARED, false],
    ['rshared', C.MS_SHARED, true],
    ['unbindable', C.MS_UNBINDABLE, false],
    ['runbindable', C.MS_UNBINDABLE, true],
  ])('%p', (rootfsPropagation, type, recursive) => {
    const linux = rootfsPropagation === undefined ? {} : { rootfsPropagation };
    expect(plan({ linux }).propagation).toEqual({ type, recursive });
  });

  test.each(['public', 'r', 'rrprivate', 'constructor', 'MS_PRIVATE'])('refuses %p', (rootfsPropagation) => {
    expect(refusal(() => plan({ linux: { rootfsPropagation } }))).toEqual({
      code: 'SPEC_INVALID',
      message: `$.linux.rootfsPropagation: "${rootfsPropagation}" is not private, slave, shared or unbindable`,
      details: { jsonPath: '$.linux.rootfsPropagation' },
    });
  });
});

describe('everything else', () => {
  test('is taken over from the spec', () => {
    const planned = plan({
      process: { args: ['sh'], cwd: '/work' },
      root: { path: 'rootfs', readonly: true },
      linux: {
        sysctl: { 'net.core.somaxconn': '1024', 'kernel.shm_rmid_forced': '1' },
        maskedPaths: ['/proc/kcore'],
        readonlyPaths: ['/proc/sys'],
      },
    });
    expect(planned).toMatchObject({
      layers: [{ path: '/layers/1', idmap: false }],
      mountPoint: '/run/silt/pod/web/rootfs',
      userns: false,
      owner: { uid: 0, gid: 0 },
      sysctls: [
        ['net.core.somaxconn', '1024'],
        ['kernel.shm_rmid_forced', '1'],
      ],
      maskedPaths: ['/proc/kcore'],
      readonlyPaths: ['/proc/sys'],
      workingDirectory: '/work',
      readonlyRoot: true,
    });
  });

  test('is nothing where the spec says nothing', () => {
    expect(plan({})).toMatchObject({
      sysctls: [],
      mounts: [],
      maskedPaths: [],
      readonlyPaths: [],
      workingDirectory: '/',
      readonlyRoot: false,
    });
  });

  test('mounts keep their order', () => {
    const mounts = ['/a', '/b/c', '/a/d'].map((destination) => ({ destination, type: 'tmpfs' }));
    expect(plan({ mounts }).mounts.map(({ destination }) => destination)).toEqual(['/a', '/b/c', '/a/d']);
  });

  test('a user namespace makes its root the owner', () => {
    expect(plan({}, { idMaps: ID_MAPS })).toMatchObject({ userns: true, owner: { uid: 100_000, gid: 300_000 } });
  });
});

describe('sysctls', () => {
  const sysctl = {
    'net.core.somaxconn': '1024',
    'net/ipv4/conf/eth0.7/forwarding': '1',
    'kernel.shm_rmid_forced': '1',
  };
  const own: Linux = { sysctl, namespaces: [{ type: 'network' }, { type: 'ipc' }] };
  const joined: Linux = { sysctl, namespaces: [{ type: 'network', path: '/run/netns/cni' }, { type: 'ipc' }] };
  const NET = ['net.core.somaxconn', 'net/ipv4/conf/eth0.7/forwarding'];
  const SHM = 'kernel.shm_rmid_forced';

  test.each<[string, Linux, IdMaps | null, string[], string[]]>([
    // By host root, by the pod's root.
    ['without a user namespace', own, null, [...NET, SHM], []],
    ['with one, all namespaces being its own', own, ID_MAPS, [], [...NET, SHM]],
    ['with one and a network of somebody else', joined, ID_MAPS, NET, [SHM]],
    ['that are none', {}, ID_MAPS, [], []],
  ])('%s are set by who has the right to', (_, linux, idMaps, byHostRoot, byPodRoot) => {
    expect(plan({ linux }, { idMaps }).sysctls.map(([key]) => key)).toEqual(byHostRoot);
    expect(podRootSysctls({ ociVersion: '1.2.0', linux }, idMaps).map(([key]) => key)).toEqual(byPodRoot);
  });

  test('of who may ping are for the groups that the pod has', () => {
    const range = (value: string, maps: IdMaps | null) =>
      podRootSysctls({ ociVersion: '1.2.0', linux: { sysctl: { 'net.ipv4.ping_group_range': value } } }, maps);
    expect(range('0 2147483647', ID_MAPS)).toEqual([['net.ipv4.ping_group_range', '0 65535']]);
    expect(range('5 10', ID_MAPS)).toEqual([['net.ipv4.ping_group_range', '5 10']]);
    expect(range('1 0', ID_MAPS)).toEqual([['net.ipv4.ping_group_range', '1 0']]);
    expect(range('0 2147483647', null)).toEqual([]);
  });
});

describe('the host’s ids of a user', () => {
  const holey: IdMaps = {
    uids: [{ containerID: 0, hostID: 5, size: 10 }],
    gids: [{ containerID: 1, hostID: 6, size: 1 }],
  };

  test.each([
    [3, 1, { uid: 8, gid: 6 }],
    [9, 1, { uid: 14, gid: 6 }],
  ])('%d:%d', (uid, gid, owner) => {
    expect(hostOwner(holey, uid, gid, '$.x')).toEqual(owner);
    expect(hostOwner(null, uid, gid, '$.x')).toEqual({ uid, gid });
  });

  test.each([
    [10, 1, "$.x: uid 10 is not in the pod's user namespace"],
    [0, 0, "$.x: gid 0 is not in the pod's user namespace"],
  ])('%d:%d is refused', (uid, gid, message) => {
    expect(refusal(() => hostOwner(holey, uid, gid, '$.x'))).toEqual({
      code: 'SPEC_INVALID',
      message,
      details: { jsonPath: '$.x' },
    });
  });
});

test('a layer is idmapped unless the engine has given it to the pod’s ids', () => {
  const owners: Readonly<Record<string, [number, number]>> = { '/image': [0, 0], '/remapped': [100_000, 300_000] };
  const input = {
    layers: ['/remapped', '/image'],
    ownerOf: (path: string) => ({ uid: owners[path]![0], gid: owners[path]![1] }),
  };
  expect(plan({}, { ...input, idMaps: ID_MAPS }).layers).toEqual([
    { path: '/remapped', idmap: false },
    { path: '/image', idmap: true },
  ]);
  expect(plan({}, input).layers.map(({ idmap }) => idmap)).toEqual([false, false]);
});

describe('idmapped mounts of the spec', () => {
  const range = (containerID: number, hostID: number, size: number) => ({ containerID, hostID, size });
  const ofPod: IdMaps = { uids: ID_MAPS.uids, gids: ID_MAPS.uids };
  const user = [{ type: 'user' as const }];
  const bind = (options: string[], ...ranges: ReturnType<typeof range>[]): Mount => ({
    destination: '/data',
    type: 'bind',
    source: '/dir',
    options: ['rbind', ...options],
    ...(ranges.length > 0 ? { uidMappings: ranges, gidMappings: ranges } : {}),
  });

  test.each<[string, Mount, IdMaps | null, Spec['linux'], object | null, object]>([
    ['by option alone are shown as the pod’s, the top mount only', bind(['idmap']), ID_MAPS, { namespaces: user }, { userns: 'userns', recursive: false }, {}], // prettier-ignore
    ['with ridmap the whole tree', bind(['ridmap']), ID_MAPS, { namespaces: user }, { userns: 'userns', recursive: true }, {}], // prettier-ignore
    ['with the pod’s mappings, the top mount only', bind([], range(0, 100_000, 65536)), ofPod, { namespaces: user }, { userns: 'userns', recursive: false }, {}], // prettier-ignore
    ['with mappings of their own', bind(['idmap'], range(0, 5, 1)), ID_MAPS, { namespaces: user }, { userns: 'mount_userns0', recursive: false }, { mount_userns0: [range(0, 5, 1)] }], // prettier-ignore
    ['without any user namespace', bind(['ridmap'], range(0, 5, 1)), null, {}, { userns: 'mount_userns0', recursive: true }, { mount_userns0: [range(0, 5, 1)] }], // prettier-ignore
    ['in a user namespace that silt chose, whose ids they take for the host’s', bind([], range(7, 5, 2)), ofPod, {}, { userns: 'mount_userns0', recursive: false }, { mount_userns0: [range(7, 100_005, 2)] }], // prettier-ignore
  ])('%s', (_, mount, idMaps, linux, idmap, maps) => {
    const found = plan({ mounts: [mount], linux: linux! }, { idMaps });
    expect(found.mounts).toMatchObject([{ idmap }]);
    expect(found.mountMaps).toEqual(
      Object.fromEntries(Object.entries(maps).map(([name, ranges]) => [name, { uids: ranges as never, gids: ranges as never }])), // prettier-ignore
    );
  });

  test('with ids that the pod does not have are refused', () => {
    const mount = bind([], range(0, 65535, 2));
    expect(refusal(() => plan({ mounts: [mount] }, { idMaps: ID_MAPS }))).toMatchObject({
      code: 'SPEC_INVALID',
      details: { jsonPath: '$.mounts[0].uidMappings' },
    });
  });
});

test('a tmpfs has the mode of what it covers unless it is told', () => {
  const modeOf = (path: string): number | undefined => (path === '/run' ? 0o1750 : undefined);
  const dataOf = (destination: string, options: string[]): unknown =>
    stepOf({ destination, type: 'tmpfs', options }, { modeOf });
  expect(dataOf('/run', ['size=1k'])).toMatchObject({
    data: [
      ['size', '1k'],
      ['mode', '1750'],
    ],
  });
  expect(dataOf('/run', ['mode=700'])).toMatchObject({ data: [['mode', '700']] });
  expect(dataOf('/new', [])).toMatchObject({ data: [] });
});

test('a tmpfs that is to be filled is given to the gofer', () => {
  const found = plan({ mounts: [DEVPTS, { destination: '/etc', type: 'tmpfs', options: ['tmpcopyup'] }] });
  expect(found.copyUps).toEqual([{ name: 'copy_up1', step: found.mounts[1] }]);
});

test('a remount changes flags, and the filesystem unless it is of a bind mount', () => {
  const options = ['remount', 'ro', 'size=1m'];
  expect(stepOf({ destination: '/run', type: 'tmpfs', source: 'tmpfs', options })).toMatchObject({
    kind: 'remount',
    data: [['size', '1m']],
    options: { attrSet: C.MOUNT_ATTR_RDONLY },
  });
  expect(stepOf({ destination: '/', options: ['bind', 'remount', 'ro'] })).toMatchObject({ kind: 'remount', data: [] });
});

describe('a volume on a tmpfs in a pod with a user namespace', () => {
  const range = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
  const planned = (kernel: RootPlanInput['kernel'], options: string[] = [], source = '/tmpfs/dir'): RootPlan =>
    plan(
      { mounts: [{ destination: '/v', type: 'bind', source, options }] },
      { kernel, idMaps: { uids: range, gids: range } },
    );

  test('is nobody’s where the kernel cannot show its owners, and that is said', () => {
    expect(planned([6, 2]).mounts).toMatchObject([{ idmap: { userns: 'userns', optional: true } }]);
    expect(unmappedVolumes(planned([6, 2]))).toEqual([
      expect.stringMatching(
        /^the volume \/tmpfs\/dir is on a tmpfs, .* in \/v files are nobody’s .* set userns = "none"/,
      ),
    ]);
  });

  test.each<[string, RootPlan]>([
    ['the kernel can', planned([6, 3])],
    ['it is asked for', planned([6, 2], ['idmap'])],
    ['it is on another filesystem', planned([6, 2], [], '/disk/dir')],
  ])('has the pod’s owners, or is refused, when %s', (_, { mounts }) => {
    expect(mounts).toMatchObject([{ idmap: { userns: 'userns' } }]);
    expect(unmappedVolumes({ mounts })).toEqual([]);
  });
});
