/**
 * Options of a runtime, which come with Create, on the stdin of `start` and of `-info`, and with Checkpoint.
 *
 * Clients choose the type by the runtime's name. For one that is not `io.containerd.runc.v2`, containerd's CRI plugin sends
 * runtimeoptions.v1.Options if its configuration has an options table and nothing otherwise; `ctr run` sends it with
 * --runtime-config-path and nothing otherwise.
 */
import type * as generated from '../build/proto/contracts';
import { contracts } from '../build/proto/contracts';
import { isAny, unpackAny } from './any';
import { codec } from './codec';

export const RuncOptions = codec(contracts.RuncOptions);
export type RuncOptions = generated.RuncOptions;
export const RuncCheckpointOptions = codec(contracts.RuncCheckpointOptions);
export type RuncCheckpointOptions = generated.RuncCheckpointOptions;
export const RuncProcessDetails = codec(contracts.RuncProcessDetails);
export type RuncProcessDetails = generated.RuncProcessDetails;
export const LinuxRuncCreateOptions = codec(contracts.LinuxRuncCreateOptions);
export type LinuxRuncCreateOptions = generated.LinuxRuncCreateOptions;
export const LinuxRuncCheckpointOptions = codec(contracts.LinuxRuncCheckpointOptions);
export type LinuxRuncCheckpointOptions = generated.LinuxRuncCheckpointOptions;
export const RuntimeOptions = codec(contracts.RuntimeOptions);
export type RuntimeOptions = generated.RuntimeOptions;

/** The package's name in containerd 1.4 and before; same bytes. */
const oldRuntimeOptionsName = 'cri.runtimeoptions.v1.Options';

export type TaskOptions =
  | { readonly type: 'none' }
  | { readonly type: 'runc'; readonly options: RuncOptions }
  | { readonly type: 'linux-runc'; readonly options: LinuxRuncCreateOptions }
  | { readonly type: 'runtime'; readonly options: RuntimeOptions }
  | { readonly type: 'unknown'; readonly typeUrl: string };

/** Reads the options of Create, `start` or `-info`. An Any without type and value counts as none. */
export function unpackTaskOptions(any: generated.Any | undefined): TaskOptions {
  if (any === undefined || (any.typeUrl === '' && any.value.length === 0)) return { type: 'none' };
  const runc = unpackAny(RuncOptions, any);
  if (runc !== undefined) return { type: 'runc', options: runc };
  if (isAny(any, RuntimeOptions.typeName) || isAny(any, oldRuntimeOptionsName)) {
    return { type: 'runtime', options: RuntimeOptions.decode(any.value) };
  }
  const linuxRunc = unpackAny(LinuxRuncCreateOptions, any);
  if (linuxRunc !== undefined) return { type: 'linux-runc', options: linuxRunc };
  return { type: 'unknown', typeUrl: any.typeUrl };
}

/** The options of Checkpoint in the newer form, whichever came; undefined if there were none of a known type. */
export function unpackCheckpointOptions(any: generated.Any | undefined): RuncCheckpointOptions | undefined {
  const options = unpackAny(RuncCheckpointOptions, any);
  if (options !== undefined) return options;
  const older = unpackAny(LinuxRuncCheckpointOptions, any);
  return older === undefined ? undefined : { ...older, parentPath: '' };
}
