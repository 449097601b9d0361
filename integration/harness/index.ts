/** What integration tests use; each module says more. */
export { binDirectory, checkout, siltProgram } from './checkout';
export {
  checkpointCommandSuite,
  checkpointIn,
  checkpointProgramSuite,
  checkpointSuite,
  restoreContainer,
  startWithStdio,
  takeCheckpoint,
  takeLastCheckpoint,
} from './checkpoint';
export { runtimeWith, whyNoController } from './cgroup-controllers';
export { BackgroundCommand, mustRun, runCommand, startCommand, type CommandResult } from './command';
export { CommandLine, commandLineSuite, Runtime, type BundleChanges } from './command-line';
export { baseDirectory, Containerd, startContainerd, type ContainerdOptions, type RunOptions } from './containerd';
export { findCriu, tooOldCriu } from './criu';
export { findPeerProgram } from './peers';
export { findProgramRoot } from './program-root';
export { sleep, waitFor } from './deadline';
export { deleteTask, EventWatch, type ContainerEvent } from './events';
export { imageName } from './image';
export { childrenOf, isAlive, namespacePids, openFiles, readProcess } from './processes';
export { Terminal } from './pty';
export { type Json, shellSpec, SpecBench } from './spec-bench';
export {
  containerdSuite,
  untilRead,
  isSilt,
  onMachinesContainerd,
  peerRelease,
  runtime,
  sandboxPid,
  shimPid,
  shimSocket,
  siltTest,
  taskPid,
  taskStatus,
  testIf,
} from './suite';
export { Systemd, SYSTEMD_LAYOUTS, whyNoSystemd } from './systemd';
export type { SystemdLayout } from './systemd';
export { describeTree, plainNames, readTar, type ReadEntry } from './tar-reader';
export { tarArchive, tarEntry, type TarEntry, writeNamedSeed } from './tar-writer';
