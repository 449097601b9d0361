/** Annotations by which containerd's CRI plugin says what a container is to a pod. */
export const CONTAINER_TYPE = 'io.kubernetes.cri.container-type';
/** The pod's id. */
export const SANDBOX_ID = 'io.kubernetes.cri.sandbox-id';
/** The name of every container of a pod but the one that only holds it. */
export const CONTAINER_NAME = 'io.kubernetes.cri.container-name';
