import type { Spec } from '../../oci';
import { CONTAINER_TYPE, SANDBOX_ID } from '../config/cri-annotations';

/** Annotations by which an engine says that a container is one of a pod's, and of which: containerd's CRI plugin, CRI-O. */
const MEMBERSHIP = [
  { type: CONTAINER_TYPE, sandbox: SANDBOX_ID },
  { type: 'io.kubernetes.cri-o.ContainerType', sandbox: 'io.kubernetes.cri-o.SandboxID' },
];

/** The pod that a container joins, or undefined when it gets one of its own, named as itself. */
export function joinedPod(id: string, { annotations = {} }: Pick<Spec, 'annotations'>): string | undefined {
  for (const { type, sandbox } of MEMBERSHIP) {
    const pod = annotations[sandbox];
    if (annotations[type] === 'container' && pod !== undefined && pod !== id) return pod;
  }
  return undefined;
}
