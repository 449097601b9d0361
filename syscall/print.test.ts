import { ProgramBuilder } from './builder';
import {
  close,
  fork,
  flags,
  fsconfigString,
  fsopen,
  mountSetattr,
  openat2,
  prctl,
  sendMessage,
  setIds,
  write,
} from './calls';
import { C } from './constants';
import { listProgram, printProgram } from './print';
import type { Program } from './program';

function sample(): Program {
  const p = new ProgramBuilder();
  p.step('preparing');
  const file = openat2(p, p.donated('root'), 'etc/passwd', 'O_RDONLY', 'RESOLVE_IN_ROOT', { tolerate: ['ENOENT'] });
  write(p, file, 'root\n');
  p.step('mounting');
  const context = fsopen(p, 'tmpfs');
  fsconfigString(p, context, 'size', '64k');
  mountSetattr(p, context, { set: C.MOUNT_ATTR_RDONLY | C.MOUNT_ATTR_NODEV, propagation: C.MS_SLAVE });
  p.step('cloning');
  const child = fork(p, 'child', { flags: 'CLONE_NEWNS', pidfd: true }, () => {
    p.step('becoming somebody');
    prctl(p, 'PR_SET_NO_NEW_PRIVS', 1);
    setIds(p, 1000, 100, [7, 8]);
  });
  p.step('reporting');
  const pidfd = p.keep(child.pidfd, 'child');
  sendMessage(p, p.report, p.bytes(Buffer.from('child'), '"child"', 1), [pidfd]);
  p.call('openat', [flags('AT_FDCWD'), p.pathWithNumber('/proc/', child.pid, '/stat'), 0]);
  close(p, file);
  return p.build();
}

test('a listing has a line per instruction, and each step and process once', () => {
  expect(printProgram(sample())).toBe(`# preparing
   0  openat2(<root>, "etc/passwd", {O_RDONLY|O_CLOEXEC, RESOLVE_IN_ROOT}, 24) = $fd  (may fail with ENOENT)
   1  write($fd, "root\\n", 5)  (until all is done)
# mounting
   2  fsopen("tmpfs", FSOPEN_CLOEXEC) = $tmpfs_fs
   3  fsconfig($tmpfs_fs, FSCONFIG_SET_STRING, "size", "64k", 0)
   4  mount_setattr($tmpfs_fs, "", AT_EMPTY_PATH, {set=MOUNT_ATTR_NODEV|MOUNT_ATTR_RDONLY, propagation=MS_SLAVE}, 32)
# cloning
   5  clone3({flags=CLONE_NEWNS|CLONE_PIDFD, exit_signal=SIGCHLD}, 88) = $child_pid
   6  if $child_pid != 0 go to 12
# [child] becoming somebody
   7  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
   8  setgroups(2, [7,8])
   9  setresgid(100, 100, 100)
  10  setresuid(1000, 1000, 1000)
  11  exit_group(0)
# reporting
  12  fcntl($child_pidfd, F_DUPFD_CLOEXEC, 0) = $child
  13  sendmsg(<report>, {"child", SCM_RIGHTS[$child]}, MSG_NOSIGNAL)
  14  openat(AT_FDCWD, "/proc/$child_pid/stat", 0)
  15  close($fd)  (may fail)
`);
});

test('the same as data has the process and the step at every instruction', () => {
  const listed = listProgram(sample());
  expect(listed).toHaveLength(16);
  expect(listed[6]).toEqual({ index: 6, process: '', step: 'cloning', call: 'if $child_pid != 0 go to 12' });
  expect(listed[9]).toEqual({
    index: 9,
    process: 'child',
    step: 'becoming somebody',
    call: 'setresgid(100, 100, 100)',
  });
});

test('a jump if zero and several notes', () => {
  const p = new ProgramBuilder();
  const slot = p.slot('s');
  const end = p.label();
  p.jumpIfZero(slot, end);
  p.call('write', [1, p.string('x'), 1], { tolerate: ['EPIPE', 'EIO'], repeat: { count: 2, buffer: 1 } });
  p.place(end);
  expect(listProgram(p.build()).map(({ call }) => call)).toEqual([
    'if $s == 0 go to 2',
    'write(1, "x", 1)  (may fail with EPIPE, EIO; until all is done)',
  ]);
});
