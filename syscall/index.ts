export * from './builder';
export * from './calls';
export { C, errnoName, errnoNumber, hostArch, signalName, signalNumber, syscallNumbers, type Arch } from './constants';
export { type FailureNames, type Failures, namedFailures, Program } from './program';
export { isAtLeast, kernelVersion, parseVersion, type Version } from './kernel-version';
export { Kernel, RunResult, type ExitStatus, type Started } from './kernel';
export { lock, tryLock } from './lock';
export { ReportChannel, type Report } from './report-channel';
export { listProgram, type ListedInstruction, printProgram } from './print';
