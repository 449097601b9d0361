/** The program that starts a pager: the process that brings the memory of a container that was restored with `--background`. */
import {
  C,
  close,
  dupTo,
  execveat,
  type Fd,
  fork,
  prctl,
  type Program,
  ProgramBuilder,
  read,
  receiveMessage,
  setSeccompFilter,
  socketPair,
  type Slot,
  waitForChild,
} from '../../syscall';
import { capabilityMask, confine, keepOnly } from './confine';
import { unpackerBaseline } from './unpack';

/** Names of the fds that the program is given. */
export const PAGER_FDS = {
  node: 'node',
  script: 'script',
  addon: 'addon',
  /** The checkpoint's directory. */
  image: 'image',
  /** The socket at which CRIU connects. */
  listener: 'listener',
  /** Where the reason of a failure is written. */
  failure: 'failure',
  /** On which the keeper is sent a pidfd of the container's first process. */
  control: 'control',
  /** /dev/userfaultfd, for processes in a user namespace. */
  device: 'device',
} as const;

/** Where the pager finds its fds. stdin is its script. `hold` takes userfaultfds for the keeper, `end` a byte once all is done. */
export const PAGER = { image: 3, listener: 4, report: 5, addon: 6, failure: 7, hold: 8, end: 9, device: 10 } as const;
/** Word of the pager's command line: it has the device. */
export const WITH_DEVICE = 'device';
/** While they are put in order, fds lie here, out of the way. */
const ASIDE = 100;
/** How much of userfaultfds the keeper's socket holds: a message takes a kilobyte. */
const HELD_BYTES = 16 << 20;

/**
 * Two processes. The *pager* brings memory; when it has an end that is not that of its work, what is missing would be zeros as
 * soon as the last of its userfaultfds is closed. So there is the *keeper*: it has copies of them, in the queue of a socket that it does
 * not read, and ends the container before it lets go of them.
 */
export function pagerProgram(args: readonly string[], { device }: { readonly device: boolean }): Program {
  const p = new ProgramBuilder();
  p.step('preparing to bring memory in the background');
  prctl(p, 'PR_SET_NAME', p.string('silt-keeper'));
  p.call('setsid', []);
  const hold = keptPair(p, 'hold');
  const size = p.space(4, `${HELD_BYTES}`);
  p.setU32(size, HELD_BYTES);
  p.call('setsockopt', [hold.theirs, C.SOL_SOCKET, C.SO_SNDBUFFORCE, size, 4]);
  const end = keptPair(p, 'end');
  const pager = fork(p, 'pager', { flags: 'CLONE_NEWNS', pidfd: true }, () =>
    becomePager(p, args, { hold: hold.theirs, end: end.theirs, device }),
  );
  const child = p.keep(pager.pidfd, 'pager');
  for (const fd of [hold.theirs, end.theirs]) close(p, fd);
  for (const name of Object.values(PAGER_FDS))
    if (name !== PAGER_FDS.control && (device || name !== PAGER_FDS.device)) close(p, p.donated(name));
  close(p, p.report);
  keepOnly(p, capabilityMask(['CAP_KILL']));
  confine(p);
  keep(p, child, pager.pid, end.mine);
  return p.build();
}

function keep(p: ProgramBuilder, pager: Slot, pid: Slot, end: Slot): void {
  p.step('waiting for the container’s first process');
  const received = receiveMessage(p, p.donated(PAGER_FDS.control), 16, 1, 'init');
  const restored = p.label();
  p.jumpIfNotZero(received.count, restored);
  p.step('ending the pager: nothing was restored');
  p.call('pidfd_send_signal', [pager, C.SIGKILL, 0, 0], { tolerate: ['ESRCH'] });
  waitForChild(p, pid);
  p.call('exit_group', [0]);
  p.place(restored);
  const init = p.keep(received.fds[0]!, 'init');
  p.step('waiting for the end of the pager’s work');
  const { count } = read(p, end, 1);
  const complete = p.label();
  p.jumpIfNotZero(count, complete);
  p.step('ending the container, whose memory cannot be had');
  p.call('pidfd_send_signal', [init, C.SIGKILL, 0, 0], { tolerate: ['ESRCH'] });
  const wait = p.space(8, '{init, POLLIN}');
  p.slotAt(wait, init, 32);
  p.setU32(wait.plus(4, 4), C.POLLIN);
  p.call('ppoll', [wait, 1, 0, 0, 8], { retry: true });
  p.place(complete);
  waitForChild(p, pid);
}

function becomePager(
  p: ProgramBuilder,
  args: readonly string[],
  { hold, end, device }: { readonly hold: Fd; readonly end: Fd; readonly device: boolean },
): void {
  p.step('becoming the pager');
  prctl(p, 'PR_SET_NO_NEW_PRIVS', 1);
  const { bpf, flags } = unpackerBaseline();
  setSeccompFilter(p, bpf, flags);
  const wanted: (readonly [Fd, number])[] = [
    [p.donated(PAGER_FDS.script), 0],
    [p.donated(PAGER_FDS.image), PAGER.image],
    [p.donated(PAGER_FDS.listener), PAGER.listener],
    [p.report, PAGER.report],
    [p.donated(PAGER_FDS.addon), PAGER.addon],
    [p.donated(PAGER_FDS.failure), PAGER.failure],
    [hold, PAGER.hold],
    [end, PAGER.end],
  ];
  if (device) wanted.push([p.donated(PAGER_FDS.device), PAGER.device]);
  wanted.forEach(([fd], i) => dupTo(p, fd, ASIDE + i, true));
  dupTo(p, p.donated(PAGER_FDS.node), ASIDE + wanted.length, true);
  p.call('close_range', [3, ASIDE - 1, 0]);
  wanted.forEach(([, at], i) => dupTo(p, ASIDE + i, at));
  p.step('starting Node for the pager');
  execveat(p, ASIDE + wanted.length, ['silt-pager', ...args], []);
}

function keptPair(p: ProgramBuilder, name: string): { mine: Slot; theirs: Slot } {
  const names = [`${name}_mine`, `${name}_theirs`] as const;
  const ends = socketPair(p, name, names);
  const [mine, theirs] = [p.keep(ends[0], names[0]), p.keep(ends[1], names[1])];
  for (const end of ends) close(p, end);
  return { mine, theirs };
}
