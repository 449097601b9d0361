/** Checkpoints of running containers, and what brings them back. CRIU does the processes, silt everything else. */
export { checkpoint, type CheckpointOptions, type CheckpointSource } from './dump';
export { type CheckpointImage, openCheckpoint } from './image';
export {
  checkpointInPod,
  findInPod,
  POD_MANIFEST,
  readPodManifest,
  restoredName,
  type SavedContainer,
  writePodManifest,
} from '../checkpoint-image/pod';
export { claimTarget } from './target';
export { MANIFEST } from '../checkpoint-image/manifest';
export { Restored } from './restore';
export { keepStill } from './standstill';
