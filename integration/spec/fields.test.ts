/** Members of the spec that the kernel shows to the process itself: what it finds with silt, in both modes of `userns`, and with runc. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BundleChanges, commandLineSuite, type Runtime } from '../harness';

interface Field {
  readonly name: string;
  readonly changes: BundleChanges;
  /** Members of the spec itself. */
  readonly spec?: object;
  readonly script: string;
  /** What it prints, blanks and lines joined by one blank. */
  readonly found: string | RegExp;
}

const SETS = ['bounding', 'effective', 'permitted', 'inheritable', 'ambient'];
const NAMESPACES = ['pid', 'network', 'ipc', 'uts', 'mount'].map((type) => ({ type }));
const ALLOW = [{ allow: true, access: 'rwm' }];
const RULES = [
  { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 95 },
  ...[
    { names: ['chmod'], index: 1 },
    { names: ['fchmodat', 'fchmodat2'], index: 2 },
  ].flatMap(({ names, index }) => [
    { names, action: 'SCMP_ACT_ERRNO', errnoRet: 1, args: [{ index, value: 0o777, op: 'SCMP_CMP_EQ' }] },
    { names, action: 'SCMP_ACT_ERRNO', errnoRet: 22, args: [{ index, value: 0o4000, valueTwo: 0o4000, op: 'SCMP_CMP_MASKED_EQ' }] }, // prettier-ignore
  ]),
];

const FIELDS: readonly Field[] = [
  {
    name: 'process.rlimits',
    changes: {
      process: {
        rlimits: [
          { type: 'RLIMIT_NOFILE', soft: 123, hard: 456 },
          { type: 'RLIMIT_CORE', soft: 0, hard: 0 },
        ],
      },
    },
    script: 'grep -E "open files|core file" /proc/self/limits',
    found: 'Max core file size 0 0 bytes Max open files 123 456 files',
  },
  {
    name: 'process.capabilities, ambient among them',
    changes: {
      process: {
        user: { uid: 1000, gid: 1000 },
        capabilities: Object.fromEntries(
          SETS.map((set) => [
            set,
            set === 'bounding' ? ['CAP_KILL', 'CAP_NET_BIND_SERVICE'] : ['CAP_NET_BIND_SERVICE'],
          ]),
        ),
      },
    },
    script: 'grep Cap /proc/self/status',
    found: 'CapInh: 0000000000000400 CapPrm: 0000000000000400 CapEff: 0000000000000400 CapBnd: 0000000000000420 CapAmb: 0000000000000400', // prettier-ignore
  },
  {
    name: 'process.user',
    changes: { process: { user: { uid: 1000, gid: 1001, additionalGids: [5, 70], umask: 0o27 } } },
    script: 'grep -E "^(Uid|Gid|Groups):" /proc/self/status; umask',
    found: 'Uid: 1000 1000 1000 1000 Gid: 1001 1001 1001 1001 Groups: 5 70 0027',
  },
  {
    name: 'process.noNewPrivileges',
    changes: { process: { noNewPrivileges: true } },
    script: 'grep NoNewPrivs /proc/self/status',
    found: 'NoNewPrivs: 1',
  },
  {
    name: 'process.oomScoreAdj',
    changes: { process: { oomScoreAdj: 777 } },
    script: 'cat /proc/self/oom_score_adj',
    found: '777',
  },
  { name: 'process.cwd', changes: { process: { cwd: '/made/for/it' } }, script: 'pwd', found: '/made/for/it' },
  {
    name: 'hostname',
    changes: {},
    spec: { hostname: 'a-name' },
    script: 'cat /proc/sys/kernel/hostname',
    found: 'a-name',
  },
  {
    name: 'root.readonly',
    changes: {},
    spec: { root: { path: 'rootfs', readonly: true } },
    script: 'echo x > /etc/x; true',
    found: /Read-only file system/,
  },
  {
    name: 'linux.sysctl',
    changes: { linux: { sysctl: { 'net.ipv4.ip_forward': '1', 'kernel.msgmax': '4321' } } },
    script: 'cd /proc/sys; cat net/ipv4/ip_forward kernel/msgmax',
    found: '1 4321',
  },
  {
    name: 'linux.maskedPaths and linux.readonlyPaths',
    changes: { linux: { maskedPaths: ['/etc', '/proc/keys', '/nowhere'], readonlyPaths: ['/proc/sys', '/nowhere'] } },
    script: 'ls -A /etc; cat /proc/keys; echo masked; echo 1 > /proc/sys/kernel/panic; true',
    found: /^masked .*\/proc\/sys\/kernel\/panic: Read-only file system$/,
  },
  {
    name: 'linux.devices',
    changes: {
      linux: {
        resources: { devices: ALLOW },
        devices: [
          { path: '/dev/mine', type: 'c', major: 1, minor: 5, fileMode: 0o644, uid: 3, gid: 4 },
          { path: '/dev/pipe', type: 'p', fileMode: 0o600, uid: 0, gid: 0 },
        ],
      },
    },
    script:
      'cd /dev; busybox stat -c "%n %F %a %u:%g %t:%T" mine pipe; busybox head -c 2 mine | busybox od -b | busybox head -1',
    found: 'mine character special file 644 3:4 1:5 pipe fifo 600 0:0 0:0 0000000 000 000',
  },
  {
    name: 'linux.seccomp, by errno and argument',
    changes: { linux: { seccomp: { defaultAction: 'SCMP_ACT_ALLOW', syscalls: RULES } } },
    script: 'cd /root; : > f; mkdir d; for mode in 777 4755 755; do busybox chmod $mode f; done; busybox stat -c %a f',
    found: /Operation not supported.*Operation not permitted.*Invalid argument 755$/,
  },
];

commandLineSuite('fields of the spec', (host) => {
  const bundleOf = ({ changes, spec, script }: Field): string => {
    const bundle = host().bundle(['sh', '-c', `(${script}) 2>&1`], changes);
    if (!spec) return bundle;
    const config = join(bundle, 'config.json');
    const now = JSON.parse(readFileSync(config, 'utf8')) as { root: { path: string } };
    const root = { ...now.root, ...(spec as { root?: object }).root, path: now.root.path };
    writeFileSync(config, JSON.stringify({ ...now, ...spec, root }));
    return bundle;
  };
  const found = async (runtime: Runtime, field: Field, ...flags: string[]): Promise<string> =>
    (await runtime.must([...flags, 'run', '--bundle', bundleOf(field), host().newId()])).trim().split(/\s+/).join(' ');

  test.each(FIELDS.map((field) => [field.name, field] as const))('%s: as with runc', async (_, field) => {
    const ofSilt = await found(host().silt, field, '--userns=none');
    if (typeof field.found === 'string') expect(ofSilt).toBe(field.found);
    else expect(ofSilt).toMatch(field.found);
    expect(await found(host().silt, field, '--userns=auto')).toBe(ofSilt);
    expect(await found(host().runc, field)).toBe(ofSilt);
  });

  test('a user namespace of the spec has its mappings, as with runc', async () => {
    const maps = [
      { containerID: 0, hostID: 200_000, size: 1000 },
      { containerID: 1000, hostID: 300_000, size: 64_536 },
    ];
    const field: Field = {
      name: '',
      changes: {
        namespaces: [...NAMESPACES, { type: 'user' }],
        linux: { uidMappings: maps, gidMappings: maps },
        // Whose files have ids in it with both runtimes.
        process: { user: { uid: 1000, gid: 0 } },
      },
      script: 'cat /proc/self/uid_map /proc/self/gid_map; grep Uid /proc/self/status',
      found: '',
    };
    const expected = ['0 200000 1000', '1000 300000 64536'].join(' ');
    const ofSilt = await found(host().silt, field);
    expect(ofSilt).toBe(`${expected} ${expected} Uid: 1000 1000 1000 1000`);
    // runc goes to the root filesystem as the container's root, who is nobody on the host.
    chmodSync(host().directory, 0o711);
    expect(await found(host().runc, field)).toBe(ofSilt);
    chmodSync(host().directory, 0o700);
  });

  const refusedIn = (name: string, changes: BundleChanges, words: RegExp): void => {
    test(`${name} is refused by name, with what the host has of it`, async () => {
      const { code, stderr } = await host().silt.run([
        'run',
        '--bundle',
        host().bundle(['true'], changes),
        host().newId(),
      ]);
      expect(code).not.toBe(0);
      expect(stderr).toContain(`$.${name}`);
      expect(stderr).toMatch(words);
    });
  };
  const resctrl = readFileSync('/proc/self/mounts', 'utf8').includes(' resctrl ');
  if (resctrl) test.skip('linux.intelRdt is refused [skipped: this host has resctrl]', () => undefined);
  else
    refusedIn(
      'linux.intelRdt',
      { linux: { intelRdt: { closID: 'x' } } },
      /no resctrl filesystem is mounted on this host; .*\(HOST_UNSUPPORTED\)/,
    );
  for (const [name, module, changes, offer] of [
    ['process.apparmorProfile', 'AppArmor', { process: { apparmorProfile: 'some' } }, '/sys/kernel/security/apparmor'],
    ['process.selinuxLabel', 'SELinux', { process: { selinuxLabel: 'a:b:c:s0' } }, '/sys/fs/selinux/enforce'],
    ['linux.mountLabel', 'SELinux', { linux: { mountLabel: 'a:b:c:s0' } }, '/sys/fs/selinux/enforce'],
  ] as const) {
    const words = new RegExp(
      `needs ${module}, which the kernel of this host does not have enabled; .*\\(HOST_UNSUPPORTED\\)`,
    );
    if (existsSync(offer)) test.skip(`${name} is refused [skipped: this host has ${module}]`, () => undefined);
    else refusedIn(name, changes, words);
  }
});
