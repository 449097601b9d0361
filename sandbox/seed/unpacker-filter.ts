import { compileSeccomp, type SeccompFilter } from '../../oci';
import { C } from '../../syscall';
import { ARCHIVE_CALLS } from '../archive';

/**
 * What Node itself calls once it runs: memory, threads (of V8 and of libuv, which makes them when it decompresses), the event loop,
 * clocks, and files by fd. Nothing that opens a socket, starts a program, mounts, or looks at another process.
 */
const OF_NODE = `
  brk mmap munmap mremap mprotect madvise pkey_alloc pkey_free pkey_mprotect membarrier
  set_robust_list rseq set_tid_address sigaltstack futex sched_yield sched_getaffinity gettid getpid tgkill exit exit_group
  rt_sigaction rt_sigprocmask rt_sigreturn restart_syscall prctl nanosleep clock_nanosleep
  epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2 pipe2 poll ioctl fcntl dup3
  read write readv writev pread64 lseek close fstat newfstatat statx
  clock_gettime clock_getres gettimeofday getrandom getrusage sysinfo uname getuid geteuid getgid getegid prlimit64
`;
/** The interpreter's messages to the shim. */
const OF_MESSAGES = ['sendmsg', 'recvmsg'];

const NAMESPACES = C.CLONE_NEWNS | C.CLONE_NEWCGROUP | C.CLONE_NEWUTS | C.CLONE_NEWIPC | C.CLONE_NEWUSER;
const NEW_OF_ANY_KIND = NAMESPACES | C.CLONE_NEWPID | C.CLONE_NEWNET;

/** The filter of the unpacker, which parses what a stranger wrote. */
export function unpackerFilter(): SeccompFilter {
  return nodeFilter(ARCHIVE_CALLS);
}

/** The filter of a Node that runs: its own calls and those that it is there for. What else it tries is refused with EPERM. */
export function nodeFilter(further: readonly string[]): SeccompFilter {
  const names = [...new Set([...OF_NODE.trim().split(/\s+/), ...OF_MESSAGES, ...further])];
  const { bpf } = compileSeccomp({
    defaultAction: 'SCMP_ACT_ERRNO',
    syscalls: [
      { names, action: 'SCMP_ACT_ALLOW' },
      {
        names: ['clone'],
        action: 'SCMP_ACT_ALLOW',
        args: [
          // Threads, not processes.
          { index: 0, op: 'SCMP_CMP_MASKED_EQ', value: NEW_OF_ANY_KIND | C.CLONE_THREAD, valueTwo: C.CLONE_THREAD },
        ],
      },
      // Its arguments are not to be seen here; libc falls back on clone.
      { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: 38 },
    ],
  });
  // All threads of Node at once, or none and an error (seccomp(2); TSYNC_ESRCH is of Linux 5.7).
  const { SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_FILTER_FLAG_TSYNC_ESRCH, SECCOMP_FILTER_FLAG_SPEC_ALLOW } = C;
  return {
    bpf,
    flags: SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH | SECCOMP_FILTER_FLAG_SPEC_ALLOW,
  };
}
