import { loadNative } from '../../native';
import { Kernel, listProgram } from '../../syscall';
import { ctrSpec, type SpecChanges, WITH_SECCOMP } from '../ctr-spec.fixture';
import { planProcess } from '../exec/process-plan';
import { FixedHost } from '../recorded-host.fixture';
import { type EnterPlan, enterProgram } from './enter';
import { absolutePaths, callsIn, checkByInterpreter, sequenceOf } from './testing';

const OF_A_POD = ['CLONE_NEWNS', 'CLONE_NEWPID', 'CLONE_NEWNET', 'CLONE_NEWIPC', 'CLONE_NEWUTS'];

function plan(changes: SpecChanges = {}, parts: Partial<EnterPlan> = {}): EnterPlan {
  const spec = ctrSpec(changes);
  const surroundings = {
    kernel: new Kernel(loadNative(), -1),
    host: new FixedHost('v2'),
    config: { baseline: 'none' as const, oomScoreAdj: 'strict' as const },
  };
  return {
    namespaces: OF_A_POD,
    cgroup: { into: undefined, files: ['/sys/fs/cgroup/pids/default/web/tasks'] },
    chroot: false,
    process: planProcess(surroundings, spec, spec.process!, { layers: [], userns: true }),
    ...parts,
  };
}

describe('the program that enters a container', () => {
  test.each<[string, SpecChanges, Partial<EnterPlan>]>([
    ['of a usual pod', {}, {}],
    ['of a pod with a user namespace', {}, { namespaces: ['CLONE_NEWUSER', ...OF_A_POD] }],
    ['with a terminal', { process: { terminal: true } }, {}],
    ['with a filter', { linux: WITH_SECCOMP }, {}],
    ['of the host’s namespaces', {}, { namespaces: ['CLONE_NEWNS'] }],
  ])('%s is taken by the interpreter', (_, changes, parts) => {
    const program = enterProgram(plan(changes, parts));
    checkByInterpreter(program);
    expect(program.slots.length).toBeLessThanOrEqual(256);
  });

  test('joins the cgroup before the namespaces, in which its files are not to be seen', () => {
    const calls = sequenceOf(callsIn(enterProgram(plan()), ''), /^(openat\(AT_FDCWD, "[^"]*"|setns\(.*\)|clone3)/);
    expect(calls).toEqual([
      'openat(AT_FDCWD, "/sys/fs/cgroup/pids/default/web/tasks"',
      `setns(<container>, ${OF_A_POD.join('|')})`,
      'clone3',
    ]);
  });

  test('of the host’s mount namespace takes its root before it has a child in the container’s pid namespace', () => {
    const program = enterProgram(plan({}, { chroot: true, namespaces: ['CLONE_NEWPID'] }));
    checkByInterpreter(program);
    expect(sequenceOf(callsIn(program, ''), /^(fchdir\(.*\)|chroot|setns|clone3)/)).toEqual([
      'fchdir(<root>)',
      'chroot',
      'setns',
      'clone3',
    ]);
  });

  test('of a cgroup on the unified hierarchy is cloned into it, by host root', () => {
    const program = enterProgram(plan({}, { cgroup: { into: '/sys/fs/cgroup/default/web', files: [] } }));
    checkByInterpreter(program);
    expect(sequenceOf(callsIn(program, ''), /^(openat\(AT_FDCWD, "[^"]*"|setns|clone3\(.*INTO_CGROUP)/)).toEqual([
      'openat(AT_FDCWD, "/sys/fs/cgroup/default/web"',
      'clone3({flags=CLONE_PARENT|CLONE_INTO_CGROUP',
    ]);
    expect(sequenceOf(callsIn(program, 'helper'), /^(setns|clone3)/)).toEqual(['setns', 'clone3']);
  });

  test('lets the process join by itself, through files that were opened before the namespaces were entered', () => {
    const cgroup = { into: '/sys/fs/cgroup/unified/web', files: ['/sys/fs/cgroup/pids/web/tasks'] };
    const program = enterProgram(plan({}, { cgroup }), 'process');
    checkByInterpreter(program);
    expect(sequenceOf(callsIn(program, ''), /^(openat\(AT_FDCWD, "[^"]*"|setns|clone3|write)/)).toEqual([
      'openat(AT_FDCWD, "/sys/fs/cgroup/unified/web/cgroup.procs"',
      'openat(AT_FDCWD, "/sys/fs/cgroup/pids/web/tasks"',
      'setns',
      'clone3',
      'write',
    ]);
    const joins = sequenceOf(callsIn(program, 'process'), /^(write\(\$fd|setsid|close\(\$fd)/);
    expect(joins.slice(0, 5)).toEqual(['write($fd', 'close($fd', 'write($fd', 'close($fd', 'setsid']);
  });

  test('reports the process before it lets it go, and the process goes nowhere before', () => {
    const program = enterProgram(plan());
    const starter = sequenceOf(callsIn(program, ''), /^(clone3|sendmsg\(.*"process".*|write\(\$gate_write)/);
    expect(starter.map((call) => call.replace(/\(.*/, ''))).toEqual(['clone3', 'sendmsg', 'write']);
    expect(callsIn(program, 'process').slice(0, 5)).toEqual([
      'close($gate_write)  (may fail)',
      'read($gate_read, buffer[1], 1) = $count',
      expect.stringMatching(/^if \$count != 0 go to \d+$/),
      'exit_group(1)',
      'setsid()',
    ]);
  });

  test('becomes the root of a user namespace before it does anything else there', () => {
    const calls = callsIn(enterProgram(plan({}, { namespaces: ['CLONE_NEWUSER', ...OF_A_POD] })), 'process');
    expect(calls.slice(4, 8)).toEqual(['setgroups(0, 0)', 'setresgid(0, 0, 0)', 'setresuid(0, 0, 0)', 'setsid()']);
  });

  test('opens nothing by name but the cgroup, and executes what the spec says', () => {
    expect(absolutePaths(enterProgram(plan()))).toEqual([
      ': openat /sys/fs/cgroup/pids/default/web/tasks',
      'process: chdir /',
      'process: faccessat2 /bin/sh/.',
      'process: faccessat2 /bin/sh',
      'process: execve /bin/sh',
    ]);
  });

  test('is given the container and the stdio', () => {
    expect(enterProgram(plan()).donations).toEqual(['container', 'stdin', 'stdout', 'stderr']);
    expect(enterProgram(plan({ process: { terminal: true } })).donations).toEqual(['container']);
  });

  test('opens a terminal in the container’s devpts, and its slave by the master alone', () => {
    const listed = listProgram(enterProgram(plan({ process: { terminal: true, user: { uid: 7, gid: 8 } } })));
    expect(listed.filter(({ step }) => step === 'opening a terminal').map(({ call }) => call)).toEqual([
      'openat(-100, "/dev/ptmx", O_RDWR|O_NOCTTY|O_CLOEXEC, 0) = $master',
      'ioctl($master, TIOCSPTLCK, {0})',
      'ioctl($master, TIOCGPTPEER, O_RDWR|O_NOCTTY|O_CLOEXEC) = $slave',
      'fchown($slave, 7, -1)',
      'sendmsg(<report>, {"terminal", SCM_RIGHTS[$master]}, MSG_NOSIGNAL)',
      'close($master)  (may fail)',
    ]);
  });

  test('says that it is ready right before it executes, with the filter in between', () => {
    const calls = callsIn(enterProgram(plan({ linux: WITH_SECCOMP })), 'process');
    expect(calls.slice(-4).map((call) => call.replace(/\(.*/s, ''))).toEqual([
      'sendmsg',
      'seccomp',
      'execve',
      'exit_group',
    ]);
  });
});
