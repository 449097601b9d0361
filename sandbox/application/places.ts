/** The files that a container's programs find in /dev/gvisor: procfs, where gVisor has them, takes none of ours. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BindStep, mountDestination } from '../../gofer';
import { parseMountOptions, type Spec } from '../../oci';

export const DIRECTORY = '/dev/gvisor';
/** Opened, written to and read: see {@link CheckpointFile}. */
export const CHECKPOINT_FILE = `${DIRECTORY}/checkpoint`;
/** The environment of the spec that the container was restored with, as /proc/PID/environ has it. */
export const SPEC_ENVIRON = `${DIRECTORY}/spec_environ`;

/**
 * The mounts of both, for a container with a /dev of its own; writes the environment.
 * @param directory of the container's state
 * @param file host path of what {@link CHECKPOINT_FILE} is to be
 */
export function applicationMounts(spec: Spec, directory: string, file: string | undefined): BindStep[] {
  const own = (spec.mounts ?? []).some((mount) => mountDestination(mount) === '/dev' && mount.type === 'tmpfs');
  if (!own) return [];
  const environment = join(directory, 'spec_environ');
  writeFileSync(environment, (spec.process?.env ?? []).map((one) => `${one}\0`).join(''), { mode: 0o444 });
  return [
    bind(environment, SPEC_ENVIRON, ['ro', 'nodev']),
    ...(file === undefined ? [] : [bind(file, CHECKPOINT_FILE, [])]),
  ];
}

function bind(source: string, destination: string, options: readonly string[]): BindStep {
  const all = parseMountOptions(['bind', 'nosuid', 'noexec', ...options]);
  return { kind: 'bind', source, destination, directory: false, options: all, idmap: null };
}
