import { C } from '../../syscall';
import { dropUpperProgram } from './kept-mounts';
import { absolutePaths, callsIn, checkByInterpreter, processesOf, sequenceOf } from './testing';
import { unpackProgram, UNPACKER_CAPABILITIES } from './unpack';

const RANGES = [{ containerID: 0, hostID: 100_000, size: 65536 }];
const LAST_CAPABILITY = 40;

const program = unpackProgram(
  {
    idMaps: { uids: RANGES, gids: RANGES },
    idmapped: false,
    cgroup: { into: undefined, files: ['/cg/a/tasks', '/cg/b/tasks'] },
    args: ['-', '[]'],
  },
  LAST_CAPABILITY,
);

describe('the program that starts the unpacker', () => {
  test('is taken by the interpreter', () => {
    checkByInterpreter(program);
    expect(processesOf(program)).toEqual(['', 'unpacker']);
  });

  test('opens the container’s cgroup and nothing else of the host by name', () => {
    expect(absolutePaths(program)).toEqual([
      ': openat /cg/a/tasks',
      ': openat /cg/b/tasks',
      ': openat /proc/$unpacker_pid/uid_map',
      ': openat /proc/$unpacker_pid/gid_map',
    ]);
  });

  test('isolates it in every way but time', () => {
    const kinds = ['USER', 'NS', 'PID', 'NET', 'IPC', 'UTS', 'CGROUP'].map((kind) => `CLONE_NEW${kind}`).join('|');
    expect(
      callsIn(program, '').some((call) => call.startsWith(`clone3({flags=CLONE_PARENT|${kinds}|CLONE_PIDFD,`)),
    ).toBe(true);
  });

  test('leaves it what it needs for files, and for leaving the host’s filesystem', () => {
    const dropped = sequenceOf(callsIn(program, 'unpacker'), /PR_CAPBSET_DROP, \d+/).map((call) =>
      Number(call.replace(/\D+/, '')),
    );
    const kept = Array.from({ length: LAST_CAPABILITY + 1 }, (_, cap) => cap).filter((cap) => !dropped.includes(cap));
    // chown, dac_override, dac_read_search, fowner, fsetid, sys_admin, mknod, setfcap.
    expect(kept).toEqual([0, 1, 2, 3, 4, 21, 27, 31]);
    const withoutMounting = kept.filter((cap) => cap !== C.CAP_SYS_ADMIN);
    expect(UNPACKER_CAPABILITIES).toBe(withoutMounting.reduce((mask, cap) => mask | (1n << BigInt(cap)), 0n));
  });

  test('puts its fds where it looks for them, out of each other’s way', () => {
    const calls = callsIn(program, 'unpacker');
    const at = calls.findIndex((call) => call.startsWith('dup3'));
    expect(calls.slice(at)).toEqual([
      'dup3(<node>, 20, O_CLOEXEC)',
      'dup3(<script>, 21, O_CLOEXEC)',
      'dup3(<addon>, 22, O_CLOEXEC)',
      'dup3(<archive>, 23, O_CLOEXEC)',
      'dup3(<upper-fs>, 24, O_CLOEXEC)',
      'dup3(<report>, 25, O_CLOEXEC)',
      'close_range(3, 19, 0)',
      'dup3(21, 0, 0)',
      'dup3(23, 3, 0)',
      'dup3(24, 4, 0)',
      'dup3(25, 5, 0)',
      'dup3(22, 6, 0)',
      'execveat(20, "", ["silt-unpacker","-","[]"], [], AT_EMPTY_PATH)',
      'exit_group(0)',
    ]);
  });

  test('is the root of its user namespace, cannot gain anything, and dies with the shim', () => {
    expect(sequenceOf(callsIn(program, 'unpacker'), /^(set\w+\(.*\)|prctl\(PR_SET_\w+, \w+)/)).toEqual([
      'setgroups(0, [])',
      'setresgid(0, 0, 0)',
      'setresuid(0, 0, 0)',
      'setsid()',
      'prctl(PR_SET_NO_NEW_PRIVS, 1',
      'prctl(PR_SET_PDEATHSIG, 9',
    ]);
  });
});

test('the program that drops an upper takes it out of the sandbox’s mount namespace', () => {
  const drop = dropUpperProgram('web');
  checkByInterpreter(drop);
  expect(callsIn(drop, '')).toEqual([
    'setpgid(0, 0)',
    'setns(<sandbox>, CLONE_NEWNS)',
    'umount2("/web", 2)',
    'unlinkat(-100, "/web", 512)',
  ]);
});
