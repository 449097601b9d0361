import { C, listProgram, type Program, ProgramBuilder } from '../syscall';
import { refusal } from '../errors/testing/refusal';
import { parseMountOptions } from '../oci';
import { planDevices } from './devices';
import type { BindStep, FilesystemStep, Layer, MountStep, RootPlan } from './root-plan';
import { sourceOfIdmapStep } from './idmap-step';
import { buildRoot, enterRoot, shareAgain } from './root';

const PRIVATE = { type: C.MS_PRIVATE, recursive: false };

const layers = (idmap: boolean, ...paths: string[]): Layer[] => paths.map((path) => ({ path, idmap }));

function planOf(parts: Partial<RootPlan>): RootPlan {
  return {
    layers: layers(false, '/layers/top', '/layers/base'),
    upper: { fs: 'fs', work: 'work' },
    cover: false,
    attachLayers: false,
    mountPoint: '/run/silt/pod/web/rootfs',
    userns: false,
    owner: { uid: 0, gid: 0 },
    sysctls: [],
    mounts: [],
    mountMaps: {},
    copyUps: [],
    devices: [],
    deviceLinks: false,
    terminal: undefined,
    mountLabel: undefined,
    maskedPaths: [],
    readonlyPaths: [],
    workingDirectory: '/',
    readonlyRoot: false,
    propagation: PRIVATE,
    ...parts,
  };
}

function programOf(parts: Partial<RootPlan>): Program {
  const p = new ProgramBuilder();
  const plan = planOf(parts);
  const root = buildRoot(p, plan, {
    sendTerminal: (master) => p.call('close', [master]),
    sendUpper: (upper) => p.call('close', [upper]),
    beforePivot: () => undefined,
  });
  enterRoot(p, plan, root);
  return p.build();
}

const stepsOf = (parts: Partial<RootPlan>): string[] => [
  ...new Set(listProgram(programOf(parts)).map(({ step }) => step)),
];

/** The calls of the steps whose phrase starts so, and of those that show the owners of what it names. */
const callsOf = (parts: Partial<RootPlan>, step: string): string[] =>
  listProgram(programOf(parts))
    .filter((one) => one.step.startsWith(step) || step.includes(sourceOfIdmapStep(one.step) ?? '(none)'))
    .map(({ call }) => call);

const bind = (options: string[], parts: Partial<BindStep> = {}): BindStep => ({
  kind: 'bind',
  source: '/volumes/data',
  destination: '/data',
  directory: true,
  options: parseMountOptions(options),
  idmap: null,
  ...parts,
});

const filesystem = (type: string, options: string[], parts: Partial<FilesystemStep> = {}): FilesystemStep => ({
  kind: 'filesystem',
  type,
  destination: `/${type}`,
  data: [['source', type]],
  options: parseMountOptions(options),
  chown: undefined,
  ...parts,
});

describe('the order of steps', () => {
  test('is: host cut off, sysctls, overlay, mounts, devices, terminal, paths, host left behind', () => {
    const steps = stepsOf({
      sysctls: [['net.core.somaxconn', '1024']],
      mounts: [filesystem('proc', []), bind([])],
      devices: planDevices([], null).slice(0, 1),
      deviceLinks: true,
      terminal: { uid: 0, gid: 0 },
      workingDirectory: '/work',
      maskedPaths: ['/proc/kcore'],
      readonlyPaths: ['/proc/sys'],
      readonlyRoot: true,
    });
    expect(steps).toEqual([
      'cutting the gofer’s mounts off from the host’s',
      'setting the sysctl net.core.somaxconn',
      'adding the layer /layers/top',
      'adding the layer /layers/base',
      'opening the overlay filesystem',
      'adding the upper',
      'mounting the overlay',
      'mounting the root filesystem',
      'mounting proc on /proc',
      'mounting /volumes/data on /data',
      'setting the umask aside for devices',
      'making the device /dev/null',
      'restoring the umask',
      'making the symlinks of /dev',
      'opening a terminal in the container’s devpts',
      'making the working directory /work',
      'preparing the empty directory that masks paths',
      'masking /proc/kcore',
      'making /proc/sys read-only',
      'making the root filesystem read-only',
      'leaving the host’s filesystem',
      'setting the propagation of the root filesystem',
    ]);
  });

  test('has none for what the plan does not have', () => {
    expect(stepsOf({})).toEqual([
      'cutting the gofer’s mounts off from the host’s',
      'adding the layer /layers/top',
      'adding the layer /layers/base',
      'opening the overlay filesystem',
      'adding the upper',
      'mounting the overlay',
      'mounting the root filesystem',
      'making the working directory /',
      'leaving the host’s filesystem',
      'setting the propagation of the root filesystem',
    ]);
  });
});

describe('the overlay', () => {
  test('has the layers in the order of the plan, each a detached clone, idmapped in a user namespace', () => {
    expect(callsOf({}, 'adding the layer')).toEqual([
      'open_tree(AT_FDCWD, "/layers/top", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = $layer',
      'open_tree(AT_FDCWD, "/layers/base", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = $layer',
      'fsconfig($overlay_fs, FSCONFIG_SET_FD, "lowerdir+", NULL, $layer)',
      'fsconfig($overlay_fs, FSCONFIG_SET_FD, "lowerdir+", NULL, $layer)',
    ]);
    expect(callsOf({ userns: true, layers: layers(true, '/layers/top') }, 'adding the layer /layers/top')).toEqual([
      'open_tree(AT_FDCWD, "/layers/top", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = $layer',
      'mount_setattr($layer, "", AT_EMPTY_PATH, {set=MOUNT_ATTR_IDMAP, userns}, 32)',
      'fsconfig($overlay_fs, FSCONFIG_SET_FD, "lowerdir+", NULL, $layer)',
    ]);
  });

  test('follows no marks of a seed, and has no device of the host in a user namespace', () => {
    expect(callsOf({}, 'adding the upper').slice(-3)).toEqual([
      'fsconfig($overlay_fs, FSCONFIG_SET_STRING, "redirect_dir", "nofollow", 0)',
      'fsconfig($overlay_fs, FSCONFIG_SET_STRING, "metacopy", "off", 0)',
      'fsconfig($overlay_fs, FSCONFIG_SET_STRING, "index", "off", 0)',
    ]);
    const fsmount = (userns: boolean) => callsOf({ userns }, 'mounting the overlay')[1];
    expect(fsmount(false)).toBe('fsmount($overlay_fs, FSMOUNT_CLOEXEC, 0) = $overlay');
    expect(fsmount(true)).toBe('fsmount($overlay_fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV) = $overlay');
  });

  test('can have a layer of whiteouts above the others', () => {
    expect(callsOf({ cover: true }, 'adding the layer').filter((call) => call.startsWith('fsconfig'))).toEqual([
      'fsconfig($overlay_fs, FSCONFIG_SET_FD, "lowerdir+", NULL, <cover>)',
      'fsconfig($overlay_fs, FSCONFIG_SET_FD, "lowerdir+", NULL, $layer)',
      'fsconfig($overlay_fs, FSCONFIG_SET_FD, "lowerdir+", NULL, $layer)',
    ]);
  });

  test('is left out without an upper: the layer itself is the root', () => {
    const parts = { upper: null, layers: layers(true, '/root'), userns: true };
    expect(callsOf(parts, 'adding the layer /root')).toEqual([
      'open_tree(AT_FDCWD, "/root", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = $layer',
      'mount_setattr($layer, "", AT_EMPTY_PATH, {set=MOUNT_ATTR_IDMAP, userns}, 32)',
    ]);
    expect(callsOf(parts, 'mounting the root filesystem').slice(0, 2)).toEqual([
      'mount_setattr($layer, "", AT_EMPTY_PATH, {set=MOUNT_ATTR_NODEV}, 32)',
      'move_mount($layer, "", AT_FDCWD, "/run/silt/pod/web/rootfs", MOVE_MOUNT_F_EMPTY_PATH)',
    ]);
  });

  test('of an older kernel is made of layers attached aside, and its upper’s filesystem is sent to be kept', () => {
    const old = { attachLayers: true, userns: true, layers: layers(true, '/layers/top') };
    expect(callsOf(old, 'adding the layer').slice(1)).toEqual([
      'mkdirat(AT_FDCWD, "0", 0700)',
      'move_mount($layer, "", AT_FDCWD, "0", MOVE_MOUNT_F_EMPTY_PATH)',
    ]);
    expect(callsOf(old, 'making a place for layers')).toEqual([
      'mount("silt-layers", "/run/silt/pod/web/rootfs", "tmpfs", MS_NOSUID|MS_NODEV|MS_NOEXEC, "mode=700,size=1m")',
      'chdir("/run/silt/pod/web/rootfs")',
      'mkdirat(AT_FDCWD, "uppers", 0700)',
      'move_mount(<upper>, "", AT_FDCWD, "uppers", MOVE_MOUNT_F_EMPTY_PATH)',
    ]);
    expect(callsOf(old, 'mounting the overlay')).toEqual([
      'mkdirat(AT_FDCWD, "1", 0700)',
      'mount("overlay", "1", "overlay", MS_NODEV, "lowerdir=0,upperdir=uppers/fs,workdir=uppers/work,redirect_dir=nofollow,metacopy=off,index=off")',
      'openat(AT_FDCWD, "1", O_PATH|O_DIRECTORY|O_CLOEXEC, 00) = $overlay',
    ]);
    expect(callsOf(old, 'handing the upper over')).toEqual([
      'open_tree(<upper>, "", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_EMPTY_PATH) = $upper_to_keep',
      'close($upper_to_keep)',
    ]);
  });

  test('of an older kernel is not misled by what separates options in the name of an upper', () => {
    const old = { attachLayers: true, upper: { fs: 'a,b:c', work: 'work\\' } };
    expect(callsOf(old, 'mounting the overlay')[1]).toContain(
      String.raw`lowerdir=0:1,upperdir=uppers/a\\,b\\:c,workdir=uppers/work\\\\,`,
    );
  });

  test('needs a layer', () => {
    expect(refusal(() => programOf({ layers: [] }))).toEqual({
      code: 'ROOTFS_INVALID',
      message: 'a root filesystem needs at least one layer',
      details: {},
    });
  });
});

describe('a mount', () => {
  const ATTACH = 'MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH';
  const AT_TARGET = 'RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS}, 24)';

  test.each<[string, MountStep, Partial<RootPlan>, string[]]>([
    [
      'of a filesystem is configured, made, owned and attached',
      filesystem('mqueue', ['nosuid', 'ro'], {
        data: [
          ['source', 'mqueue'],
          ['flag', undefined],
        ],
        chown: { uid: 5, gid: 6 },
      }),
      {},
      [
        'fsopen("mqueue", FSOPEN_CLOEXEC) = $mqueue_fs',
        'fsconfig($mqueue_fs, FSCONFIG_SET_STRING, "source", "mqueue", 0)',
        'fsconfig($mqueue_fs, FSCONFIG_SET_FLAG, "flag", NULL, 0)',
        'fsconfig($mqueue_fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0)',
        'fsmount($mqueue_fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID|MOUNT_ATTR_RDONLY) = $mqueue',
        'fchownat($mqueue, "", 5, 6, AT_EMPTY_PATH)',
        `openat2($root, "mqueue", {O_PATH|O_DIRECTORY|O_CLOEXEC, ${AT_TARGET} = $mqueue`,
        `move_mount($mqueue, "", $mqueue, "", ${ATTACH})`,
      ],
    ],
    [
      'of a host’s directory is one mount with its flags',
      bind(['bind', 'ro', 'dev']),
      {},
      [
        'open_tree(AT_FDCWD, "/volumes/data", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = $bind',
        'mount_setattr($bind, "", AT_EMPTY_PATH, {set=MOUNT_ATTR_RDONLY, clear=MOUNT_ATTR_NODEV}, 32)',
        `openat2($root, "data", {O_PATH|O_DIRECTORY|O_CLOEXEC, ${AT_TARGET} = $data`,
        `move_mount($bind, "", $data, "", ${ATTACH})`,
      ],
    ],
    [
      'of a host’s tree has all that is mounted below, idmapped',
      bind(['rbind', 'rro', 'rshared'], { idmap: { userns: 'userns', recursive: true } }),
      {},
      [
        'mount_setattr($bind, "", AT_EMPTY_PATH|AT_RECURSIVE, {set=MOUNT_ATTR_IDMAP, userns}, 32)',
        `openat2($root, "data", {O_PATH|O_DIRECTORY|O_CLOEXEC, ${AT_TARGET} = $data`,
        `move_mount($bind, "", $data, "", ${ATTACH})`,
        'mount_setattr($bind, "", AT_EMPTY_PATH|AT_RECURSIVE, {set=0, propagation=MS_SHARED}, 32)',
        'mount_setattr($bind, "", AT_EMPTY_PATH|AT_RECURSIVE, {set=MOUNT_ATTR_RDONLY}, 32)',
      ],
    ],
    [
      'of a host’s file is attached to a file',
      bind([], { directory: false }),
      {},
      [
        'open_tree(AT_FDCWD, "/volumes/data", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = $bind',
        `openat2($root, "data", {O_PATH|O_CLOEXEC, ${AT_TARGET} = $data`,
        `move_mount($bind, "", $data, "", ${ATTACH})`,
      ],
    ],
    [
      'has the recursive propagation of the root when it asks for none',
      bind([]),
      { propagation: { type: C.MS_SLAVE, recursive: true } },
      [
        'open_tree(AT_FDCWD, "/volumes/data", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = $bind',
        `openat2($root, "data", {O_PATH|O_DIRECTORY|O_CLOEXEC, ${AT_TARGET} = $data`,
        `move_mount($bind, "", $data, "", ${ATTACH})`,
        'mount_setattr($bind, "", AT_EMPTY_PATH|AT_RECURSIVE, {set=0, propagation=MS_SLAVE}, 32)',
      ],
    ],
    [
      'has its own propagations, in their order, rather than the root’s',
      bind(['shared', 'slave']),
      { propagation: { type: C.MS_PRIVATE, recursive: true } },
      [
        `openat2($root, "data", {O_PATH|O_DIRECTORY|O_CLOEXEC, ${AT_TARGET} = $data`,
        `move_mount($bind, "", $data, "", ${ATTACH})`,
        'mount_setattr($bind, "", AT_EMPTY_PATH, {set=0, propagation=MS_SHARED}, 32)',
        'mount_setattr($bind, "", AT_EMPTY_PATH, {set=0, propagation=MS_SLAVE}, 32)',
      ],
    ],
  ])('%s', (_, step, parts, expected) => {
    const what = step.kind === 'bind' ? `mounting ${step.source}` : 'mounting';
    const calls = callsOf({ mounts: [step], ...parts }, what).filter(
      (call) => !/overlay|^(close|mkdirat|mknodat|openat)\(/.test(call),
    );
    expect(calls).toEqual(expected);
  });
});

test('cgroups of v1 are directories bound into a tmpfs, which is made read-only last', () => {
  const view = {
    directories: [{ name: 'cpu,cpuacct', hostPath: '/sys/fs/cgroup/cpu,cpuacct/x' }],
    links: [{ name: 'cpu', target: 'cpu,cpuacct' }],
  };
  const step: MountStep = { kind: 'cgroup-v1', destination: '/cg', options: parseMountOptions(['ro', 'nosuid']), view };
  const calls = callsOf({ mounts: [step] }, 'mounting the c').filter((call) => !call.startsWith('close'));
  expect(calls).toEqual([
    'fsopen("tmpfs", FSOPEN_CLOEXEC) = $tmpfs_fs',
    'fsconfig($tmpfs_fs, FSCONFIG_SET_STRING, "mode", "755", 0)',
    'fsconfig($tmpfs_fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0)',
    'fsmount($tmpfs_fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID) = $cgroups',
    'mkdirat($root, "cg", 0755) = $made  (may fail with EEXIST, EROFS)',
    'openat2($root, "cg", {O_PATH|O_DIRECTORY|O_CLOEXEC, RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS}, 24) = $cg',
    'move_mount($cgroups, "", $cg, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)',
    'open_tree(AT_FDCWD, "/sys/fs/cgroup/cpu,cpuacct/x", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = $cgroup',
    'mount_setattr($cgroup, "", AT_EMPTY_PATH, {set=MOUNT_ATTR_NOSUID|MOUNT_ATTR_RDONLY}, 32)',
    'mkdirat($cgroups, "cpu,cpuacct", 0755)  (may fail with EEXIST)',
    'openat($cgroups, "cpu,cpuacct", O_PATH|O_DIRECTORY|O_CLOEXEC, 0) = $target',
    'move_mount($cgroup, "", $target, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)',
    'symlinkat("cpu,cpuacct", $cgroups, "cpu")  (may fail with EEXIST)',
    'mount_setattr($cgroups, "", AT_EMPTY_PATH, {set=MOUNT_ATTR_RDONLY}, 32)',
  ]);
});

test('sysctls are written to their files, dots being slashes', () => {
  expect(callsOf({ sysctls: [['net.ipv4.ip_forward', '1']] }, 'setting the sysctl')).toEqual([
    'openat(AT_FDCWD, "/proc/sys/net/ipv4/ip_forward", O_WRONLY|O_CLOEXEC, 00) = $fd',
    'write($fd, "1", 1)  (until all is done)',
    'close($fd)  (may fail)',
  ]);
  expect(callsOf({ sysctls: [['net/ipv4/conf/eth0.7/forwarding', '1']] }, 'setting the sysctl')[0]).toMatch(
    /^openat\(AT_FDCWD, "\/proc\/sys\/net\/ipv4\/conf\/eth0\.7\/forwarding"/,
  );
});

describe('a device', () => {
  const device = { path: '/dev/fuse', type: 'S_IFCHR', major: 10, minor: 229, mode: 0o600 } as const;

  test('is made with its mode, whatever the umask, and left alone where something is already', () => {
    const calls = callsOf({ devices: [{ ...device, owner: { uid: 0, gid: 0 } }] }, 'making the device');
    expect(calls.slice(2)).toEqual([
      'mknodat($dev, "fuse", S_IFCHR|0600, makedev(10, 229)) = $made  (may fail with EEXIST)',
      expect.stringMatching(/^if \$made != 0 go to \d+$/),
      'close($dev)  (may fail)',
    ]);
    const all = callsOf({ devices: [{ ...device, owner: { uid: 0, gid: 0 } }] }, '');
    const order = all.filter((call) => /^(umask|mknodat\(\$dev, "fuse")/.test(call));
    expect(order.map((call) => call.slice(0, 12))).toEqual(['umask(0) = $', 'mknodat($dev', 'umask($umask']);
  });

  test('of somebody is given to them', () => {
    const calls = callsOf({ devices: [{ ...device, owner: { uid: 0, gid: 4 } }] }, 'making the device');
    expect(calls[4]).toBe('fchownat($dev, "fuse", 0, 4, AT_SYMLINK_NOFOLLOW)');
  });

  test('in the root directory itself is possible', () => {
    const calls = callsOf({ devices: [{ ...device, path: '/fuse', owner: { uid: 0, gid: 0 } }] }, 'making the device');
    expect(calls.slice(0, 2)).toEqual([
      'openat2($root, ".", {O_PATH|O_DIRECTORY|O_CLOEXEC, RESOLVE_IN_ROOT}, 24) = $root',
      'mknodat($root, "fuse", S_IFCHR|0600, makedev(10, 229)) = $made  (may fail with EEXIST)',
    ]);
  });
});

test('the symlinks of /dev are those of the OCI spec and the container’s own ptmx', () => {
  const calls = callsOf({ deviceLinks: true, owner: { uid: 7, gid: 8 } }, 'making the symlinks');
  expect(calls.filter((call) => call.startsWith('symlinkat'))).toEqual([
    'symlinkat("pts/ptmx", $dev, "ptmx")  (may fail with EEXIST)',
    'symlinkat("/proc/self/fd", $dev, "fd")  (may fail with EEXIST)',
    'symlinkat("/proc/self/fd/0", $dev, "stdin")  (may fail with EEXIST)',
    'symlinkat("/proc/self/fd/1", $dev, "stdout")  (may fail with EEXIST)',
    'symlinkat("/proc/self/fd/2", $dev, "stderr")  (may fail with EEXIST)',
  ]);
  expect(calls.filter((call) => call === 'fchownat($dev, "fd", 7, 8, AT_SYMLINK_NOFOLLOW)')).toHaveLength(1);
});

test('a terminal is the first of the container’s own devpts, belongs to the user, and is the console', () => {
  const calls = callsOf({ terminal: { uid: 1000, gid: 1001 } }, 'opening a terminal');
  expect(calls.filter((call) => !/^(close|openat2|mkdirat|mknodat)/.test(call))).toEqual([
    'openat($mounted, "ptmx", O_RDWR|O_NOCTTY|O_CLOEXEC|O_NOFOLLOW, 0) = $master',
    'ioctl($master, TIOCSPTLCK, {0})',
    'ioctl($master, TIOCGPTPEER, O_PATH|O_CLOEXEC) = $slave',
    'fchownat($slave, "", 1000, 1001, AT_EMPTY_PATH)',
    'fchmodat(-100, "/proc/self/fd/$slave", 0620)',
    'open_tree($slave, "", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_EMPTY_PATH) = $console',
    'move_mount($console, "", $console, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)',
  ]);
  expect(calls).toContain('close($master)');
});

test('at the end the host’s filesystem is gone and the root has its propagation, which pivot_root would refuse before', () => {
  const calls = listProgram(programOf({ propagation: { type: C.MS_SHARED, recursive: true } })).map(({ call }) => call);
  expect(calls.slice(-6)).toEqual([
    'fchdir($root)',
    'pivot_root(".", ".")',
    'umount2(".", MNT_DETACH)',
    'chdir("/")',
    'mount("none", "/", 0, MS_SHARED, 0)',
    'close($root)  (may fail)',
  ]);
});

test('a mount that the host shall see the container’s mounts in is opened while the gofer is the host’s peer', () => {
  const calls = callsOf({ mounts: [bind(['rbind', 'rshared'])] }, '').filter((call) =>
    /^(open_tree|mount)\(/.test(call),
  );
  expect(calls.slice(0, 2)).toEqual([
    'open_tree(AT_FDCWD, "/volumes/data", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_RECURSIVE) = $bind',
    'mount("none", "/", NULL, MS_REC|MS_SLAVE, NULL)',
  ]);
});

describe('in a copy of the mount namespace, of the shared mounts', () => {
  const sharedAgain = (mounts: MountStep[]): string[] => {
    const p = new ProgramBuilder();
    shareAgain(p, { mounts });
    return listProgram(p.build())
      .filter(({ call }) => call.startsWith('mount_setattr'))
      .map(({ step }) => step);
  };
  const shared = (destination: string): BindStep => bind(['rbind', 'rshared'], { destination });
  const remount: MountStep = { kind: 'remount', destination: '/mnt/x', data: [], options: parseMountOptions(['ro']) };

  test.each<[string, MountStep[]]>([
    ['each that is alone at its place', [shared('/mnt/x')]],
    ['the mount above a later one', [shared('/mnt/x'), filesystem('tmpfs', [], { destination: '/mnt/x/y' })]],
    ['one beside another', [shared('/mnt/x'), filesystem('tmpfs', [], { destination: '/mnt/xy' })]],
    ['one that gets other options', [shared('/mnt/x'), remount]],
    ['the upper one of a place alone', [shared('/mnt/x'), shared('/mnt/x')]],
  ])('%s is shared again', (_, mounts) => {
    expect(sharedAgain(mounts)).toEqual(['sharing /mnt/x again']);
  });

  test.each(['/mnt/x', '/mnt', '/'])('one that a later mount on %s hides is not', (destination) => {
    expect(sharedAgain([shared('/mnt/x'), filesystem('tmpfs', [], { destination })])).toEqual([]);
  });
});
