/** Test support: raw frames, sockets in a directory of their own, and waiting. */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { Client } from '../client';
import type { ClientOptions } from '../client';
import { decodeResponse, encodeRequest } from '../codec';
import type { RequestMessage, ResponseMessage, WireParts } from '../codec';
import { FrameParser, HEADER_LENGTH, MessageType, writeHeader } from '../frame';
import type { FrameHeader } from '../frame';
import { Server } from '../server';
import type { ServerOptions } from '../server';
import type { TtrpcError } from '../status';

/** A frame with its payload. */
export interface ReceivedFrame extends Omit<FrameHeader, 'length'> {
  readonly payload: Buffer;
}

/** The bytes of a frame. `length` overrides the true length, for broken frames. */
export function frameBytes(frame: {
  streamId: number;
  type: number;
  flags?: number;
  payload?: Uint8Array;
  length?: number;
}): Buffer {
  const payload = frame.payload ?? Buffer.alloc(0);
  const header = Buffer.alloc(HEADER_LENGTH);
  const { streamId, type, flags = 0, length = payload.length } = frame;
  writeHeader(header, { streamId, type: type as MessageType, flags, length });
  return Buffer.concat([header, payload]);
}

/** The bytes of a message that was encoded without headroom. */
export function joinParts(parts: WireParts): Buffer {
  return Buffer.concat([parts.head, parts.body ?? Buffer.alloc(0)]);
}

/** The bytes of a request frame. */
export function requestBytes(streamId: number, request: Partial<RequestMessage>, flags = 0): Buffer {
  const message = { service: '', method: '', payload: new Uint8Array(0), timeoutNano: 0, metadata: [], ...request };
  return frameBytes({ streamId, type: MessageType.Request, flags, payload: joinParts(encodeRequest(message, 0)) });
}

/** Reads frames from a socket, one at a time. */
export class FrameReader {
  private readonly frames: ReceivedFrame[] = [];
  private readonly waiters: (() => void)[] = [];
  private ended = false;

  constructor(socket: Duplex) {
    const parser = new FrameParser({
      onFrame: (header, payload) => {
        this.frames.push({ streamId: header.streamId, type: header.type, flags: header.flags, payload });
        this.wake();
      },
      onOversize: () => {
        throw new Error('the peer sent an oversize frame');
      },
    });
    socket.on('data', (chunk: Buffer) => {
      parser.push(chunk);
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.ended = true;
      this.wake();
    });
  }

  /** The next frame; undefined when the socket is closed. */
  async next(): Promise<ReceivedFrame | undefined> {
    while (this.frames.length === 0 && !this.ended) await new Promise<void>((resolve) => this.waiters.push(resolve));
    return this.frames.shift();
  }

  /** The next frame, which must be a response on that stream. */
  async nextResponse(streamId: number): Promise<ResponseMessage> {
    const frame = await this.next();
    expect(frame).toMatchObject({ streamId, type: MessageType.Response, flags: 0 });
    return decodeResponse(frame!.payload);
  }

  private wake(): void {
    for (const wake of this.waiters.splice(0)) wake();
  }
}

/** A server on a unix socket of its own, and what was reported to its `onError`. */
export class TestServer {
  readonly errors: TtrpcError[] = [];
  readonly server: Server;
  readonly path: string;
  private readonly directory = mkdtempSync(join(tmpdir(), 'ttrpc-test-'));
  private readonly clients: Client[] = [];
  private readonly sockets: Socket[] = [];

  constructor(options: ServerOptions = {}) {
    this.path = join(this.directory, 'ttrpc.sock');
    this.server = new Server({ ...options, onError: (error) => this.errors.push(error) });
  }

  async start(): Promise<void> {
    await this.server.serve(createServer().listen(this.path));
  }

  async client(options?: ClientOptions): Promise<Client> {
    const client = await Client.connect(this.path, options);
    this.clients.push(client);
    return client;
  }

  /** A plain connection, to send what a client would not. */
  async socket(): Promise<Socket> {
    const socket = connect({ path: this.path });
    this.sockets.push(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return socket;
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await Promise.all(this.clients.map((client) => client.close()));
    await this.server.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Waits until the condition holds; fails when the limit is reached. */
export async function eventually(condition: () => boolean, what: string, limitMs = 4000): Promise<void> {
  const end = Date.now() + limitMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not so after ${limitMs} ms: ${what}`);
    await sleep(5);
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A promise with the function that resolves it. */
export function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

/** Everything that an iterable yields. */
export async function collect<T>(iterable: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of iterable) all.push(item);
  return all;
}

/** UTF-8 text as a message. */
export const textCodec = {
  encode: (text: string): Uint8Array => Buffer.from(text),
  decode: (bytes: Uint8Array): string => Buffer.from(bytes).toString(),
};

/** For `toThrow`: any error with that code. */
export function errorWith(code: string): Error {
  return expect.objectContaining({ code }) as Error;
}
