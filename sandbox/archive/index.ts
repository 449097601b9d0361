/** Archives of uppers: the seeds that containers start from and the snapshots that are taken of them (PAX tar). */
export type { ArchiveWarning, OnWarning } from './entry';
export type { SyscallRunner } from './io/batch';
export { ARCHIVE_CALLS } from './io/calls';
export { DEFAULT_LIMITS, type Limits } from './limits';
export { pack, type PackOptions, type PackResult, type SharedSeed } from './pack';
export { readSmall, type SmallArchive, type SmallEntry } from './reader/small';
export { expectShortRun, SHORT_RUN_FLAGS } from './short-run';
export { unpack, type UnpackOptions, type UnpackResult } from './unpack';
export {
  performPrivileged,
  type DeviceRequest,
  type MarkRequest,
  type Privileged,
  type PrivilegedRequest,
} from './unpack/privileged';
export type { AllowDevice } from './unpack/unpacker';
export type { IdMaps, IdRange } from './pack/ids';
