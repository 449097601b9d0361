import { spawn } from 'node:child_process';
import { Client } from 'ttrpc';
import { SiltError } from '../errors';
import { Any, type ForwardRequest, forwardMethod, forwardRequest, type TaskEvent, type TaskTopic } from '../proto';

/** Where containerd takes events. */
export interface PublisherOptions {
  readonly namespace: string;
  /** Path of containerd's ttrpc socket (TTRPC_ADDRESS); empty when there is none. */
  readonly ttrpcAddress: string;
  /** containerd's gRPC address and the program that publishes one event given on stdin, for when ttrpc fails. */
  readonly address: string;
  readonly publishBinary: string;
  readonly onError: (message: string) => void;
}

const CALL_TIMEOUT_MS = 5000;
/** Every so many attempts containerd's publish binary is tried instead of its ttrpc socket, which may have moved or lost the service. */
const BINARY_EVERY = 4;
const RETRY_MS = [20, 50, 100, 250, 500, 1000] as const;
/** Events kept while containerd is away; beyond that the oldest go, since a task's end matters more than its start. */
const MAX_QUEUED = 4096;

/**
 * Sends events to containerd in the order in which they were published. While containerd is away they wait; a newer one never
 * passes an older one.
 */
export class Publisher {
  readonly #queue: ForwardRequest[] = [];
  #client: Client | undefined;
  #draining: Promise<void> | undefined;
  #stopped = false;

  constructor(private readonly options: PublisherOptions) {}

  publish<Topic extends TaskTopic>(topic: Topic, event: TaskEvent<Topic>): void {
    if (this.#queue.length === MAX_QUEUED) this.#queue.shift();
    this.#queue.push(forwardRequest(this.options.namespace, topic, event, new Date()));
    this.#draining ??= this.#drain();
  }

  /** Waits until all events are out, at most `timeoutMs`, and closes the connection. */
  async close(timeoutMs: number): Promise<void> {
    const timeout = new Promise<void>((resolve) => setTimeout(resolve, timeoutMs).unref());
    await Promise.race([this.#draining ?? Promise.resolve(), timeout]);
    this.#stopped = true;
    await this.#client?.close();
  }

  async #drain(): Promise<void> {
    for (let failures = 0; this.#queue.length > 0 && !this.#stopped;) {
      const request = this.#queue[0]!;
      try {
        await this.#send(request, failures);
        // Unless the queue has overflowed meanwhile: then it was the oldest, and is gone already.
        if (this.#queue[0] === request) this.#queue.shift();
        failures = 0;
      } catch (error) {
        if (failures === 0)
          this.options.onError(`cannot publish ${request.envelope?.topic}: ${(error as Error).message}`);
        const delay = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]!;
        failures++;
        await new Promise((resolve) => setTimeout(resolve, delay).unref());
      }
    }
    // In the same step in which the queue was found empty: an event that comes a moment later starts anew.
    this.#draining = undefined;
  }

  async #send(request: ForwardRequest, failures: number): Promise<void> {
    if (this.options.ttrpcAddress === '' || failures % BINARY_EVERY === BINARY_EVERY - 1) {
      await this.#sendByBinary(request);
      return;
    }
    try {
      this.#client ??= await Client.connect(this.options.ttrpcAddress);
      await this.#client.call(forwardMethod, request, { timeoutMs: CALL_TIMEOUT_MS });
    } catch (error) {
      const client = this.#client;
      this.#client = undefined;
      await client?.close();
      throw error;
    }
  }

  /** containerd's own publisher, which the shim is given by name: one process per event, so only where ttrpc fails. */
  #sendByBinary(request: ForwardRequest): Promise<void> {
    const { address, publishBinary, namespace } = this.options;
    const { topic, event } = request.envelope!;
    return new Promise((resolve, reject) => {
      const args = ['--address', address, 'publish', '--topic', topic, '--namespace', namespace];
      const child = spawn(publishBinary, args, {
        stdio: ['pipe', 'ignore', 'ignore'],
        timeout: CALL_TIMEOUT_MS,
        killSignal: 'SIGKILL',
      });
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        if (code === 0) resolve();
        else reject(new SiltError('INTERNAL', `${publishBinary} ended with ${code ?? signal}`));
      });
      child.stdin.on('error', () => undefined);
      child.stdin.end(Any.encode(event!));
    });
  }
}
