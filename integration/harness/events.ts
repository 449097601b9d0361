/** containerd's events as `ctr events` prints them, of one namespace, in the order in which they came. */
import type { BackgroundCommand } from './command';
import type { Containerd } from './containerd';
import { waitFor, type WaitOptions } from './deadline';

export interface ContainerEvent {
  /** Such as `/tasks/start`. */
  readonly topic: string;
  /** The event's fields by their protobuf JSON names. */
  readonly body: Readonly<Record<string, unknown>>;
}

export class EventWatch {
  private constructor(private readonly command: BackgroundCommand) {}

  /** Subscribes, and returns once events do arrive (`ctr events` itself says nothing about that). */
  static async start(containerd: Containerd): Promise<EventWatch> {
    const command = containerd.startCtr(['events']);
    let count = 0;
    await waitFor('ctr events to deliver', async () => {
      count += 1;
      await containerd.mustCtr(['namespaces', 'label', containerd.namespace, `probe=${count}`]);
      return command.stdout.includes('/namespaces/update');
    });
    return new EventWatch(command);
  }

  /** All task events so far. */
  get events(): ContainerEvent[] {
    const found: ContainerEvent[] = [];
    for (const line of this.command.stdout.toString().split('\n')) {
      const match = /^\S+ \S+ \S+ \S+ \S+ (\/tasks\/\S+) (\{.*\})$/.exec(line);
      if (match !== null) found.push({ topic: match[1]!, body: JSON.parse(match[2]!) as Record<string, unknown> });
    }
    return found;
  }

  /** The task events of one container. */
  of(id: string): ContainerEvent[] {
    return this.events.filter(({ body }) => body['container_id'] === id);
  }

  /** Waits until the container has had an event of this topic. */
  async waitForTopic(id: string, topic: string, options: WaitOptions = {}): Promise<ContainerEvent> {
    return waitFor(`${topic} of ${id}`, () => this.of(id).find((event) => event.topic === topic), {
      detail: () => JSON.stringify(this.of(id)),
      ...options,
    });
  }

  async stop(): Promise<void> {
    await this.command.stop();
  }
}

/** Kills a task if it runs, deletes it, and returns the exit status that its delete event tells. The container stays. */
export async function deleteTask(containerd: Containerd, id: string): Promise<unknown> {
  const watch = await EventWatch.start(containerd);
  try {
    await containerd.mustCtr(['tasks', 'delete', '--force', id]);
    const { body } = await watch.waitForTopic(id, '/tasks/delete');
    // A status of 0 is left out of the event's JSON.
    return body['exit_status'] ?? 0;
  } finally {
    await watch.stop();
  }
}
