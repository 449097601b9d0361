import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { Socket } from 'node:net';
import { SiltError } from '../../errors';
import { bodyOf, decodeMessage, encodeBody, encodeMessage, type Message, MESSAGE, type Value } from './wire';

/** What a call to systemd may take; a job waits for those before it (runc waits as long). */
const TIMEOUT_MS = 30_000;

/** systemd's own socket, which is root's and needs no bus, as systemctl uses it; and the bus, where it is not to be had. */
const SOCKETS = { own: '/run/systemd/private', bus: '/run/dbus/system_bus_socket' } as const;
const BUS = { path: '/org/freedesktop/DBus', interface: 'org.freedesktop.DBus', destination: 'org.freedesktop.DBus' };
const MANAGER = {
  path: '/org/freedesktop/systemd1',
  interface: 'org.freedesktop.systemd1.Manager',
  destination: 'org.freedesktop.systemd1',
};

/** A call that systemd has answered with an error: `errorName` is such as `org.freedesktop.systemd1.NoSuchUnit`. */
export class CallFailed extends Error {
  constructor(
    readonly errorName: string,
    message: string,
  ) {
    super(message);
  }
}

/**
 * A connection to the manager of systemd by D-Bus (org.freedesktop.systemd1(5)). What breaks it fails every call that waits. Whoever
 * opens it closes it.
 *
 * The few calls that silt makes are written here rather than with a D-Bus library: those bring introspection, XML and a server along
 * into a process of host root.
 */
export class Connection {
  readonly #waiting = new Map<number, (answer: Message) => void>();
  /** Results of jobs that ended, by object path, and who waits for them. */
  readonly #results = new Map<string, string>();
  #onResult: () => void = () => undefined;
  #received = Buffer.alloc(0);
  #serial = 0;
  #break: (reason: SiltError) => void = () => undefined;
  /** Rejects when the connection is of no more use. */
  readonly #broken = new Promise<never>((_, reject) => {
    this.#break = reject;
  });

  private constructor(
    private readonly socket: Socket,
    private readonly path: string,
  ) {
    this.#broken.catch(() => undefined);
    socket.on('data', (data) => this.#take(data));
    socket.on('error', (error) => this.#break(failed(path, error.message)));
    socket.on('close', () => this.#break(failed(path, 'the connection has ended')));
  }

  /** @throws SiltError SYSTEMD_FAILED naming the socket. */
  static async open(sockets: Readonly<Record<'own' | 'bus', string>> = SOCKETS): Promise<Connection> {
    const isBus = !existsSync(sockets.own);
    const path = isBus ? sockets.bus : sockets.own;
    // Where cgroups are silt's own nobody connects, and loading it is a tenth of a short command.
    const { createConnection } = process.getBuiltinModule('node:net');
    const socket = createConnection(path);
    try {
      await authenticate(socket);
    } catch (error) {
      socket.destroy();
      throw failed(path, (error as Error).message);
    }
    const connection = new Connection(socket, path);
    if (!isBus) return connection;
    try {
      await connection.#call(BUS, 'Hello');
      // systemd sends signals to the bus while somebody there has subscribed; on its own socket it always does.
      await connection.#call(BUS, 'AddMatch', 's', [
        `type='signal',interface='${MANAGER.interface}',member='JobRemoved'`,
      ]);
      await connection.ask('Subscribe');
      return connection;
    } catch (error) {
      connection.close();
      throw error instanceof CallFailed ? failed(path, error.message) : error;
    }
  }

  /**
   * Calls a method of the manager.
   * @returns the values of the answer
   * @throws CallFailed for an error that is answered, SiltError SYSTEMD_FAILED.
   */
  ask(member: string, signature?: string, values?: readonly Value[]): Promise<readonly Value[]> {
    return this.#call(MANAGER, member, signature, values);
  }

  /** Calls a method of the manager that answers with a job, and waits for the job's end (signal `JobRemoved`). @throws as {@link ask}. */
  async runJob(what: string, member: string, signature: string, values: readonly Value[]): Promise<void> {
    const [job] = (await this.ask(member, signature, values)) as [string];
    const ended = new Promise<string>((resolve) => {
      this.#onResult = () => {
        const result = this.#results.get(job);
        if (result !== undefined) resolve(result);
      };
      // The signal may have been faster than the answer.
      this.#onResult();
    });
    const result = await this.#within(what, ended);
    if (result !== 'done' && result !== 'skipped') {
      throw new SiltError('SYSTEMD_FAILED', `${what}: the job of systemd ended as ${result}; see its journal`);
    }
  }

  close(): void {
    this.socket.destroy();
  }

  async #call(
    on: typeof MANAGER,
    member: string,
    signature?: string,
    values: readonly Value[] = [],
  ): Promise<readonly Value[]> {
    const serial = ++this.#serial;
    const body = encodeBody(signature ?? '', values);
    const answered = new Promise<Message>((resolve) => this.#waiting.set(serial, resolve));
    this.socket.write(
      encodeMessage({ type: MESSAGE.call, serial, ...on, member, body, ...(signature && { signature }) }),
    );
    const answer = await this.#within(member, answered);
    const results = bodyOf(answer);
    if (answer.type !== MESSAGE.error) return results;
    const { errorName = '' } = answer;
    throw new CallFailed(errorName, typeof results[0] === 'string' ? results[0] : errorName);
  }

  /** @throws SiltError SYSTEMD_FAILED when `what` takes too long, or the connection breaks. */
  async #within<T>(what: string, promise: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(failed(this.path, `${what} takes more than ${TIMEOUT_MS / 1000} s`)), TIMEOUT_MS);
    });
    try {
      return await Promise.race([promise, late, this.#broken]);
    } finally {
      clearTimeout(timer);
    }
  }

  #take(data: Buffer): void {
    this.#received = Buffer.concat([this.#received, data]);
    try {
      for (;;) {
        const decoded = decodeMessage(this.#received);
        if (!decoded) return;
        this.#received = this.#received.subarray(decoded.size);
        this.#dispatch(decoded.message);
      }
    } catch (error) {
      this.#break(failed(this.path, (error as Error).message));
      this.socket.destroy();
    }
  }

  #dispatch(message: Message): void {
    if (message.type === MESSAGE.signal) {
      if (message.member !== 'JobRemoved') return;
      const [, job, , result] = bodyOf(message) as [number, string, string, string];
      this.#results.set(job, result);
      this.#onResult();
      return;
    }
    const { replySerial = 0 } = message;
    this.#waiting.get(replySerial)?.(message);
    this.#waiting.delete(replySerial);
  }
}

function failed(path: string, reason: string): SiltError {
  return new SiltError('SYSTEMD_FAILED', `cannot talk to systemd at ${path}: ${reason}`, { path });
}

/**
 * The line protocol before the messages ("Authentication Protocol"): EXTERNAL, the kernel tells who we are. All of it at once, as systemd's
 * own clients do: a message that systemd reads together with BEGIN it leaves lying until the next one.
 */
async function authenticate(socket: Socket): Promise<void> {
  const uid = Buffer.from(`${process.geteuid?.() ?? 0}`).toString('hex');
  socket.write(`\0AUTH EXTERNAL ${uid}\r\nBEGIN\r\n`);
  let answer = '';
  while (!answer.includes('\r\n')) {
    const [data] = (await once(socket, 'data', { signal: AbortSignal.timeout(TIMEOUT_MS) })) as [Buffer];
    answer += data.toString('latin1');
  }
  if (!answer.startsWith('OK ')) throw new Error(`authentication is refused: ${answer.trim()}`);
}
