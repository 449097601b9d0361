import type { IdMaps } from '../../gofer';
import { type SandboxPlan, sandboxProgram } from './sandbox';
import { callsIn, checkByInterpreter, processesOf, sequenceOf } from './testing';

const ID_MAPS: IdMaps = {
  uids: [
    { containerID: 0, hostID: 100_000, size: 1000 },
    { containerID: 5000, hostID: 7, size: 1 },
  ],
  gids: [{ containerID: 0, hostID: 200_000, size: 1000 }],
};

const plan = (parts: Partial<SandboxPlan> = {}): SandboxPlan => ({
  id: 'web',
  idMaps: null,
  user: 'host',
  network: 'new',
  foreignNetwork: false,
  ipc: 'new',
  uts: 'new',
  pid: true,
  hostname: undefined,
  domainname: undefined,
  hostSysctls: [],
  sysctls: [],
  ...parts,
});

const SHARED = { network: 'host', ipc: 'host', uts: 'host', pid: false } as const;
const JOINED = { network: 'joined', ipc: 'joined', uts: 'joined' } as const;

test.each<[string, Partial<SandboxPlan>]>([
  ['of its own namespaces', {}],
  ['with ids of its own', { idMaps: ID_MAPS, user: 'new', hostname: 'web', domainname: 'example.org' }],
  ['of the host’s namespaces', SHARED],
  ['of joined namespaces', JOINED],
])('the interpreter takes the program of a sandbox %s', (_, parts) => {
  checkByInterpreter(sandboxProgram(plan(parts)));
  expect(processesOf(sandboxProgram(plan(parts)))).toEqual(['', 'sandbox']);
});

describe('the namespaces of a sandbox', () => {
  const flagsOf = (parts: Partial<SandboxPlan>): string | undefined =>
    callsIn(sandboxProgram(plan(parts)), '')
      .map((call) => /^clone3\(\{flags=([A-Z_|]+),/.exec(call)?.[1])
      .find(Boolean);

  test.each<[string, Partial<SandboxPlan>, string]>([
    ['all new', {}, 'CLONE_PARENT|CLONE_NEWPID|CLONE_NEWNS|CLONE_NEWNET|CLONE_NEWIPC|CLONE_NEWUTS|CLONE_PIDFD'],
    [
      'all new, ids included',
      { idMaps: ID_MAPS, user: 'new' },
      'CLONE_PARENT|CLONE_NEWUSER|CLONE_NEWPID|CLONE_NEWNS|CLONE_NEWNET|CLONE_NEWIPC|CLONE_NEWUTS|CLONE_PIDFD',
    ],
    ['the host’s', SHARED, 'CLONE_PARENT|CLONE_NEWNS|CLONE_PIDFD'],
    ['joined', JOINED, 'CLONE_PARENT|CLONE_NEWPID|CLONE_NEWNS|CLONE_PIDFD'],
  ])('%s', (_, parts, flags) => {
    expect(flagsOf(parts)).toBe(flags);
  });

  test('that it joins are joined before the clone, each by its fd', () => {
    const program = sandboxProgram(plan(JOINED));
    expect(sequenceOf(callsIn(program, ''), /^(setns\(.*\)|clone3)/)).toEqual([
      'setns(<netns>, CLONE_NEWNET)',
      'setns(<ipcns>, CLONE_NEWIPC)',
      'setns(<utsns>, CLONE_NEWUTS)',
      'clone3',
    ]);
    expect(program.donations).toEqual(['netns', 'ipcns', 'utsns', 'control']);
    expect(sandboxProgram(plan()).donations).toEqual(['control']);
  });
});

describe('a sandbox', () => {
  test('waits until its ids are mapped and it is reported', () => {
    const program = sandboxProgram(plan({ idMaps: ID_MAPS, user: 'new' }));
    const starter = callsIn(program, '');
    expect(starter.slice(starter.findIndex((call) => call.startsWith('if')) + 1)).toEqual([
      'openat(-100, "/proc/$sandbox_pid/uid_map", 524289, 0) = $uid_map',
      'write($uid_map, "0 100000 1000\\n5000 7 1\\n", 23)',
      'close($uid_map)  (may fail)',
      'openat(-100, "/proc/$sandbox_pid/gid_map", 524289, 0) = $gid_map',
      'write($gid_map, "0 200000 1000\\n", 14)',
      'close($gid_map)  (may fail)',
      'fcntl($sandbox_pidfd, F_DUPFD_CLOEXEC, 0) = $sandbox',
      'sendmsg(<report>, {"sandbox", SCM_RIGHTS[$sandbox]}, MSG_NOSIGNAL)',
      'write($gate_write, "x", 1)  (until all is done)',
    ]);
    expect(callsIn(program, 'sandbox').slice(0, 5)).toEqual([
      'close($gate_write)  (may fail)',
      'read($gate_read, buffer[1], 1) = $count',
      expect.stringMatching(/^if \$count != 0 go to \d+$/),
      'exit_group(1)',
      'setgroups(0, [])',
    ]);
  });

  test('has an empty root, no capability and no fd but the control pipe when it is ready', () => {
    const calls = callsIn(sandboxProgram(plan(SHARED)), 'sandbox');
    expect(calls.slice(4)).toEqual([
      expect.stringMatching(/^prctl\(PR_SET_NAME, "silt-sandbox"/),
      'mount("none", "/", NULL, MS_REC|MS_PRIVATE, NULL)',
      'mount("silt", "/proc", "tmpfs", MS_NOSUID|MS_NODEV|MS_NOEXEC, "mode=700,size=64k")',
      'chdir("/proc")',
      'pivot_root(".", ".")',
      'umount2(".", MNT_DETACH)',
      'chdir("/")',
      'rt_sigaction(17, {SIG_IGN}, 0, 8)',
      'setsid()',
      'dup3(<control>, 0, 0)',
      'sendmsg(<report>, {"ready"}, MSG_NOSIGNAL)',
      'close_range(1, ~0, 0)',
      'capset({_LINUX_CAPABILITY_VERSION_3, 0}, {e=0x0, p=0x0, i=0x0})',
      'prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)',
      'seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, {the calls that follow})',
      'read(0, buffer[1], 1) = $count',
      expect.stringMatching(/^if \$count == 0 go to \d+$/),
      'ppoll(0, 0, 0, 0, 8)',
      'exit_group(0)',
    ]);
  });

  test('sets the sysctls of its namespaces itself, while it still sees the host’s /proc', () => {
    const sysctls = [['net.core.somaxconn', '1024']] as const;
    const calls = callsIn(sandboxProgram(plan({ idMaps: ID_MAPS, user: 'new', sysctls })), 'sandbox');
    expect(sequenceOf(calls, /^(setresuid|openat\(.*\/proc\/sys\/[a-z/]+|write\(\$fd, "[^"]*"|pivot_root)/)).toEqual([
      'setresuid',
      'openat(AT_FDCWD, "/proc/sys/net/core/somaxconn',
      'write($fd, "1024"',
      'pivot_root',
    ]);
  });

  test('brings its own network up, and names its own host', () => {
    const calls = (parts: Partial<SandboxPlan>) =>
      sequenceOf(callsIn(sandboxProgram(plan(parts)), 'sandbox'), /^(ioctl|sethostname|setdomainname)\(.*\)/);
    const names = { hostname: 'wéb', domainname: 'example.org' };
    expect(calls({})).toEqual(['ioctl($socket, SIOCSIFFLAGS, {lo, IFF_UP})']);
    // Names are counted in bytes.
    expect(calls({ ...names, network: 'joined' })).toEqual([
      'sethostname("wéb", 4)',
      'setdomainname("example.org", 11)',
    ]);
    // Those of a uts namespace that is not its own are left alone.
    expect(calls({ ...names, network: 'host', uts: 'host' })).toEqual([]);
    expect(calls({ ...names, network: 'host', uts: 'joined' })).toEqual([]);
    expect(calls({ hostname: '', network: 'host' })).toEqual([]);
  });
});

test('a user namespace that it joins is entered last, and no ids are written', () => {
  const program = sandboxProgram(plan({ ...JOINED, idMaps: ID_MAPS, user: 'joined' }));
  checkByInterpreter(program);
  const calls = callsIn(program, '');
  const joins = calls.filter((call) => call.startsWith('setns('));
  expect(joins.at(-1)).toBe('setns(<userns>, CLONE_NEWUSER)');
  expect(calls.some((call) => call.includes('uid_map'))).toBe(false);
  expect(calls.find((call) => call.startsWith('clone3('))).not.toContain('CLONE_NEWUSER');
});
