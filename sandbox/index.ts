export * as cgroups from './cgroup';
export { type Config, type ConfigKeys, parseConfig, readConfig, readConfigFile } from './config/config';
export { removeContainerCgroup, updateContainerCgroup } from './container/cgroup';
export { asksForRestore, restoresInBackground } from './config/restore-annotations';
export { type Container, type ContainerStatus, createContainer, podEnding } from './container';
export { type ContainerRequest, planContainer } from './container/plan';
export { checkContainerId, createIndependent } from './container/create-independent';
export { joinedPod } from './pod/membership';
export { cpuFeatures } from './cpuid/features';
export { Exec } from './exec/exec';
export { FreezeRecord } from './state/freeze';
export { Hooks } from './container/hooks';
export { Host } from './host';
export { podIdRanges } from './pod/id-ranges';
export { type OomWatch, watchOom } from './container/oom';
export { type OverlayMode, parseOverlay, parseOverlay2 } from './config/overlay-mode';
export { Pod } from './pod/pod';
export { podPlan, type PodRequest } from './pod/plan';
export type { OnProgress, Progress } from './progress';
export { planPrograms } from './container/programs';
export { Process, signalToParked } from './process/process';
export { passedName } from './programs/process';
export { sendPidfd } from './terminal/send-fd';
export { allowSeed, containerName, SEED_ANNOTATION, seededNames, seedOf } from './config/seed-policy';
export { RecordedContainer, type RecordedStatus } from './container/recorded';
export { endPod, startPod } from './pod/start';
export {
  type ContainerState,
  DEFAULT_ROOT,
  isSameProcess,
  NO_PROCESS,
  recordProcess,
  StateDirectory,
} from './state/state';
export { checkMaster, keepNewlines, resizeTerminal, sendMaster, type TerminalSize } from './terminal/master';
export { type PendingOutput, Pump } from './terminal/pump';
export { removeUnfinished } from './pod/unfinished';
export type { Workshop } from './workshop';
export { allowCheckpointPath, type CheckpointFile } from './application';
