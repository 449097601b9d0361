/**
 * What came into the kernel after the 6.1 headers of Debian 12, kept by hand: name, value, and the release that brought
 * it. Headers that know a name take precedence; the generator refuses to run when they disagree.
 */

/** System calls. New ones have the same number on every architecture (x32 adds its bit); `only` names exceptions. */
export const newerSyscalls = [
  { name: 'cachestat', nr: 451, since: '6.5' },
  { name: 'fchmodat2', nr: 452, since: '6.6' },
  { name: 'map_shadow_stack', nr: 453, since: '6.6' },
  { name: 'futex_wake', nr: 454, since: '6.7' },
  { name: 'futex_wait', nr: 455, since: '6.7' },
  { name: 'futex_requeue', nr: 456, since: '6.7' },
  { name: 'statmount', nr: 457, since: '6.8' },
  { name: 'listmount', nr: 458, since: '6.8' },
  { name: 'lsm_get_self_attr', nr: 459, since: '6.8' },
  { name: 'lsm_set_self_attr', nr: 460, since: '6.8' },
  { name: 'lsm_list_modules', nr: 461, since: '6.8' },
  { name: 'mseal', nr: 462, since: '6.10' },
  { name: 'uretprobe', nr: 335, since: '6.11', only: ['x86_64'] },
  { name: 'setxattrat', nr: 463, since: '6.13' },
  { name: 'getxattrat', nr: 464, since: '6.13' },
  { name: 'listxattrat', nr: 465, since: '6.13' },
  { name: 'removexattrat', nr: 466, since: '6.13' },
  { name: 'open_tree_attr', nr: 467, since: '6.15' },
  { name: 'file_getattr', nr: 468, since: '6.17' },
  { name: 'file_setattr', nr: 469, since: '6.17' },
  { name: 'uprobe', nr: 336, since: '6.18', only: ['x86_64'] },
  { name: 'listns', nr: 470, since: '6.19' },
  { name: 'rseq_slice_yield', nr: 471, since: '7.0' },
];

export const newerConstants = [
  { name: 'PR_SET_MDWE', value: 65, since: '6.3' },
  { name: 'PR_GET_MDWE', value: 66, since: '6.3' },
  { name: 'MFD_NOEXEC_SEAL', value: 0x8, since: '6.3' },
  { name: 'MFD_EXEC', value: 0x10, since: '6.3' },
  { name: 'F_SEAL_EXEC', value: 0x20, since: '6.3' },
  { name: 'MOVE_MOUNT_BENEATH', value: 0x200, since: '6.5' },
  { name: 'SO_PASSPIDFD', value: 76, since: '6.5' },
  { name: 'SO_PEERPIDFD', value: 77, since: '6.5' },
  { name: 'SCM_PIDFD', value: 0x04, since: '6.5' },
  { name: 'FSCONFIG_CMD_CREATE_EXCL', value: 8, since: '6.6' },
  { name: 'STATX_MNT_ID_UNIQUE', value: 0x4000, since: '6.8' },
  { name: 'MPOL_WEIGHTED_INTERLEAVE', value: 6, since: '6.9' },
  { name: 'PID_FS_MAGIC', value: 0x50494446, since: '6.9' },
  { name: 'PIDFD_THREAD', value: 0o200, since: '6.9' },
  { name: 'STATX_SUBVOL', value: 0x8000, since: '6.10' },
  { name: 'NS_GET_MNTNS_ID', value: 0x8008b705, since: '6.11' },
  { name: 'NS_GET_PID_FROM_PIDNS', value: 0x8004b706, since: '6.11' },
  { name: 'NS_GET_TGID_FROM_PIDNS', value: 0x8004b707, since: '6.11' },
  { name: 'NS_GET_PID_IN_PIDNS', value: 0x8004b708, since: '6.11' },
  { name: 'NS_GET_TGID_IN_PIDNS', value: 0x8004b709, since: '6.11' },
  { name: 'AT_EXECVE_CHECK', value: 0x10000, since: '6.14' },
  { name: 'SCHED_EXT', value: 7, since: '6.12' },
];

/**
 * The only constants of our families that differ between x86_64 (asm-generic) and aarch64. Used for an architecture whose
 * headers are not installed here; the generator stops when installed headers know of another difference.
 */
export const archConstants = {
  x86_64: {
    O_DIRECT: 0o40000,
    O_LARGEFILE: 0o100000,
    O_DIRECTORY: 0o200000,
    O_NOFOLLOW: 0o400000,
    O_TMPFILE: 0o20200000,
  },
  aarch64: {
    O_DIRECTORY: 0o40000,
    O_NOFOLLOW: 0o100000,
    O_DIRECT: 0o200000,
    O_LARGEFILE: 0o400000,
    O_TMPFILE: 0o20040000,
  },
};
