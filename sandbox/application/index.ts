/** Checkpoints that a container's own programs ask for, and what they find in /dev/gvisor. */
export { allowCheckpointPath, applicationCheckpoint, requireCheckpointDirectory } from './annotations';
export { CheckpointFile, type CheckpointFileFds, type Outcome } from './checkpoint-file';
export { followOutcomes, sayingOutcome, sayOutcome } from './outcome';
export { applicationMounts, CHECKPOINT_FILE, DIRECTORY, SPEC_ENVIRON } from './places';
