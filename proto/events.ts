/** Events of tasks: topics, messages, and the envelope in which containerd takes them. */
import type * as generated from '../build/proto/contracts';
import { contracts } from '../build/proto/contracts';
import { packAny } from './any';
import { type Codec, codec, type Draft } from './codec';
import { timestampOf } from './timestamp';

/**
 * Topic → message; the type URL is the message's `typeName`.
 *
 * In containerd's contract for shims (docs/runtime-v2.md, "Events") these must be published, in this order: create, start, exit,
 * delete for a task (delete also after create if it never ran); exec-added, exec-started, exit for an exec. The others should be.
 */
export const taskEvents = {
  '/tasks/create': codec(contracts.TaskCreate),
  '/tasks/start': codec(contracts.TaskStart),
  '/tasks/exit': codec(contracts.TaskExit),
  '/tasks/delete': codec(contracts.TaskDelete),
  '/tasks/exec-added': codec(contracts.TaskExecAdded),
  '/tasks/exec-started': codec(contracts.TaskExecStarted),
  '/tasks/oom': codec(contracts.TaskOOM),
  '/tasks/paused': codec(contracts.TaskPaused),
  '/tasks/resumed': codec(contracts.TaskResumed),
  '/tasks/checkpointed': codec(contracts.TaskCheckpointed),
} as const;
export type TaskTopic = keyof typeof taskEvents;
/** What to say about an event of this topic. */
export type TaskEvent<Topic extends TaskTopic> = Draft<ReturnType<(typeof taskEvents)[Topic]['decode']>>;

export const ForwardRequest = codec(contracts.ForwardRequest);
export type ForwardRequest = generated.ForwardRequest;

/** Where events go: containerd's own ttrpc service, at the address in TTRPC_ADDRESS. */
export const forwardMethod = {
  service: 'containerd.services.events.ttrpc.v1.Events',
  method: 'Forward',
  request: ForwardRequest,
  response: codec(contracts.Empty),
} as const;

/** Puts an event into its envelope. `time` is when it happened (containerd refuses an envelope without one). */
export function forwardRequest<Topic extends TaskTopic>(
  namespace: string,
  topic: Topic,
  event: TaskEvent<Topic>,
  time: Date | bigint,
): ForwardRequest {
  const eventCodec = taskEvents[topic] as Codec<object>;
  return { envelope: { timestamp: timestampOf(time), namespace, topic, event: packAny(eventCodec, event) } };
}
