/** The Task service that a shim serves. */
import { contracts } from '../build/proto/contracts';
import { method } from './method';

/** Both versions have the same methods and the same messages, byte for byte; a shim of version 3 serves the second. */
export const taskServiceNames = { 2: 'containerd.task.v2.Task', 3: 'containerd.task.v3.Task' } as const;

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
