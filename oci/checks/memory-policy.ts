/** `linux.memoryPolicy` of the spec (since 1.3): NUMA policy as of set_mempolicy(2). The first words are runc's. */
import { cpuMask } from '../scheduling';
import type { MemoryPolicy } from '../spec-linux';
import { type Check, invalid, list, object, refuse, show, string } from './shape';

/** Modes that are about nodes, and whether they need some. */
const NODES: Readonly<Record<string, 'none' | 'some' | 'any'>> = {
  MPOL_DEFAULT: 'none',
  MPOL_LOCAL: 'none',
  MPOL_BIND: 'some',
  MPOL_INTERLEAVE: 'some',
  MPOL_WEIGHTED_INTERLEAVE: 'some',
  MPOL_PREFERRED_MANY: 'some',
  MPOL_PREFERRED: 'any',
};
export const MEMORY_POLICY_MODES: readonly string[] = Object.keys(NODES);
export const MEMORY_POLICY_FLAGS: readonly string[] = [
  'MPOL_F_NUMA_BALANCING',
  'MPOL_F_RELATIVE_NODES',
  'MPOL_F_STATIC_NODES',
];

/** A name out of a list. */
function named(what: string, names: readonly string[]): Check<string> {
  return (value, path) => {
    if (typeof value === 'string' && names.includes(value)) return value;
    throw refuse(path, `invalid memory policy ${what} ${show(value)}: must be one of ${names.join(', ')}`);
  };
}

const shape = object<MemoryPolicy>({
  mode: named('mode', MEMORY_POLICY_MODES),
  nodes: string,
  flags: list(named('flag', MEMORY_POLICY_FLAGS)),
});

export function memoryPolicy(value: unknown, path: string): MemoryPolicy {
  const policy = shape(value, path);
  // Go programs write a mode that nobody set as an empty one, or not at all.
  const mode = named('mode', MEMORY_POLICY_MODES)(policy.mode, `${path}.mode`);
  const { nodes = '' } = policy;
  const mask = nodes === '' ? undefined : cpuMask(nodes);
  if (nodes !== '' && mask === undefined)
    throw refuse(
      `${path}.nodes`,
      `invalid memory policy nodes: ${invalid(path, nodes, 'a list such as 0-3,7').message}`,
    );
  if (NODES[mode] === 'none' && mask !== undefined)
    throw refuse(`${path}.nodes`, `memory policy mode requires 0 nodes but got ${countOf(mask)} (${mode})`);
  if (NODES[mode] === 'some' && mask === undefined)
    throw refuse(`${path}.nodes`, `memory policy mode requires at least one node but got 0 (${mode})`);
  return policy;
}

function countOf(mask: Uint8Array): number {
  return [...mask].reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0);
}
