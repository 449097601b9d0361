/**
 * Messages of containerd's public protocols. Definitions: proto/contracts/*.proto; how messages look as objects: codec.ts.
 *
 * `X.encode` and `X.decode` are the codec of the message X, the type `X` is what decode gives, `Draft<X>` what encode takes.
 */
import type * as generated from '../build/proto/contracts';
import { contracts } from '../build/proto/contracts';
import { codec } from './codec';

export { isAny, packAny, packSpec, specTypeUrls, type SpecType, unpackAny, specText } from './any';
export * from './bootstrap';
export type { Codec, Draft } from './codec';
export { getContainerMethod, type GetContainerResponse } from './containers';
export { forwardMethod, ForwardRequest, forwardRequest, taskEvents, type TaskEvent, type TaskTopic } from './events';
export * from './options';
export type { ServerMethod, SymmetricCodec } from './method';
export * from './sandbox';
export { type TaskAnswer, type TaskMethod, taskMethods, type TaskRequest, taskServiceNames } from './task';
export { dateOf, goZeroTime, nanosecondsOf, timestampOf } from './timestamp';

/** States of a task or exec in StateResponse. */
export { TaskStatus } from '../build/proto/contracts';

export const Any = codec(contracts.Any);
export type Any = generated.Any;
export const Empty = codec(contracts.Empty);
export type Empty = generated.Empty;
export type Timestamp = generated.Timestamp;
export type Mount = generated.Mount;
export type ProcessInfo = generated.ProcessInfo;

/** Also what `delete` prints. */
export const DeleteResponse = codec(contracts.DeleteResponse);
export type DeleteResponse = generated.DeleteResponse;

export const CgroupV1Metrics = codec(contracts.CgroupV1Metrics);
export type CgroupV1Metrics = generated.CgroupV1Metrics;
export const CgroupV2Metrics = codec(contracts.CgroupV2Metrics);
export type CgroupV2Metrics = generated.CgroupV2Metrics;

export type {
  CheckpointTaskRequest,
  CloseIORequest,
  ConnectRequest,
  ConnectResponse,
  CreateTaskRequest,
  CreateTaskResponse,
  DeleteRequest,
  ExecProcessRequest,
  KillRequest,
  PauseRequest,
  PidsRequest,
  PidsResponse,
  ResizePtyRequest,
  ResumeRequest,
  ShutdownRequest,
  StartRequest,
  StartResponse,
  StateRequest,
  StateResponse,
  StatsRequest,
  StatsResponse,
  TaskCheckpointed,
  TaskCreate,
  TaskDelete,
  TaskExecAdded,
  TaskExecStarted,
  TaskExit,
  TaskOOM,
  TaskPaused,
  TaskResumed,
  TaskStart,
  UpdateTaskRequest,
  WaitRequest,
  WaitResponse,
} from '../build/proto/contracts';
