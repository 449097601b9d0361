import type { Spec } from '../../oci';
import { rightsBeyond } from './rights';

const spec = (process: object = {}, linux: object = {}): Spec => ({
  ociVersion: '1.0.2',
  process: { args: ['true'], cwd: '/', user: { uid: 0, gid: 0 }, ...process },
  linux,
});
const capable = (...names: string[]): object => ({ capabilities: { bounding: names, effective: names } });

test('of the same spec, or one that gives more, there is nothing', () => {
  expect(rightsBeyond(spec(capable('CAP_KILL')), spec(capable('CAP_KILL')))).toEqual([]);
  expect(rightsBeyond(spec(), spec(capable('CAP_KILL')))).toEqual([]);
  expect(rightsBeyond(spec({ noNewPrivileges: true }, { seccomp: {} }), spec())).toEqual([]);
  expect(rightsBeyond(spec({ user: { uid: 5, gid: 5 } }), spec())).toEqual([]);
});

test('what a spec withholds is named', () => {
  expect(rightsBeyond(spec(capable('CAP_SYS_ADMIN', 'CAP_KILL')), spec(capable('CAP_KILL')))).toEqual([
    'CAP_SYS_ADMIN',
  ]);
  expect(rightsBeyond(spec({ capabilities: { ambient: ['CAP_KILL'] } }), spec())).toEqual(['CAP_KILL']);
  expect(rightsBeyond(spec(), spec({ user: { uid: 5, gid: 5 } }))).toEqual(['user 0']);
  expect(rightsBeyond(spec(), spec({ noNewPrivileges: true }, { seccomp: {} }))).toEqual([
    'new privileges by execve (noNewPrivileges)',
    'system calls without a seccomp profile',
  ]);
});
