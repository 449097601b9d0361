import { C, close, dupTo, open, type Program, ProgramBuilder } from '../../syscall';
import { report } from './reports';

const POLLFD_SIZE = 8;
/** Where the terminal lies, out of the way. */
const SLAVE_FD = 500;

/**
 * A process that has a pty as its controlling terminal, so that nobody who opens it gets it as one (ioctl_tty(2), TIOCSCTTY). It
 * reports `held`, and ends when the master is closed.
 */
export function terminalSessionProgram(path: string): Program {
  const p = new ProgramBuilder();
  p.step(`taking ${path} as a controlling terminal`);
  p.call('setsid', []);
  const slave = open(p, path, 'O_RDWR|O_NOCTTY');
  dupTo(p, slave, SLAVE_FD);
  close(p, slave);
  p.call('ioctl', [SLAVE_FD, C.TIOCSCTTY, 0]);
  report(p, 'held');
  p.call('close', [p.report]);
  // A hangup is told without being asked for.
  const wait = p.space(POLLFD_SIZE, 'pollfd');
  p.setU64(wait, SLAVE_FD);
  p.call('ppoll', [wait, 1, 0, 0, 0], { tolerate: 'all' });
  return p.build();
}
