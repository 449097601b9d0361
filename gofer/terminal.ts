/** The terminal of a container: a pty of its own devpts. */
import {
  attach,
  C,
  cloneTree,
  close,
  type Fd,
  fchownat,
  flags,
  Named,
  type ProgramBuilder,
  type Slot,
} from '../syscall';
import { openMounted, openTarget, type Owner } from './target';

/** Opens a pty in the container's own devpts, gives its slave to the user, and binds it to /dev/console as runc does. */
export function makeTerminal(
  p: ProgramBuilder,
  root: Fd,
  user: Owner,
  podRoot: Owner,
  send: (master: Slot) => void,
): void {
  p.step('opening a terminal in the container’s devpts');
  p.scope(() => {
    const devpts = openMounted(p, root, '/dev/pts');
    const { master, slave } = openTerminal(p, devpts, user);
    bindConsole(p, root, slave, podRoot);
    send(master);
    for (const fd of [slave, master, devpts]) close(p, fd);
  });
}

/**
 * Opens a pty of a devpts, for this user: the first one of a new devpts is number 0. Its slave is the kernel's answer and not looked up by its name: an image
 * whose /dev is a symlink would have a say in that (runc's CVE-2025-52565). It is an O_PATH fd: a master whose slave has been open, and is no more, has
 * ended for who reads from it. Both slots get fds that are to be closed.
 */
export function openTerminal(p: ProgramBuilder, devpts: Fd, user: Owner): { master: Slot; slave: Slot } {
  const master = p.slot('master');
  p.call('openat', [devpts, p.string('ptmx'), flags('O_RDWR|O_NOCTTY|O_CLOEXEC|O_NOFOLLOW'), 0], { out: master });
  const slave = openSlave(p, master, 'O_PATH');
  fchownat(p, slave, '', user.uid, user.gid, 'AT_EMPTY_PATH');
  // fchmod(2) takes no O_PATH fd, and fchmodat2(2) is of Linux 6.6.
  p.call('fchmodat', [C.AT_FDCWD, p.pathWithNumber('/proc/self/fd/', slave, ''), new Named(0o620, '0620')]);
  return { master, slave };
}

/** Opens the slave of a new master, which is locked until then. By fd and not by name: names in /dev/pts are the container's to change (ioctl_tty(2), Linux 4.13). */
export function openSlave(p: ProgramBuilder, master: Fd, how: string): Slot {
  p.call('ioctl', [master, flags('TIOCSPTLCK'), p.space(4, '{0}')]);
  const slave = p.slot('slave');
  p.call('ioctl', [master, flags('TIOCGPTPEER'), flags(`${how}|O_CLOEXEC`)], { out: slave });
  return slave;
}

/** The terminal that is in the container's devpts already. */
export function bindGivenTerminal(p: ProgramBuilder, root: Fd, podRoot: Owner): void {
  const slave = openMounted(p, root, '/dev/pts/0');
  bindConsole(p, root, slave, podRoot);
  close(p, slave);
}

function bindConsole(p: ProgramBuilder, root: Fd, slave: Fd, podRoot: Owner): void {
  const console = openTarget(p, { root, path: '/dev/console', kind: 'file', owner: podRoot });
  const tree = cloneTree(p, slave, '', { name: 'console' });
  attach(p, tree, console);
  for (const fd of [console, tree]) close(p, fd);
}
