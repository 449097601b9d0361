import { resolve } from 'node:path';
import { SPEC_VERSION } from '../oci/version';
import type { RecordedContainer } from '../sandbox';

/** What `state` prints of a container, and `list` in JSON: the OCI runtime spec's state, with the fields that runc adds. */
export interface PrintedState {
  readonly ociVersion: string;
  readonly id: string;
  readonly pid: number;
  readonly status: string;
  readonly bundle: string;
  readonly rootfs: string;
  readonly created: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly owner: string;
  /** silt's own: why a container that was restored with `--background` was ended. */
  readonly memoryFailure?: string;
}

export function printedState(container: RecordedContainer): PrintedState {
  const { state, status } = container;
  const { annotations, bundle, created } = state;
  const { memoryFailure } = container;
  return {
    ociVersion: SPEC_VERSION,
    id: container.id,
    pid: container.pid,
    status,
    bundle,
    rootfs: rootOf(container),
    created,
    ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
    owner: '',
    ...(memoryFailure === undefined ? {} : { memoryFailure }),
  };
}

/** A container whose creation was cut short may have no spec. */
function rootOf(container: RecordedContainer): string {
  try {
    return resolve(container.state.bundle, container.spec.root?.path ?? 'rootfs');
  } catch {
    return '';
  }
}
