import { listProgram, ProgramBuilder } from '../syscall';
import { openIfThere, openTarget, type TargetRequest } from './target';

const ROOT = { uid: 0, gid: 0 };
const POD_ROOT = { uid: 100_000, gid: 200_000 };
const LOOK = 'RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS';

/** What opening a target adds to a program; the root is fd 9. */
function callsOf(request: Omit<TargetRequest, 'root'>): string[] {
  const p = new ProgramBuilder();
  openTarget(p, { root: 9, ...request });
  return listProgram(p.build()).map(({ call }) => call);
}

describe('a target', () => {
  test('is looked up from the root component by component, each made where it is missing', () => {
    expect(callsOf({ path: '/a/b', kind: 'directory', owner: ROOT })).toEqual([
      'mkdirat(9, "a", 0755) = $made  (may fail with EEXIST, EROFS)',
      `openat2(9, "a", {O_PATH|O_DIRECTORY|O_CLOEXEC, ${LOOK}}, 24) = $a`,
      'mkdirat($a, "b", 0755) = $made  (may fail with EEXIST, EROFS)',
      `openat2(9, "a/b", {O_PATH|O_DIRECTORY|O_CLOEXEC, ${LOOK}}, 24) = $b`,
      'close($a)  (may fail)',
    ]);
  });

  test('in a user namespace gives what it makes to the pod’s root', () => {
    expect(callsOf({ path: '/a/b', kind: 'file', owner: POD_ROOT })).toEqual([
      'mkdirat(9, "a", 0755) = $made  (may fail with EEXIST, EROFS)',
      'if $made != 0 go to 3',
      'fchownat(9, "a", 100000, 200000, AT_SYMLINK_NOFOLLOW)',
      `openat2(9, "a", {O_PATH|O_DIRECTORY|O_CLOEXEC, ${LOOK}}, 24) = $a`,
      'mknodat($a, "b", S_IFREG|0644, 0) = $made  (may fail with EEXIST, EROFS)',
      'if $made != 0 go to 7',
      'fchownat($a, "b", 100000, 200000, AT_SYMLINK_NOFOLLOW)',
      `openat2(9, "a/b", {O_PATH|O_CLOEXEC, ${LOOK}}, 24) = $b`,
      'close($a)  (may fail)',
    ]);
  });

  test('never makes what `..` stands for, and has empty and `.` components left out', () => {
    expect(callsOf({ path: '//a/./../b/', kind: 'directory', owner: ROOT })).toEqual([
      'mkdirat(9, "a", 0755) = $made  (may fail with EEXIST, EROFS)',
      `openat2(9, "a", {O_PATH|O_DIRECTORY|O_CLOEXEC, ${LOOK}}, 24) = $a`,
      `openat2(9, "a/..", {O_PATH|O_DIRECTORY|O_CLOEXEC, ${LOOK}}, 24) = $..`,
      'close($a)  (may fail)',
      'mkdirat($.., "b", 0755) = $made  (may fail with EEXIST, EROFS)',
      `openat2(9, "a/../b", {O_PATH|O_DIRECTORY|O_CLOEXEC, ${LOOK}}, 24) = $b`,
      'close($..)  (may fail)',
    ]);
  });

  test.each(['/', '', '/.'])('%p is a second fd of the root itself', (path) => {
    expect(callsOf({ path, kind: 'directory', owner: ROOT })).toEqual([
      'openat2(9, ".", {O_PATH|O_DIRECTORY|O_CLOEXEC, RESOLVE_IN_ROOT}, 24) = $root',
    ]);
  });
});

describe('a place that must be there already', () => {
  test.each([
    [true, 'O_PATH|O_DIRECTORY|O_CLOEXEC'],
    [false, 'O_PATH|O_CLOEXEC'],
  ])('is looked up only, as a directory: %p', (directory, how) => {
    const p = new ProgramBuilder();
    openIfThere(p, 9, '/proc/kcore', directory);
    expect(listProgram(p.build()).map(({ call }) => call)).toEqual([
      `openat2(9, "proc/kcore", {${how}, ${LOOK}}, 24) = $proc/kcore  (may fail with ENOENT, ENOTDIR, ELOOP)`,
    ]);
  });
});
