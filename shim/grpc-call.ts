import { connect as connectSocket } from 'node:net';
import { unescape } from 'node:querystring';
import type { ClientHttp2Session, IncomingHttpHeaders } from 'node:http2';
import type { Codec, Draft } from '../proto';

/** A unary method of a gRPC service. */
export interface GrpcMethod<Request, Answer> {
  /** `/package.Service/Method`. */
  readonly path: string;
  readonly request: Codec<Request>;
  readonly response: Codec<Answer>;
}

const PREFIX_SIZE = 5;
const MAX_ANSWER = 16 << 20;

/**
 * Calls containerd once, on a connection of its own that is closed then. By node:http2 alone, since for one call in a pod's life
 * @grpc/grpc-js would be loaded, which is larger than all the rest of the shim. The form is that of gRPC's "PROTOCOL-HTTP2.md": each
 * message behind a byte for its compression, here none, and its length.
 * @param address containerd's socket, a path
 * @throws Error when it does not answer in time, or with an error.
 */
export async function callContainerd<Request, Answer>(
  { address, namespace, timeoutMs }: { address: string; namespace: string; timeoutMs: number },
  method: GrpcMethod<Request, Answer>,
  request: Draft<Request>,
): Promise<Answer> {
  const session = loadHttp2().connect('http://localhost', { createConnection: () => connectSocket(address) });
  try {
    const body = await exchange(session, { namespace, timeoutMs, path: method.path }, method.request.encode(request));
    return method.response.decode(messageOf(body));
  } catch (error) {
    throw new Error(`${method.path} of containerd at ${address}: ${(error as Error).message}`, { cause: error });
  } finally {
    session.destroy();
  }
}

function exchange(
  session: ClientHttp2Session,
  { namespace, timeoutMs, path }: { namespace: string; timeoutMs: number; path: string },
  message: Uint8Array,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer for ${timeoutMs} ms`)), timeoutMs);
    session.on('error', reject);
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      'containerd-namespace': namespace,
    });
    const parts: Buffer[] = [];
    let size = 0;
    let verdict: IncomingHttpHeaders = {};
    const hear = (headers: IncomingHttpHeaders): void => {
      verdict = { ...verdict, ...headers };
    };
    stream.on('response', hear);
    stream.on('trailers', hear);
    stream.on('data', (part: Buffer) => {
      parts.push(part);
      if ((size += part.length) > MAX_ANSWER) stream.destroy(new Error(`an answer of more than ${MAX_ANSWER} bytes`));
    });
    stream.on('error', reject);
    stream.once('close', () => {
      clearTimeout(timer);
      const { 'grpc-status': status, 'grpc-message': text } = verdict;
      if (status === '0') resolve(Buffer.concat(parts));
      else reject(new Error(typeof text === 'string' ? unescape(text) : `status ${[status ?? 'unknown'].join()}`));
    });
    const prefix = Buffer.alloc(PREFIX_SIZE);
    prefix.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([prefix, message]));
  });
}

function messageOf(body: Buffer): Buffer {
  if (body.length < PREFIX_SIZE || body[0] !== 0 || body.readUInt32BE(1) !== body.length - PREFIX_SIZE)
    throw new Error('its answer is no message');
  return body.subarray(PREFIX_SIZE);
}

/** Not with the shim's start: it takes as long as much of the rest. */
function loadHttp2(): typeof import('node:http2') {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- the shim's code cannot import() (sandbox/state/code-cache.ts)
  return require('node:http2') as typeof import('node:http2');
}
