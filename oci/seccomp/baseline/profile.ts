/**
 * What the baseline lets containers do. Names of all ABIs stand together: each has those that its table knows.
 *
 * `docker` refuses what the default profile of Docker and containerd refuses (its list as of August 2026), and a capability
 * gives back what it is good for. `strict` refuses more, whatever is granted.
 */
import { C } from '../../../syscall';
import type { Seccomp, SeccompArg, SeccompRule } from '../../spec-linux';

export const BASELINES = ['docker', 'strict'] as const;
export type BaselineName = (typeof BASELINES)[number];

/** What any process may call, with any arguments. */
const ALWAYS = `
  read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek _llseek
  sendfile sendfile64 splice tee vmsplice copy_file_range readahead
  open openat openat2 creat close close_range dup dup2 dup3 fcntl fcntl64 flock ioctl
  stat stat64 lstat lstat64 fstat fstat64 newfstatat fstatat64 statx statfs statfs64 fstatfs fstatfs64 statmount listmount
  access faccessat faccessat2 name_to_handle_at readlink readlinkat getdents getdents64 getcwd chdir fchdir umask
  truncate truncate64 ftruncate ftruncate64 fallocate fadvise64 fadvise64_64 arm_fadvise64_64
  sync syncfs fsync fdatasync sync_file_range sync_file_range2 arm_sync_file_range cachestat
  link linkat symlink symlinkat unlink unlinkat rename renameat renameat2 mkdir mkdirat rmdir mknod mknodat
  chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 lchown lchown32 fchownat
  utime utimes futimesat utimensat utimensat_time64
  getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat
  listxattr llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat
  inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark
  pipe pipe2 eventfd eventfd2 signalfd signalfd4 memfd_create memfd_secret
  select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64
  epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2
  io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64

  brk mmap mmap2 munmap mremap mprotect madvise msync mincore mlock mlock2 mlockall munlock munlockall mseal
  remap_file_pages map_shadow_stack membarrier pkey_alloc pkey_free pkey_mprotect
  shmget shmat shmdt shmctl semget semop semtimedop semtimedop_time64 semctl msgget msgsnd msgrcv msgctl ipc
  mq_open mq_unlink mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64 mq_notify mq_getsetattr

  fork vfork execve execveat exit exit_group wait4 waitid waitpid kill tkill tgkill
  pidfd_open pidfd_send_signal process_mrelease ptrace process_vm_readv process_vm_writev
  getpid getppid gettid getpgid getpgrp setpgid getsid setsid uname sysinfo getcpu getrandom
  prctl arch_prctl seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
  lsm_get_self_attr lsm_set_self_attr lsm_list_modules
  getrlimit ugetrlimit setrlimit prlimit64 getrusage times getpriority setpriority ioprio_get ioprio_set
  sched_yield sched_getaffinity sched_setaffinity sched_getscheduler sched_setscheduler sched_getparam sched_setparam
  sched_getattr sched_setattr sched_get_priority_max sched_get_priority_min sched_rr_get_interval
  sched_rr_get_interval_time64
  set_tid_address set_robust_list get_robust_list get_thread_area set_thread_area set_tls rseq restart_syscall
  modify_ldt uretprobe breakpoint cacheflush
  futex futex_time64 futex_wait futex_wake futex_waitv futex_requeue
  rt_sigaction rt_sigprocmask rt_sigpending rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn rt_sigsuspend
  rt_sigtimedwait rt_sigtimedwait_time64 sigaltstack sigprocmask sigreturn pause

  getuid getuid32 geteuid geteuid32 getresuid getresuid32 getgid getgid32 getegid getegid32 getresgid getresgid32
  getgroups getgroups32 setuid setuid32 setreuid setreuid32 setresuid setresuid32 setfsuid setfsuid32
  setgid setgid32 setregid setregid32 setresgid setresgid32 setfsgid setfsgid32 setgroups setgroups32 capget capset

  time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 adjtimex clock_adjtime clock_adjtime64
  nanosleep clock_nanosleep clock_nanosleep_time64 alarm getitimer setitimer
  timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
  timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64

  bind connect listen accept accept4 socketpair getsockname getpeername getsockopt setsockopt shutdown
  send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64
`;

/** What is allowed to whom has one of some capabilities. A system call stands in one row only. */
const GRANTED: readonly { readonly capabilities: readonly Capability[]; readonly names: string }[] = [
  {
    capabilities: ['CAP_SYS_ADMIN'],
    names: `
      mount umount umount2 pivot_root fsopen fsconfig fsmount fspick move_mount open_tree open_tree_attr mount_setattr
      unshare setns sethostname setdomainname quotactl quotactl_fd fanotify_init lookup_dcookie
    `,
  },
  { capabilities: ['CAP_SYS_ADMIN', 'CAP_BPF'], names: 'bpf' },
  { capabilities: ['CAP_SYS_ADMIN', 'CAP_PERFMON'], names: 'perf_event_open' },
  { capabilities: ['CAP_SYS_ADMIN', 'CAP_SYSLOG'], names: 'syslog' },
  { capabilities: ['CAP_SYS_CHROOT'], names: 'chroot' },
  { capabilities: ['CAP_SYS_PTRACE'], names: 'kcmp pidfd_getfd process_madvise' },
  { capabilities: ['CAP_DAC_READ_SEARCH'], names: 'open_by_handle_at' },
  { capabilities: ['CAP_SYS_NICE'], names: 'get_mempolicy set_mempolicy mbind set_mempolicy_home_node' },
  { capabilities: ['CAP_SYS_TIME'], names: 'settimeofday stime clock_settime clock_settime64' },
  { capabilities: ['CAP_SYS_MODULE'], names: 'init_module finit_module delete_module' },
  { capabilities: ['CAP_SYS_RAWIO'], names: 'iopl ioperm' },
  { capabilities: ['CAP_SYS_PACCT'], names: 'acct' },
  { capabilities: ['CAP_SYS_TTY_CONFIG'], names: 'vhangup' },
  { capabilities: ['CAP_SYS_BOOT'], names: 'reboot' },
];

export type Capability = Extract<keyof typeof C, `CAP_${string}`>;

/** What a filter returns where it depends on the capabilities of whoever it is for. */
export interface Verdict {
  /** Allowed with one of these; to nobody when there are none. */
  readonly capabilities: readonly Capability[];
  /** The errno otherwise. */
  readonly errno: number;
}

const { EPERM, ENOSYS } = { EPERM: 1, ENOSYS: 38 };

/**
 * Places of verdicts in a profile are these errnos, which no kernel has (MAX_ERRNO is 4095): the filter is compiled once
 * with them, and they are replaced for each container.
 */
export const FIRST_VERDICT = 3584;
export const VERDICTS: readonly Verdict[] = [
  ...GRANTED.map(({ capabilities }): Verdict => ({ capabilities, errno: EPERM })),
  // What clone3 is asked for lies in memory, where no filter sees it; programs fall back on clone at ENOSYS.
  { capabilities: ['CAP_SYS_ADMIN'], errno: ENOSYS },
  { capabilities: [], errno: EPERM },
];
const verdict = (index: number): Pick<SeccompRule, 'action' | 'errnoRet'> => ({
  action: 'SCMP_ACT_ERRNO',
  errnoRet: FIRST_VERDICT + index,
});
const ADMIN = verdict(GRANTED.findIndex(({ names }) => words(names).includes('unshare')));
const CLONE3 = verdict(VERDICTS.length - 2);
/** Unlike the default action, this one is a rule of its own and can stand before others. */
const NEVER = verdict(VERDICTS.length - 1);

/** Bits of clone's flags that make namespaces. CLONE_NEWTIME lies in the exit signal there, so that clone cannot. */
const NAMESPACES = [
  C.CLONE_NEWNS,
  C.CLONE_NEWCGROUP,
  C.CLONE_NEWUTS,
  C.CLONE_NEWIPC,
  C.CLONE_NEWUSER,
  C.CLONE_NEWPID,
  C.CLONE_NEWNET,
];
/** PER_LINUX, PER_LINUX32, both with UNAME26, and the question what it is. */
const PERSONALITIES = [0, 8, 0x20000, 0x20008, 0xffffffff];
/** Sockets to hypervisors and to the kernel's ciphers: neither knows of namespaces (the latter: a row of CVEs). */
const NO_SOCKETS = [C.AF_ALG, C.AF_VSOCK];
/** What `strict` leaves: local sockets, IP, netlink. */
const STRICT_SOCKETS = [C.AF_UNIX, C.AF_INET, C.AF_INET6, C.AF_NETLINK];

function words(text: string): string[] {
  return text.trim().split(/\s+/);
}

const equals = (value: number): SeccompArg => ({ index: 0, value, op: 'SCMP_CMP_EQ' });
/** For refusing an int: the kernel does not look at the upper half of its register, so neither must the filter. */
const equalsAsInt = (value: number): SeccompArg => ({
  index: 0,
  value: 0xffffffff,
  valueTwo: value,
  op: 'SCMP_CMP_MASKED_EQ',
});
const anything: SeccompArg = { index: 0, value: 0, op: 'SCMP_CMP_GE' };
const hasBit = (bit: number): SeccompArg => ({ index: 0, value: bit, valueTwo: bit, op: 'SCMP_CMP_MASKED_EQ' });
const lacks = (bits: number): SeccompArg => ({ index: 0, value: bits, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' });

/** The profile as the OCI spec has them, but with places for verdicts. */
export function baselineProfile(name: BaselineName): Seccomp {
  const strict = name === 'strict';
  const allow = (names: string[], args: SeccompArg[] = []): SeccompRule => ({ names, action: 'SCMP_ACT_ALLOW', args });
  const granted = GRANTED.map(({ names }, i): SeccompRule => ({
    names: without(words(names), 'unshare'),
    ...verdict(i),
  }));
  const newUser: SeccompRule = { names: ['clone', 'unshare'], ...NEVER, args: [hasBit(C.CLONE_NEWUSER)] };
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    // x32 is left out: its programs are killed. Nothing is built for it, and its own numbers have had bugs of their own.
    architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
    syscalls: [
      allow(words(ALWAYS)),
      ...granted,
      ...(strict ? [newUser] : []),
      allow(['clone'], [lacks(NAMESPACES.reduce((bits, bit) => bits | bit, 0))]),
      { names: ['clone'], ...ADMIN, args: NAMESPACES.map(hasBit) },
      { names: ['unshare'], ...ADMIN, ...(strict ? { args: [lacks(C.CLONE_NEWUSER)] } : {}) },
      { names: ['clone3'], ...(strict ? { action: 'SCMP_ACT_ERRNO' as const, errnoRet: ENOSYS } : CLONE3) },
      allow(['personality'], PERSONALITIES.map(equals)),
      ...(strict
        ? [allow(['socket'], STRICT_SOCKETS.map(equals))]
        : [
            { names: ['socket'], ...NEVER, args: NO_SOCKETS.map(equalsAsInt) },
            allow(['socket'], [anything]),
            // As Docker does: what i386 programs ask of it lies in memory, and many of them have no other way to a socket.
            allow(['socketcall']),
          ]),
    ],
  };
}

function without(names: readonly string[], one: string): string[] {
  return names.filter((name) => name !== one);
}
