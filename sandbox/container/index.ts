/** Containers: how one comes to be in a pod, up to its parked first process, and what can be asked of it from then on. */
export { Container, type ContainerStatus } from './container';
export { createContainer, podEnding } from './create';
