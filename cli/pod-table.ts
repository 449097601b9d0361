import type { RecordedContainer } from '../sandbox';
import { table } from './table';

/** What containerd's CRI plugin writes into every spec of a pod (pkg/cri/annotations there). */
const CRI = 'io.kubernetes.cri.';
/** As many characters of an id as crictl shows. Any prefix that is unique will do for a command. */
const SHOWN_ID = 13;
const STATES: Readonly<Record<string, string>> = { created: 'Created', running: 'Running', stopped: 'Exited' };

/** What Kubernetes calls a container and its pod; empty for what it has not made. */
export interface CriNames {
  readonly name: string;
  readonly pod: string;
  readonly namespace: string;
}

export function criNames({ state: { annotations } }: Pick<RecordedContainer, 'state'>): CriNames {
  const of = (key: string): string => annotations[`${CRI}${key}`] ?? '';
  return { name: of('container-name'), pod: of('sandbox-name'), namespace: of('sandbox-namespace') };
}

/**
 * The containers of pods with their names and namespaces, as `crictl ps` has them; the pause container, which crictl does not
 * show, is the line of its pod. A container that Kubernetes has not made goes by its id.
 */
export function podTable(containers: readonly RecordedContainer[]): string {
  const rows = podRows(containers).map(({ id, status, name, sandbox, podId, pod, namespace }) => {
    const shown = sandbox ? '(pod)' : name || id;
    return [id.slice(0, SHOWN_ID), STATES[status] ?? status, shown, podId.slice(0, SHOWN_ID), pod, namespace];
  });
  return table([['CONTAINER', 'STATE', 'NAME', 'POD ID', 'POD', 'NAMESPACE'], ...rows]);
}

/** The same for programs, with whole ids and the statuses of `silt state`. */
export interface PodRow extends CriNames {
  readonly id: string;
  readonly status: string;
  /** Whether it is the pod's pause container. */
  readonly sandbox: boolean;
  readonly podId: string;
}

/** Pods together, each with its own line first. */
export function podRows(containers: readonly RecordedContainer[]): PodRow[] {
  const key = ({ namespace, pod, podId, sandbox, name, id }: PodRow): string =>
    [namespace, pod, podId, sandbox ? '' : name || id].join('\0');
  return containers
    .map((container) => ({
      id: container.id,
      status: container.status,
      sandbox: container.state.annotations[`${CRI}container-type`] === 'sandbox',
      podId: container.state.pod,
      ...criNames(container),
    }))
    .sort((a, b) => (key(a) < key(b) ? -1 : 1));
}
