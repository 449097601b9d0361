import { loadNative } from '../../native';
import type { Mount } from '../../oci';
import { Kernel, type Program } from '../../syscall';
import { type Config, parseConfig } from '../config/config';
import { ctrSpec, type SpecChanges, WITH_SECCOMP } from '../ctr-spec.fixture';
import { planContainer } from './plan';
import { planPrograms } from './programs';
import { launchProgram } from '../programs/launch';
import { absolutePaths, callsIn, checkByInterpreter, processesOf, sequenceOf } from '../programs/testing';
import { FixedHost } from '../recorded-host.fixture';
import { StateDirectory } from '../state/state';

const USERNS = ['none', 'auto'] as const;
const CGROUPS = ['v1', 'v2', 'hybrid'] as const;
const LAUNCHER = 'helper/launcher';

const configs: Record<(typeof USERNS)[number], Config> = {
  none: parseConfig('userns = "none"', 'config.toml'),
  auto: parseConfig('userns = "auto"\nuserns-first-id = 1000000', 'config.toml'),
};

interface Setting {
  readonly userns?: (typeof USERNS)[number];
  readonly cgroups?: (typeof CGROUPS)[number];
}

const workshopOf = ({ userns = 'none', cgroups = 'v2' }: Setting) => ({
  kernel: new Kernel(loadNative(), -1),
  host: new FixedHost(cgroups),
  config: configs[userns],
  state: new StateDirectory('/run/silt/default'),
});

/** The programs that start the fixture's container, with changes to its spec. */
function programs(setting: Setting, changes?: SpecChanges): Record<'sandbox' | 'container', Program> {
  const request = {
    id: 'web',
    bundle: '/bundle',
    spec: ctrSpec(changes),
    rootfs: { layers: ['/layers/2', '/layers/1'], own: undefined },
  };
  return planPrograms(workshopOf(setting), request);
}

/** Specs whose programs differ in shape. */
const VARIANTS: readonly (readonly [string, SpecChanges])[] = [
  ['as ctr writes it', {}],
  ['with a terminal', { process: { terminal: true } }],
  ['with a name to look for', { process: { args: ['sh', '-c', 'true'] } }],
  ['with seccomp', { linux: WITH_SECCOMP }],
  ['with seccomp and without no_new_privs', { linux: WITH_SECCOMP, process: { noNewPrivileges: false } }],
  [
    'with volumes and devices',
    {
      mounts: [
        { destination: '/data', type: 'bind', source: '/volumes/data', options: ['rbind', 'rro', 'rshared'] },
        { destination: '/etc/hosts', type: 'bind', source: '/volumes/a.hosts', options: ['bind', 'ro'] },
        { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro', 'nosuid'] },
      ],
      linux: {
        devices: [{ path: '/dev/fuse', type: 'c', major: 10, minor: 229, fileMode: 0o600 }],
        sysctl: { 'net.core.somaxconn': '1024' },
      },
    },
  ],
  [
    'with all that host root has to prepare',
    {
      process: { oomScoreAdj: -900, rlimits: [{ type: 'RLIMIT_NOFILE', soft: 1024, hard: 1_048_576 }] },
    },
  ],
  ['in the namespaces of the host', { linux: { namespaces: [{ type: 'mount' }], sysctl: {} } }],
];

describe.each(USERNS)('with userns = %s', (userns) => {
  describe.each(CGROUPS)('on a %s host', (cgroups) => {
    test.each(VARIANTS)('a spec %s gives programs that the interpreter takes', (_, changes) => {
      const { sandbox, container } = programs({ userns, cgroups }, changes);
      for (const program of [sandbox, container]) {
        checkByInterpreter(program);
        expect(program.slots.length).toBeLessThanOrEqual(256);
      }
    });
  });

  test('200 volumes are nothing special', () => {
    const mounts = Array.from({ length: 200 }, (_, i): Mount => ({
      destination: `/volumes/a/${i}/deep/down`,
      type: 'bind',
      source: `/host/volume-${i}`,
      options: ['rbind', 'ro', 'rslave'],
    }));
    const { container } = programs({ userns }, { mounts });
    checkByInterpreter(container);
    expect(container.slots.length).toBeLessThan(64);
    expect(callsIn(container, 'gofer').filter((call) => call.includes('"/host/volume-'))).toHaveLength(200);
  });
});

describe('what a program touches of the host is on a short list', () => {
  const CONTAINER = {
    starter: [': mkdirat /web', ': move_mount /web'],
    gofer: [
      'gofer: openat /proc/self',
      'gofer: mount /',
      'gofer: open_tree /layers/2',
      'gofer: open_tree /layers/1',
      'gofer: move_mount /bundle/rootfs',
      'gofer: openat /bundle/rootfs',
      'gofer: symlinkat /proc/self/fd',
      'gofer: symlinkat /proc/self/fd/0',
      'gofer: symlinkat /proc/self/fd/1',
      'gofer: symlinkat /proc/self/fd/2',
      'gofer: open_tree /dev/null',
      'gofer: chdir /',
    ],
    launcher: [
      `${LAUNCHER}: chdir /`,
      `${LAUNCHER}: faccessat2 /bin/sh/.`,
      `${LAUNCHER}: faccessat2 /bin/sh`,
      `${LAUNCHER}: execve /bin/sh`,
    ],
  };
  test.each(USERNS)('of the container’s, with userns = %s', (userns) => {
    const cgroup = ': openat /sys/fs/cgroup/default/web';
    const expected = [cgroup, ...CONTAINER.launcher, ...CONTAINER.gofer, ...CONTAINER.starter];
    expect(absolutePaths(programs({ userns }).container)).toEqual(expected);
  });

  test('of the container’s cgroup on a v1 host: its files, the freezer’s last', () => {
    const paths = absolutePaths(programs({ cgroups: 'v1' }).container).filter((path) => path.startsWith('helper: '));
    const names = ['systemd', 'cpu,cpuacct', 'memory', 'cpuset', 'devices', 'blkio', 'pids', 'hugetlb'];
    expect(paths).toEqual(
      [...names, 'net_cls,net_prio', 'rdma', 'freezer'].map(
        (name) => `helper: openat /sys/fs/cgroup/${name}/default/web/tasks`,
      ),
    );
  });

  test('of a bind mount its source, of a sysctl its file', () => {
    const before = absolutePaths(programs({}).container);
    const after = absolutePaths(
      programs({}, VARIANTS.find(([name]) => name === 'with volumes and devices')![1]).container,
    );
    expect(after.filter((path) => !before.includes(path))).toEqual([
      // With shared propagation: while the gofer's mounts are still the host's peers.
      'gofer: open_tree /volumes/data',
      'gofer: openat /proc/sys/net/core/somaxconn',
      'gofer: open_tree /volumes/a.hosts',
    ]);
  });

  test('of the sandbox, which sees an empty directory in the end', () => {
    const paths = ['sandbox: mount /', 'sandbox: mount /proc', 'sandbox: chdir /proc', 'sandbox: chdir /'];
    expect(absolutePaths(programs({ userns: 'none' }).sandbox)).toEqual(paths);
    expect(absolutePaths(programs({ userns: 'auto' }).sandbox)).toEqual([
      ...paths,
      ': openat /proc/$sandbox_pid/uid_map',
      ': openat /proc/$sandbox_pid/gid_map',
    ]);
  });
});

describe('the container’s program', () => {
  test('has three short-lived processes and the launcher', () => {
    expect(processesOf(programs({}).container)).toEqual(['', 'helper', LAUNCHER, 'gofer']);
  });

  test('is given the same fds each time, by name', () => {
    const donations = (userns: (typeof USERNS)[number]) => programs({ userns }).container.donations;
    expect(donations('none')).toEqual(['sandbox', 'upper', 'stdin', 'stdout', 'stderr', 'start']);
    expect(donations('auto')).toEqual(['sandbox', 'upper', 'userns', 'stdin', 'stdout', 'stderr', 'start']);
    expect(programs({}, { process: { terminal: true } }).container.donations).toEqual(['sandbox', 'upper', 'start']);
  });

  test.each(USERNS)('is hidden from the pod from its first instruction on, with userns = %s', (userns) => {
    const { sandbox, container } = programs({ userns });
    expect([callsIn(sandbox, '')[0], callsIn(container, '')[0]]).toEqual(
      Array(2).fill('prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)'),
    );
  });
});

describe('the ids', () => {
  const ids = /^(setgroups|setresgid|setresuid|setfsgid|setfsuid)\(.*\)$/;
  const user = { uid: 1000, gid: 100, additionalGids: [7, 8] };
  const idsIn = (setting: Setting, process: string): string[] =>
    sequenceOf(callsIn(programs(setting, { process: { user } }).container, process), ids);

  test.each(USERNS)('that the launcher drops to are the process’s, with userns = %s', (userns) => {
    expect(idsIn({ userns }, LAUNCHER)).toEqual([
      'setgroups(2, [7,8])',
      'setresgid(100, 100, 100)',
      'setresuid(1000, 1000, 1000)',
    ]);
  });

  test('of a process without groups are none but its own', () => {
    const { container } = programs({}, { process: { user: { uid: 5, gid: 6 } } });
    expect(sequenceOf(callsIn(container, LAUNCHER), ids)).toEqual([
      'setgroups(0, [])',
      'setresgid(6, 6, 6)',
      'setresuid(5, 5, 5)',
    ]);
  });

  test('of the helper become the pod’s root when it enters a user namespace, and not otherwise', () => {
    expect(idsIn({ userns: 'none' }, 'helper')).toEqual([]);
    expect(idsIn({ userns: 'auto' }, 'helper')).toEqual([
      'setgroups(0, [])',
      'setresgid(0, 0, 0)',
      'setresuid(0, 0, 0)',
    ]);
  });

  test('of the gofer stay host root’s, but for those of the files that it makes', () => {
    expect(idsIn({ userns: 'none' }, 'gofer')).toEqual([]);
    expect(idsIn({ userns: 'auto' }, 'gofer')).toEqual(['setfsgid(1000000)', 'setfsuid(1000000)']);
  });

  test('under which the upper is kept are the pod’s root’s, as the host numbers them', () => {
    expect(idsIn({ userns: 'none' }, '')).toEqual(['setfsgid(0)', 'setfsuid(0)']);
    expect(idsIn({ userns: 'auto' }, '')).toEqual(['setfsgid(1000000)', 'setfsuid(1000000)']);
  });

  test('of a sandbox are its user namespace’s root', () => {
    const idsOf = (userns: (typeof USERNS)[number]) =>
      sequenceOf(callsIn(programs({ userns }).sandbox, 'sandbox'), ids);
    expect(idsOf('none')).toEqual([]);
    expect(idsOf('auto')).toEqual(['setgroups(0, [])', 'setresgid(0, 0, 0)', 'setresuid(0, 0, 0)']);
  });
});

describe('the launcher’s last steps', () => {
  const landmarks =
    /^(setsid|dup3|chdir|umask|prctl\(PR_SET_NO_NEW_PRIVS|prctl\(PR_CAPBSET_DROP|seccomp|prctl\(PR_SET_KEEPCAPS, \d|setgroups|setresgid|setresuid|capset|prlimit64|close_range|faccessat2|sendmsg|read|execve)/;
  const stepsOf = (changes: SpecChanges, setting: Setting = {}): string[] =>
    sequenceOf(callsIn(programs(setting, { ...changes, linux: WITH_SECCOMP }).container, LAUNCHER), landmarks);
  const DROPPING = [
    'prctl(PR_SET_KEEPCAPS, 1',
    'setgroups',
    'setresgid',
    'setresuid',
    'prctl(PR_SET_KEEPCAPS, 0',
    'capset',
    'prlimit64',
    'close_range',
    'faccessat2',
  ];

  test.each(USERNS)('with no_new_privs have the filter last, after the start, with userns = %s', (userns) => {
    expect(stepsOf({}, { userns })).toEqual([
      'setsid',
      'dup3',
      'chdir',
      'umask',
      'prctl(PR_SET_NO_NEW_PRIVS',
      'prctl(PR_CAPBSET_DROP',
      ...DROPPING,
      'sendmsg',
      'read',
      'seccomp',
      'execve',
    ]);
  });

  test.each(USERNS)(
    'without it have the filter last too, and drop the right to install one behind it, with userns = %s',
    (userns) => {
      expect(stepsOf({ process: { noNewPrivileges: false } }, { userns })).toEqual([
        'setsid',
        'dup3',
        'chdir',
        'umask',
        'prctl(PR_CAPBSET_DROP',
        ...DROPPING,
        'sendmsg',
        'read',
        'seccomp',
        'capset',
        'execve',
      ]);
    },
  );

  test('drop every capability from the bounding set that the spec does not list', () => {
    const dropped = callsIn(programs({}).container, LAUNCHER).filter((call) => call.includes('PR_CAPBSET_DROP'));
    // 41 capabilities, CAP_CHECKPOINT_RESTORE being the last; ctr leaves 14.
    expect(dropped).toHaveLength(41 - 14);
    expect(dropped).toContain('prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0)');
    expect(dropped).not.toContain('prctl(PR_CAPBSET_DROP, CAP_CHOWN, 0, 0, 0)');
  });

  test('set the sets of the spec, and raise what is ambient', () => {
    const chown = ['CAP_CHOWN'];
    const capabilities = { bounding: chown, effective: chown, permitted: chown, inheritable: chown, ambient: chown };
    const calls = callsIn(programs({}, { process: { capabilities } }).container, LAUNCHER);
    const at = calls.indexOf('capset({_LINUX_CAPABILITY_VERSION_3, 0}, {e=0x1, p=0x1, i=0x1})');
    expect(calls[at + 1]).toBe('prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 0, 0, 0)');
  });

  test('look through PATH in its order, and execute what was found', () => {
    const { container } = programs({}, { process: { args: ['tool', '-v'], env: ['PATH=/a:/b', 'HOME=/'] } });
    const calls = callsIn(container, LAUNCHER);
    expect(sequenceOf(calls, /^(faccessat2\(AT_FDCWD, "[^"]*"|execve.*)/)).toEqual([
      'faccessat2(AT_FDCWD, "/a/tool/."',
      'faccessat2(AT_FDCWD, "/a/tool"',
      'faccessat2(AT_FDCWD, "/b/tool/."',
      'faccessat2(AT_FDCWD, "/b/tool"',
      'execve("/a/tool", ["tool","-v"], ["PATH=/a:/b","HOME=/"])',
      'execve("/b/tool", ["tool","-v"], ["PATH=/a:/b","HOME=/"])',
    ]);
  });

  test('die with the shim only where no pid namespace ends them', () => {
    const dies = (namespaces: string[]) =>
      callsIn(
        programs({}, { linux: { namespaces: namespaces.map((type) => ({ type })) } as SpecChanges['linux'] & object })
          .container,
        LAUNCHER,
      ).some((call) => call.startsWith('prctl(PR_SET_PDEATHSIG, 9'));
    expect([dies(['mount', 'pid']), dies(['mount'])]).toEqual([false, true]);
  });
});

describe('a hard limit above silt’s own', () => {
  const rlimits = [
    { type: 'RLIMIT_NOFILE', soft: 10, hard: 1_000_000 },
    { type: 'RLIMIT_NPROC', soft: 5, hard: 6 },
  ];

  test('is raised by host root before the pod is entered, and set by the launcher', () => {
    const { container } = programs({ userns: 'auto' }, { process: { rlimits } });
    expect(sequenceOf(callsIn(container, 'helper'), /^(prlimit64.*|setns.*CLONE_NEWUSER)/)).toEqual([
      'prlimit64(0, RLIMIT_NOFILE, {1000000, 1000000}, NULL)',
      'setns(<sandbox>, CLONE_NEWUSER',
    ]);
    expect(sequenceOf(callsIn(container, LAUNCHER), /^prlimit64.*/)).toEqual([
      'prlimit64(0, RLIMIT_NOFILE, {10, 1000000}, NULL)',
      'prlimit64(0, RLIMIT_NPROC, {5, 6}, NULL)',
    ]);
  });
});

describe('namespaces', () => {
  const joins = (container: Program): Record<string, string[]> =>
    Object.fromEntries(
      processesOf(container).map((process) => [
        process,
        sequenceOf(callsIn(container, process), /^(setns|unshare)\(.*\)$/),
      ]),
    );

  test('of a usual pod: its own, and a new pid namespace for the container', () => {
    const { container } = programs({});
    expect(joins(container)).toEqual({
      '': [
        'unshare(CLONE_NEWNS)',
        'setns(<sandbox>, CLONE_NEWPID)',
        'setns($launcher_fd0, CLONE_NEWIPC|CLONE_NEWUTS|CLONE_NEWNET|CLONE_NEWPID)',
        'setns(<sandbox>, CLONE_NEWNS)',
      ],
      helper: ['setns(<sandbox>, CLONE_NEWNET|CLONE_NEWIPC|CLONE_NEWUTS)'],
      [LAUNCHER]: ['setns($root_fd0, CLONE_NEWNS)'],
      gofer: [],
    });
    expect(
      callsIn(container, 'helper').some((call) =>
        call.startsWith('clone3({flags=CLONE_PARENT|CLONE_NEWPID|CLONE_PIDFD'),
      ),
    ).toBe(true);
  });

  test('of a pod with a user namespace: entered by the helper, and by the gofer to lock the finished root', () => {
    expect(joins(programs({ userns: 'auto' }).container)).toMatchObject({
      helper: ['setns(<sandbox>, CLONE_NEWUSER|CLONE_NEWNET|CLONE_NEWIPC|CLONE_NEWUTS)'],
      gofer: ['setns(<userns>, CLONE_NEWUSER)', 'unshare(CLONE_NEWNS)'],
    });
  });

  test('of a pod that shares all with the host: a mount namespace and nothing else', () => {
    const { container } = programs({ userns: 'auto' }, { linux: { namespaces: [{ type: 'mount' }] } });
    expect(joins(container)).toMatchObject({ helper: [], gofer: [] });
    expect(
      callsIn(container, 'helper').some((call) => call.startsWith('clone3({flags=CLONE_PARENT|CLONE_PIDFD,')),
    ).toBe(true);
  });

  test('a cgroup namespace is made by the launcher’s clone, and the gofer joins it', () => {
    const types = ['pid', 'ipc', 'uts', 'mount', 'network', 'cgroup'] as const;
    const { container } = programs({}, { linux: { namespaces: types.map((type) => ({ type })) } });
    expect(joins(container)['']?.[2]).toBe(
      'setns($launcher_fd0, CLONE_NEWIPC|CLONE_NEWUTS|CLONE_NEWNET|CLONE_NEWPID|CLONE_NEWCGROUP)',
    );
    expect(callsIn(container, 'helper').some((call) => call.includes('CLONE_NEWPID|CLONE_NEWCGROUP|CLONE_PIDFD'))).toBe(
      true,
    );
  });
});

describe('what cannot be planned is refused before anything is made', () => {
  const plan = (changes: SpecChanges) =>
    planContainer(
      workshopOf({}),
      { idMaps: null, namespaces: { network: true, ipc: true, uts: true } },
      {
        id: 'web',
        bundle: '/bundle',
        spec: { ...ctrSpec(changes) },
        rootfs: { layers: ['/layers/1'], own: undefined },
      },
      '/mnt',
    );

  test('a container without a process', () => {
    const request = {
      id: 'web',
      bundle: '/bundle',
      spec: { ociVersion: '1.2.0' },
      rootfs: { layers: ['/layers/1'], own: undefined },
    };
    const pod = { idMaps: null, namespaces: { network: true, ipc: true, uts: true } };
    expect(() => planContainer(workshopOf({}), pod, request, '/mnt')).toThrow(
      expect.objectContaining({ code: 'SPEC_INVALID', details: { jsonPath: '$.process' } }) as Error,
    );
  });

  test('the plan’s program is the one that is launched', () => {
    const { launch } = plan({});
    expect(callsIn(launchProgram(launch), LAUNCHER)).toEqual(callsIn(programs({}).container, LAUNCHER));
  });
});

describe('the gofer', () => {
  const DOWN = /^(close\(<[a-z]+>|capset|seccomp|mount\("none", "\/")/;
  test('lets go of the fds of others and of most capabilities, and confines itself, before it opens anything', () => {
    const [closed, rest] = [
      ['close(<stdin>', 'close(<stdout>', 'close(<stderr>', 'close(<start>', 'close(<sandbox>'],
      ['capset', 'seccomp', 'mount("none", "/"'],
    ];
    expect(sequenceOf(callsIn(programs({}).container, 'gofer'), DOWN)).toEqual([...closed, ...rest]);
    const before = callsIn(programs({}).container, 'gofer').slice(0, 9);
    expect(before.filter((call) => call.startsWith('open'))).toEqual([expect.stringContaining('"/proc/self"')]);
  });

  test('keeps what mounting and the overlay need, of what silt itself has', () => {
    const capset = (own: bigint): string => {
      class Confined extends FixedHost {
        override get ownCapabilities(): bigint {
          return own;
        }
      }
      const workshop = { ...workshopOf({}), host: new Confined('v2') };
      const rootfs = { layers: ['/layers/1'], own: undefined };
      const request = { id: 'web', bundle: '/bundle', spec: ctrSpec(), rootfs };
      const calls = callsIn(planPrograms(workshop, request).container, 'gofer');
      return calls.find((call) => call.startsWith('capset'))!;
    };
    const kept = [0, 1, 2, 3, 4, 6, 7, 8, 9, 12, 18, 21, 27, 31, 32, 33].reduce(
      (mask, n) => mask | (1n << BigInt(n)),
      0n,
    );
    expect(capset((1n << 41n) - 1n)).toContain(`p=0x${kept.toString(16)}, i=0x0`);
    expect(capset(0x2n)).toContain('{e=0x2, p=0x2, i=0x0}');
  });

  test('has no system call for sockets of its own, for processes, or for programs', () => {
    const calls = callsIn(programs({ userns: 'auto' }).container, 'gofer');
    const after = calls.slice(calls.findIndex((call) => call.startsWith('seccomp')) + 1);
    const names = [
      ...new Set(after.map((call) => call.replace(/\(.*/s, '')).filter((name) => /^[a-z_0-9]+$/.test(name))),
    ];
    expect(names.filter((name) => /socket|connect|clone|fork|exec|kill|ptrace|set.?id/.test(name))).toEqual([]);
    expect(names.length).toBeLessThan(32);
  });
});

test('the starter confines itself once its last child is there, and the launcher never by its own filter', () => {
  const { container } = programs({});
  expect(sequenceOf(callsIn(container, ''), /^(clone3|seccomp|move_mount)/)).toEqual([
    'clone3',
    'seccomp',
    'move_mount',
  ]);
  expect(callsIn(container, 'helper').filter((call) => call.startsWith('seccomp'))).toEqual([]);
});
