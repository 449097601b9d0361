import { listProgram, ProgramBuilder } from '../syscall';
import { makeReadOnly, maskPaths } from './masks';
import { DetachedOverlays } from './overlay';

const detached = new DetachedOverlays();

const ATTACH = 'MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH';
const LOOK = 'RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS';
const ABSENT = '(may fail with ENOENT, ENOTDIR, ELOOP)';

function listingOf(body: (p: ProgramBuilder) => void): { steps: string[]; calls: string[] } {
  const p = new ProgramBuilder();
  body(p);
  const listed = listProgram(p.build());
  return { steps: [...new Set(listed.map(({ step }) => step))], calls: listed.map(({ call }) => call) };
}

describe('masked paths', () => {
  test('are covered by an empty read-only directory, or by the host’s /dev/null when they are none', () => {
    const { calls } = listingOf((p) => maskPaths(p, 9, ['/proc/kcore'], { overlays: detached }));
    expect(calls).toEqual([
      'fsopen("tmpfs", FSOPEN_CLOEXEC) = $tmpfs_fs',
      'fsconfig($tmpfs_fs, FSCONFIG_SET_STRING, "size", "0", 0)',
      'fsconfig($tmpfs_fs, FSCONFIG_SET_STRING, "nr_inodes", "1", 0)',
      'fsconfig($tmpfs_fs, FSCONFIG_SET_FLAG, "ro", NULL, 0)',
      'fsconfig($tmpfs_fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0)',
      'fsmount($tmpfs_fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV|MOUNT_ATTR_NOEXEC|MOUNT_ATTR_NOSUID|MOUNT_ATTR_RDONLY) = $empty',
      'close($tmpfs_fs)  (may fail)',
      `openat2(9, "proc/kcore", {O_PATH|O_DIRECTORY|O_CLOEXEC, ${LOOK}}, 24) = $proc/kcore  ${ABSENT}`,
      'open_tree($empty, "", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_EMPTY_PATH) = $cover',
      `move_mount($cover, "", $proc/kcore, "", ${ATTACH}) = $failed  (may fail with EBADF)`,
      'close($cover)  (may fail)',
      'close($proc/kcore)  (may fail)',
      'if $failed == 0 go to 19',
      `openat2(9, "proc/kcore", {O_PATH|O_CLOEXEC, ${LOOK}}, 24) = $proc/kcore  ${ABSENT}`,
      'open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = $null',
      `move_mount($null, "", $proc/kcore, "", ${ATTACH}) = $failed  (may fail with EBADF)`,
      'close($null)  (may fail)',
      'close($proc/kcore)  (may fail)',
      'if $failed == 0 go to 19',
      'close($empty)  (may fail)',
    ]);
  });

  test('share one empty directory and few slots, however many they are', () => {
    const p = new ProgramBuilder();
    maskPaths(
      p,
      9,
      Array.from({ length: 300 }, (_, i) => `/proc/secret${i}`),
      { overlays: detached },
    );
    const program = p.build();
    expect(listProgram(program).filter(({ call }) => call.startsWith('fsopen'))).toHaveLength(1);
    expect(program.slots.length).toBeLessThan(10);
  });

  test('that are none leave no trace', () => {
    const p = new ProgramBuilder();
    maskPaths(p, 9, [], { overlays: detached });
    p.call('getpid', []);
    expect(p.build().instructions).toHaveLength(1);
  });

  test('are named by their steps', () => {
    expect(listingOf((p) => maskPaths(p, 9, ['/proc/kcore', '/sys/firmware'], { overlays: detached })).steps).toEqual([
      'preparing the empty directory that masks paths',
      'masking /proc/kcore',
      'masking /sys/firmware',
    ]);
  });
});

test('read-only paths are bound onto themselves with all that is mounted below, and skipped where they are not there', () => {
  const { steps, calls } = listingOf((p) => makeReadOnly(p, 9, ['/proc/sys', '/proc/bus']));
  expect(steps).toEqual(['making /proc/sys read-only', 'making /proc/bus read-only']);
  expect(calls.slice(0, 6)).toEqual([
    `openat2(9, "proc/sys", {O_PATH|O_CLOEXEC, ${LOOK}}, 24) = $proc/sys  ${ABSENT}`,
    'open_tree($proc/sys, "", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_EMPTY_PATH|AT_RECURSIVE) = $tree  (may fail with EBADF)',
    'mount_setattr($tree, "", AT_EMPTY_PATH|AT_RECURSIVE, {set=MOUNT_ATTR_RDONLY}, 32)  (may fail with EBADF)',
    `move_mount($tree, "", $proc/sys, "", ${ATTACH})  (may fail with EBADF)`,
    'close($tree)  (may fail)',
    'close($proc/sys)  (may fail)',
  ]);
  expect(calls).toHaveLength(12);
});
