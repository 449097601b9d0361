/** What saved processes may do: CRIU gives them back what they had, whatever the spec of the new container says. */
import type { Spec } from '../../oci';

/**
 * What the processes of a checkpoint may do beyond what a spec gives: whoever may name a checkpoint must not get by it what he would
 * be refused otherwise. Empty when there is nothing.
 */
export function rightsBeyond(saved: Spec, given: Spec): string[] {
  const bounding = new Set(given.process?.capabilities?.bounding ?? []);
  const had = Object.values(saved.process?.capabilities ?? {}) as (readonly string[] | undefined)[];
  const beyond = [...new Set(had.flatMap((set) => set ?? []))].filter((name) => !bounding.has(name)).sort();
  const root = saved.process?.user?.uid ?? 0;
  if (root === 0 && (given.process?.user?.uid ?? 0) !== 0) beyond.push('user 0');
  if (given.process?.noNewPrivileges === true && saved.process?.noNewPrivileges !== true)
    beyond.push('new privileges by execve (noNewPrivileges)');
  if (given.linux?.seccomp !== undefined && saved.linux?.seccomp === undefined)
    beyond.push('system calls without a seccomp profile');
  return beyond;
}
