import { type IdMaps, setSysctls } from '../../gofer';
import {
  C,
  close,
  closeRange,
  dupTo,
  fork,
  ioctl,
  prctl,
  type Program,
  ProgramBuilder,
  read,
  setIds,
  setns,
} from '../../syscall';
import { confine, keepOnly, leaveHostFilesystem } from './confine';
import { report } from './reports';
import { makeGate, openGate, passGate, writeIdMaps } from './user-namespace';

/** Where a namespace of the pod comes from: made new, the host's, or an fd that the program is given under this name. */
export type NamespaceSource = 'new' | 'host' | 'joined';

export interface SandboxPlan {
  readonly id: string;
  /** The pod's ids; null without a user namespace. */
  readonly idMaps: IdMaps | null;
  /** Where that user namespace comes from. */
  readonly user: NamespaceSource;
  readonly network: NamespaceSource;
  /** The network is joined and belongs to another user namespace than `user`: somebody else has made it (CNI). */
  readonly foreignNetwork: boolean;
  readonly ipc: NamespaceSource;
  readonly uts: NamespaceSource;
  /** false when the pod uses the host's pid namespace: then the sandbox cannot end its containers by ending itself. */
  readonly pid: boolean;
  readonly hostname: string | undefined;
  readonly domainname: string | undefined;
  /** To be set by host root in a network namespace that the pod joins; see networkDefaults. */
  readonly hostSysctls: readonly (readonly [key: string, value: string])[];
  /** To be set by the pod's root; only with a user namespace. */
  readonly sysctls: readonly (readonly [key: string, value: string])[];
}

/** Names of the fds that the program is given. `control`: the read end of the pipe whose end ends the pod. */
export const SANDBOX_FDS = {
  control: 'control',
  network: 'netns',
  ipc: 'ipcns',
  uts: 'utsns',
  user: 'userns',
} as const;

/**
 * The program that starts a pod's sandbox: a process in the pod's namespaces with an empty root, which does nothing but
 * wait for the end of the control pipe. By then it has no capability, no fd but the pipe, no host file in sight, and no system
 * call but those that wait, and its own end. A byte in the pipe lets it live on for ever, without the process that started it.
 */
export function sandboxProgram(plan: SandboxPlan): Program {
  const p = new ProgramBuilder();
  p.step('preparing to start the sandbox');
  // Until exec, what the pod's root could reach through /proc/PID of a process of ours is the host: not dumpable means
  // that only host root may look (ptrace(2), "Ptrace access mode checking").
  prctl(p, 'PR_SET_DUMPABLE', 0);
  p.call('setpgid', [0, 0]);
  joinNamespaces(p, plan);
  const gate = makeGate(p);
  p.step('cloning the sandbox');
  const { pid, pidfd } = fork(
    p,
    'sandbox',
    { flags: ['CLONE_PARENT', ...cloneFlags(plan)].join('|'), pidfd: true },
    () => {
      passGate(p, gate);
      if (plan.idMaps) setIds(p, 0, 0, []);
      becomeSandbox(p, plan);
    },
  );
  if (plan.idMaps && plan.user === 'new') writeIdMaps(p, pid, plan.idMaps);
  p.step('reporting the sandbox');
  report(p, 'sandbox', [p.keep(pidfd, 'sandbox')]);
  openGate(p, gate);
  return p.build();
}

function joinNamespaces(p: ProgramBuilder, plan: SandboxPlan): void {
  const kinds = { network: 'CLONE_NEWNET', ipc: 'CLONE_NEWIPC', uts: 'CLONE_NEWUTS' } as const;
  for (const kind of ['network', 'ipc', 'uts'] as const) {
    if (plan[kind] !== 'joined') continue;
    p.step(`joining the pod’s ${kind} namespace`);
    setns(p, p.donated(SANDBOX_FDS[kind]), kinds[kind]);
  }
  setSysctls(p, plan.hostSysctls);
  if (plan.user !== 'joined') return;
  // Last of all: from here on this is nobody on the host. What is cloned next belongs to the namespace that has been joined.
  p.step('joining the pod’s user namespace');
  setns(p, p.donated(SANDBOX_FDS.user), 'CLONE_NEWUSER');
}

function cloneFlags(plan: SandboxPlan): string[] {
  const wanted: Readonly<Record<string, boolean>> = {
    CLONE_NEWUSER: plan.user === 'new',
    CLONE_NEWPID: plan.pid,
    CLONE_NEWNS: true,
    CLONE_NEWNET: plan.network === 'new',
    CLONE_NEWIPC: plan.ipc === 'new',
    CLONE_NEWUTS: plan.uts === 'new',
  };
  return Object.keys(wanted).filter((flag) => wanted[flag]);
}

function becomeSandbox(p: ProgramBuilder, plan: SandboxPlan): void {
  prctl(p, 'PR_SET_NAME', p.string('silt-sandbox'));
  if (plan.uts === 'new') setNames(p, plan);
  if (plan.network === 'new') {
    p.step('bringing up the loopback interface');
    bringLoopbackUp(p);
  }
  setSysctls(p, plan.sysctls);
  waitInEmptyRoot(p);
}

/**
 * The rest of a process that holds a namespace and does nothing: an empty root, no capability, no fd but `control`, until the
 * control pipe ends. It reports `ready` and reaps the orphans that come to it.
 */
export function waitInEmptyRoot(p: ProgramBuilder): void {
  leaveHostFilesystem(p, 'writable');
  p.step('ignoring SIGCHLD so that orphans are reaped');
  const action = p.space(32, '{SIG_IGN}');
  p.setU64(action, 1);
  p.call('rt_sigaction', [C.SIGCHLD, action, 0, 8]);
  p.step('dropping what the sandbox does not need');
  p.call('setsid', []);
  dupTo(p, p.donated(SANDBOX_FDS.control), 0);
  report(p, 'ready');
  closeRange(p, 1);
  keepOnly(p, 0n);
  confine(p);
  p.step('waiting for the pod’s end');
  const { count } = read(p, 0, 1);
  const end = p.label();
  p.jumpIfZero(count, end);
  p.step('living on without the starter');
  p.call('ppoll', [0, 0, 0, 0, 8], { retry: true });
  p.place(end);
}

function setNames(p: ProgramBuilder, plan: SandboxPlan): void {
  for (const [call, name] of [
    ['sethostname', plan.hostname],
    ['setdomainname', plan.domainname],
  ] as const) {
    if (!name) continue;
    p.step(`setting the pod’s name to ${name}`);
    p.call(call, [p.string(name), Buffer.byteLength(name)]);
  }
}

/** SIOCSIFFLAGS on `lo` (netdevice(7)): struct ifreq has the name at 0 and the flags at 16. */
function bringLoopbackUp(p: ProgramBuilder): void {
  const socket = p.slot('socket');
  p.call('socket', [C.AF_INET, C.SOCK_DGRAM | C.SOCK_CLOEXEC, 0], { out: socket });
  const request = p.bytes(Buffer.concat([Buffer.from('lo'), Buffer.alloc(38)]), '{lo, IFF_UP}');
  p.setU32(request.plus(16), C.IFF_UP | C.IFF_RUNNING);
  ioctl(p, socket, 'SIOCSIFFLAGS', request);
  close(p, socket);
}
