/** The Task service that a shim serves. */
import type * as generated from '../build/proto/contracts';
import { contracts } from '../build/proto/contracts';
import { codec, type Draft } from './codec';

/** Both versions have the same methods and the same messages, byte for byte; a shim of version 3 serves the second. */
export const taskServiceNames = { 2: 'containerd.task.v2.Task', 3: 'containerd.task.v3.Task' } as const;

/** A codec that takes and gives the same type. */
export interface SymmetricCodec<T> {
  readonly typeName: string;
  encode(message: T): Uint8Array;
  decode(bytes: Uint8Array): T;
}

/** A method's messages as its server sees them: requests have all fields, answers may leave some out. */
export interface ServerMethod<Request, Answer> {
  readonly request: SymmetricCodec<Request>;
  readonly response: SymmetricCodec<Draft<Answer>>;
}

function method<Request extends object, Answer extends object>(
  request: generated.Contract<Request>,
  response: generated.Contract<Answer>,
): ServerMethod<Request, Answer> {
  // Every T is a Draft<T>; the compiler cannot see that for a T it does not know.
  return {
    request: codec(request) as unknown as SymmetricCodec<Request>,
    response: codec(response) as unknown as SymmetricCodec<Draft<Answer>>,
  };
}

/** Method name → messages. */
export const taskMethods = {
  State: method(contracts.StateRequest, contracts.StateResponse),
  Create: method(contracts.CreateTaskRequest, contracts.CreateTaskResponse),
  Start: method(contracts.StartRequest, contracts.StartResponse),
  Delete: method(contracts.DeleteRequest, contracts.DeleteResponse),
  Pids: method(contracts.PidsRequest, contracts.PidsResponse),
  Pause: method(contracts.PauseRequest, contracts.Empty),
  Resume: method(contracts.ResumeRequest, contracts.Empty),
  Checkpoint: method(contracts.CheckpointTaskRequest, contracts.Empty),
  Kill: method(contracts.KillRequest, contracts.Empty),
  Exec: method(contracts.ExecProcessRequest, contracts.Empty),
  ResizePty: method(contracts.ResizePtyRequest, contracts.Empty),
  CloseIO: method(contracts.CloseIORequest, contracts.Empty),
  Update: method(contracts.UpdateTaskRequest, contracts.Empty),
  Wait: method(contracts.WaitRequest, contracts.WaitResponse),
  Stats: method(contracts.StatsRequest, contracts.StatsResponse),
  Connect: method(contracts.ConnectRequest, contracts.ConnectResponse),
  Shutdown: method(contracts.ShutdownRequest, contracts.Empty),
} as const;
export type TaskMethod = keyof typeof taskMethods;

/** The request of a method. */
export type TaskRequest<Name extends TaskMethod> = ReturnType<(typeof taskMethods)[Name]['request']['decode']>;
/** What a handler of the method returns. */
export type TaskAnswer<Name extends TaskMethod> = ReturnType<(typeof taskMethods)[Name]['response']['decode']>;
