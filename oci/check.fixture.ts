/** What the tests of parseSpec share. */
import { SiltError } from '../errors';
import { parseSpec } from './check';

export type Json = Record<string, unknown>;

export const NAMESPACES = ['pid', 'network', 'ipc', 'uts', 'mount', 'user', 'cgroup'].map((type) => ({ type }));
export const RANGE = [{ containerID: 0, hostID: 100000, size: 65536 }];

/** A spec in which everything is right, with `linux` and other members replaced. */
export function document({
  linux,
  process,
  ...members
}: { linux?: Json; process?: Json; [member: string]: unknown } = {}): Json {
  return {
    ociVersion: '1.2.0',
    process: { args: ['sh'], cwd: '/', ...process },
    root: { path: 'rootfs' },
    ...members,
    linux: { namespaces: NAMESPACES, uidMappings: RANGE, gidMappings: RANGE, ...linux },
  };
}

/** The error that `body` throws. */
export function failureOf(body: () => unknown): Pick<SiltError, 'code' | 'message' | 'details'> {
  try {
    body();
  } catch (error) {
    if (error instanceof SiltError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

/** Why parseSpec refuses a document. */
export const refusal = (spec: Json) => failureOf(() => parseSpec(JSON.stringify(spec), 'config.json'));
