/**
 * Which names of the kernel's and libc's headers become constants: macros by pattern, enumerators by name (the
 * preprocessor does not list them).
 */

/** Compiled against the kernel's headers alone; libc's would define some of these again. */
export const kernelHeaders = [
  'linux/types.h',
  'linux/fcntl.h',
  'linux/stat.h',
  'linux/fs.h',
  'linux/sched.h',
  'linux/mount.h',
  'linux/openat2.h',
  'linux/close_range.h',
  'linux/memfd.h',
  'linux/prctl.h',
  'linux/capability.h',
  'linux/seccomp.h',
  'linux/bpf.h',
  'linux/filter.h',
  'linux/audit.h',
  'linux/wait.h',
  'linux/nsfs.h',
  'linux/ioprio.h',
  'linux/personality.h',
  'linux/xattr.h',
  'linux/keyctl.h',
  'linux/loop.h',
  'linux/magic.h',
  'linux/sockios.h',
  'linux/signal.h',
  'asm/resource.h',
  'asm/termbits.h',
  'asm/ioctls.h',
  'asm/poll.h',
  'asm/socket.h',
];

export const kernelMacros = [
  /^O_[A-Z]+$/,
  /^F_(GET|SET|DUP|ADD_SEALS|GET_SEALS|SEAL_|OFD_|RDLCK|WRLCK|UNLCK)/,
  /^FD_CLOEXEC$/,
  /^LOCK_(SH|EX|NB|UN)$/,
  /^AT_[A-Z]/,
  /^CLONE_[A-Z]/,
  /^MS_(?!MGC|ACTIVE|BORN|KERNMOUNT|NOSEC|NOREMOTELOCK|RMT|SUBMOUNT|VERBOSE)[A-Z]/,
  /^S_IF(MT|SOCK|LNK|REG|BLK|DIR|CHR|IFO)$/,
  /^S_IS(UID|GID|VTX)$/,
  /^PR_(SET|GET|CAP|CAPBSET)_[A-Z]/,
  /^MOUNT_ATTR_[A-Z_]+$/,
  /^(OPEN_TREE|MOVE_MOUNT|FSOPEN|FSMOUNT|FSPICK|RESOLVE|CLOSE_RANGE|MFD)_(?!HUGE_)[A-Z]/,
  /^RLIMIT_[A-Z]/,
  /^CAP_[A-Z]/,
  /^SECCOMP_[A-Z]/,
  /^BPF_(LD|LDX|ST|STX|ALU|ALU64|JMP|JMP32|RET|MISC|W|H|B|DW|IMM|ABS|IND|MEM|LEN|ATOMIC)$/,
  /^BPF_(ADD|SUB|MUL|DIV|OR|AND|LSH|RSH|NEG|MOD|XOR|MOV|JA|JEQ|JGT|JGE|JSET|JNE|JLT|JLE|CALL|EXIT|K|X|A|TAX|TXA)$/,
  /^BPF_(F_ALLOW_OVERRIDE|F_ALLOW_MULTI|F_REPLACE|MAXINSNS|OBJ_NAME_LEN)$/,
  /^AUDIT_ARCH_(X86_64|I386|AARCH64|ARM)$/,
  /^(WNOHANG|WUNTRACED|WSTOPPED|WEXITED|WCONTINUED|WNOWAIT|__WALL|__WNOTHREAD|__WCLONE)$/,
  /^P_(ALL|PID|PGID|PIDFD)$/,
  /^STATX_[A-Z]/,
  /^NS_GET_[A-Z]/,
  /^SCHED_[A-Z]/,
  /^IOPRIO_[A-Z]/,
  /^XATTR_(CREATE|REPLACE|SIZE_MAX|NAME_MAX|LIST_MAX)$/,
  /^KEYCTL_(GET_KEYRING_ID|JOIN_SESSION_KEYRING|REVOKE|CHOWN|SETPERM|DESCRIBE|CLEAR|LINK|UNLINK|SEARCH|READ)$/,
  /^LOOP_(CTL_|SET_|GET_|CLR_|CONFIGURE|CHANGE_FD)/,
  /^(CGROUP_SUPER|CGROUP2_SUPER|OVERLAYFS_SUPER|TMPFS|EXT4_SUPER|BTRFS_SUPER|XFS_SUPER|NSFS|PROC_SUPER|SYSFS|BPF_FS)_MAGIC$/,
  /^(NFS_SUPER|FUSE_SUPER|RAMFS|DEVPTS_SUPER|SECURITYFS|PID_FS)_MAGIC$/,
  /^SEEK_[A-Z]/,
  /^FS_IOC_(GETFLAGS|SETFLAGS|FSGETXATTR|FSSETXATTR)$/,
  /^FS_(IMMUTABLE|APPEND)_FL$/,
  /^FI(CLONE|DEDUPERANGE|FREEZE|THAW|TRIM|BMAP|GETBSZ)$/,
  /^TIOC(?!GISO|SISO|SER|PKT_)[A-Z]/,
  /^TC(GETS|SETS|SETSW|SETSF|GETS2|SETS2|FLSH|SBRK|XONC)$/,
  /^SIOC(GIF|SIF|BR)[A-Z0-9]+$/,
  /^POLL[A-Z]/,
  /^SO_(?!.*_(OLD|NEW)$|SECURITY_)[A-Z]/,
  /^SIG(?!RTM|STKSZ)[A-Z0-9]+$/,
];

/** Enumerators, with the headers above. */
export const kernelEnumerators = [
  ...['FLAG', 'STRING', 'BINARY', 'PATH', 'PATH_EMPTY', 'FD'].map((kind) => `FSCONFIG_SET_${kind}`),
  'FSCONFIG_CMD_CREATE',
  'FSCONFIG_CMD_RECONFIGURE',
  ...['NONE', 'RT', 'BE', 'IDLE'].map((kind) => `IOPRIO_CLASS_${kind}`),
  ...['PROCESS', 'PGRP', 'USER'].map((kind) => `IOPRIO_WHO_${kind}`),
  ...['PER_LINUX', 'PER_LINUX32', 'PER_MASK'],
  ...['UNAME26', 'ADDR_NO_RANDOMIZE', 'MMAP_PAGE_ZERO', 'ADDR_COMPAT_LAYOUT', 'READ_IMPLIES_EXEC', 'ADDR_LIMIT_32BIT'],
  ...['SHORT_INODE', 'WHOLE_SECONDS', 'STICKY_TIMEOUTS', 'ADDR_LIMIT_3GB'],
  ...['LO_FLAGS_READ_ONLY', 'LO_FLAGS_AUTOCLEAR', 'LO_FLAGS_PARTSCAN', 'LO_FLAGS_DIRECT_IO'],
  ...['LOAD', 'ATTACH', 'DETACH', 'QUERY', 'GET_NEXT_ID', 'GET_FD_BY_ID'].map((command) => `BPF_PROG_${command}`),
  ...['BPF_OBJ_PIN', 'BPF_OBJ_GET', 'BPF_OBJ_GET_INFO_BY_FD', 'BPF_LINK_CREATE', 'BPF_LINK_DETACH'],
  ...['BPF_PROG_TYPE_CGROUP_DEVICE', 'BPF_CGROUP_DEVICE'],
  ...['BPF_DEVCG_ACC_MKNOD', 'BPF_DEVCG_ACC_READ', 'BPF_DEVCG_ACC_WRITE', 'BPF_DEVCG_DEV_BLOCK', 'BPF_DEVCG_DEV_CHAR'],
];

/** What the kernel's headers leave to libc. The values are the same on x86_64 and aarch64. */
export const libcHeaders = ['sys/socket.h', 'sys/mount.h', 'sys/eventfd.h', 'sys/epoll.h', 'net/if.h', 'unistd.h'];

export const libcMacros = [
  /^(UMOUNT|MNT)_[A-Z]+$/,
  /^AF_(UNSPEC|UNIX|INET|INET6|NETLINK|PACKET|ALG|VSOCK)$/,
  /^SOCK_[A-Z]+$/,
  /^SOL_SOCKET$/,
  /^MSG_[A-Z]/,
  /^SCM_(RIGHTS|CREDENTIALS|PIDFD)$/,
  /^SHUT_[A-Z]/,
  /^EFD_[A-Z]/,
  /^EPOLL[A-Z_]+$/,
  /^IFF_[A-Z]/,
  /^IFNAMSIZ$/,
  /^[FRWX]_OK$/,
];

export const libcEnumerators = [
  ...['SOCK_CLOEXEC', 'SOCK_NONBLOCK', 'MNT_DETACH', 'MNT_FORCE', 'MNT_EXPIRE', 'UMOUNT_NOFOLLOW'],
  ...['SCM_RIGHTS', 'SCM_CREDENTIALS', 'SHUT_RD', 'SHUT_WR', 'SHUT_RDWR'],
  ...['EPOLLIN', 'EPOLLOUT', 'EPOLLERR', 'EPOLLHUP', 'EPOLLPRI', 'EPOLLRDHUP', 'EPOLLET', 'EPOLLONESHOT'],
];
