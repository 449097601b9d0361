/** Seccomp profiles of the OCI spec, compiled to classic BPF. */
export { allowOnly, compileSeccomp, type SeccompFilter } from './compile';
export { BASELINES, baselineFilter, type BaselineName, ownsKernel } from './baseline';
export { knownArchitectures } from './abis';
