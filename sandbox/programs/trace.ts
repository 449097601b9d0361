import { dupTo, execveat, flags, Named, prctl, type Program, ProgramBuilder, unshare } from '../../syscall';
import { capabilityMask, leaveHostFilesystem } from './confine';

/** Names of the fds that the program is given: silt-cpuid, its table, and the socket on which it can be asked to let go. */
export const TRACE_FDS = { tracer: 'tracer', table: 'table', control: 'control' } as const;

/** Where silt-cpuid has its fds (native/cpuid.h); its status socket is the report socket. */
const TABLE_FD = 3;
const CONTROL_FD = 5;
/** While they are put in order, fds lie here, out of the way. */
const ASIDE = 500;

const KEPT = capabilityMask([
  'CAP_SYS_PTRACE',
  'CAP_KILL',
  // For doing without the container's seccomp filter when it makes CPUID fault (PTRACE_O_SUSPEND_SECCOMP).
  'CAP_SYS_ADMIN',
]);

/**
 * The program that becomes silt-cpuid: in a session of its own, and with an empty root. It reports `ready` when it traces the
 * threads of its table.
 */
export function traceProgram(lastCapability: number, control: boolean): Program {
  const p = new ProgramBuilder();
  p.step('preparing to trace CPUID');
  p.call('setsid', []);
  prctl(p, 'PR_SET_NAME', p.string('silt-cpuid'));
  dupTo(p, p.donated(TRACE_FDS.tracer), ASIDE, true);
  dupTo(p, p.donated(TRACE_FDS.table), ASIDE + 1, true);
  if (control) dupTo(p, p.donated(TRACE_FDS.control), ASIDE + 2, true);
  dupTo(p, ASIDE + 1, TABLE_FD);
  if (control) dupTo(p, ASIDE + 2, CONTROL_FD);
  const first = control ? CONTROL_FD + 1 : CONTROL_FD;
  p.call('close_range', [first, new Named(0xffffffff, '~0'), flags('CLOSE_RANGE_CLOEXEC')]);
  p.step('leaving the host’s filesystem');
  unshare(p, 'CLONE_NEWNS');
  leaveHostFilesystem(p, 'writable');
  p.step('dropping what the tracer does not need');
  for (let cap = 0; cap <= lastCapability; cap++) if (!((KEPT >> BigInt(cap)) & 1n)) prctl(p, 'PR_CAPBSET_DROP', cap);
  p.step('executing silt-cpuid');
  execveat(p, ASIDE, ['silt-cpuid'], []);
  return p.build();
}
