/** Exec, attach and port forwarding over WebSocket, as Kubernetes' streaming server offers it (v4.channel.k8s.io). */
import { once } from 'node:events';
import { waitFor } from '../deadline';

/** The channel is the first byte of every message. */
const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4 } as const;

export class StreamingSession {
  readonly #received = new Map<number, Buffer[]>();
  readonly closed: Promise<void>;

  private constructor(private readonly socket: WebSocket) {
    socket.binaryType = 'arraybuffer';
    socket.addEventListener('message', ({ data }) => {
      const message = Buffer.from(data as ArrayBuffer);
      const channel = message[0]!;
      this.#received.set(channel, [...(this.#received.get(channel) ?? []), message.subarray(1)]);
    });
    this.closed = once(socket, 'close').then(() => undefined);
  }

  /** @param url what Exec, Attach or PortForward answered; the session is to be closed */
  static async open(url: string): Promise<StreamingSession> {
    const socket = new WebSocket(url.replace(/^http/, 'ws'), ['v4.channel.k8s.io']);
    const session = new StreamingSession(socket);
    await new Promise<void>((resolve, reject) => {
      socket.addEventListener('open', () => resolve());
      socket.addEventListener('error', () => reject(new Error(`cannot stream from ${url}`)));
    });
    return session;
  }

  send(text: string, channel: keyof typeof channels = 'stdin'): void {
    this.socket.send(Buffer.concat([Buffer.from([channels[channel]]), Buffer.from(text)]));
  }

  /** What has come so far. */
  read(channel: keyof typeof channels = 'stdout'): string {
    return Buffer.concat(this.#received.get(channels[channel]) ?? []).toString();
  }

  /** Waits until the text that has come matches. */
  async waitFor(pattern: RegExp, channel: keyof typeof channels = 'stdout'): Promise<RegExpExecArray> {
    return waitFor(`${String(pattern)} on ${channel}`, () => pattern.exec(this.read(channel)) ?? undefined, {
      detail: () => JSON.stringify(this.read(channel)),
    });
  }

  close(): void {
    this.socket.close();
  }
}
