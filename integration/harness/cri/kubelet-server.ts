/** The kubelet's own server, with a certificate of its own making and open to everybody on the loopback. */
import { Agent, request } from 'node:https';
import { createServer } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { StreamingSession } from './streaming';

export class KubeletServer {
  readonly #agent = new Agent({ rejectUnauthorized: false, keepAlive: true });

  constructor(readonly port: number) {}

  /** Ends its connections. */
  close(): void {
    this.#agent.destroy();
  }

  get(path: string): Promise<string> {
    return this.call('GET', path);
  }

  /** The text of the answer. Rejects with the server's words unless its status is 200. */
  call(method: string, path: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const sent = request(
        { host: '127.0.0.1', port: this.port, path, method, agent: this.#agent, timeout: 60_000 },
        (answer) => {
          const parts: Buffer[] = [];
          answer.on('data', (part: Buffer) => parts.push(part));
          answer.on('error', reject);
          answer.on('end', () => {
            const text = Buffer.concat(parts).toString();
            if (answer.statusCode === 200) resolve(text);
            else reject(new Error(`${method} ${path}: ${answer.statusCode} ${text}`));
          });
        },
      );
      sent.on('error', reject);
      sent.on('timeout', () => sent.destroy(new Error(`${method} ${path}: no answer`)));
      sent.end();
    });
  }

  /**
   * What kubectl does by way of the API server. A WebSocket here cannot be told to take the kubelet's own certificate, so it goes
   * by a relay without TLS.
   * @param path such as `exec/default/POD/CONTAINER`
   * @param use the session ends with it
   */
  async stream(
    path: string,
    query: readonly (readonly [string, string])[],
    use: (session: StreamingSession) => Promise<void>,
  ): Promise<void> {
    const relay = createServer((socket) => {
      const kubelet = connectTls({ host: '127.0.0.1', port: this.port, rejectUnauthorized: false });
      socket.pipe(kubelet).pipe(socket);
      socket.on('error', () => kubelet.destroy());
      kubelet.on('error', () => socket.destroy());
    });
    await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
    const { port } = relay.address() as { port: number };
    const words = new URLSearchParams(query.map(([key, value]): [string, string] => [key, value])).toString();
    try {
      const session = await StreamingSession.open(`http://127.0.0.1:${port}/${path}?${words}`);
      try {
        await use(session);
      } finally {
        session.close();
      }
    } finally {
      relay.close();
    }
  }
}
