/** Methods: how their messages are written and read, and how a server's handlers are declared. */
import type { Metadata } from './metadata';
import { messageOf, TtrpcError } from './status';
import type { ErrorCode } from './status';

/** How one message type becomes bytes and back. Both functions may throw. */
export interface Codec<T> {
  encode(message: T): Uint8Array;
  /** `bytes` may be a view of a larger buffer: copy what is to be kept for long. */
  decode(bytes: Uint8Array): T;
}

/** The message types of a method. */
export interface MessageTypes<Req, Res> {
  readonly request: Codec<Req>;
  readonly response: Codec<Res>;
}

/** Where a method is found on a server. */
export interface MethodName {
  /** Full name with the protobuf package, such as `containerd.task.v2.Task`. */
  readonly service: string;
  readonly method: string;
}

/** A method as a client calls it. One constant can serve the client and, as {@link MessageTypes}, the server. */
export interface Method<Req, Res> extends MethodName, MessageTypes<Req, Res> {}

/** Leaves the bytes as they are. */
export const bytesCodec: Codec<Uint8Array> = { encode: (bytes) => bytes, decode: (bytes) => bytes };

const rawTypes: MessageTypes<Uint8Array, Uint8Array> = { request: bytesCodec, response: bytesCodec };

/** A method whose messages the caller encodes and decodes itself. */
export function rawMethod(service: string, method: string): Method<Uint8Array, Uint8Array> {
  return { service, method, ...rawTypes };
}

/** What a handler knows about its call. */
export interface CallContext {
  readonly service: string;
  readonly method: string;
  readonly metadata: Metadata;
  /** When the caller gives up, in milliseconds of Unix time; undefined if it waits without limit. */
  readonly deadlineMs: number | undefined;
  /**
   * Aborted when nobody waits for the answer any more: the deadline has passed, the connection is gone, or the server
   * was closed. The reason is a {@link TtrpcError}. Not aborted by the end of the call itself.
   */
  readonly signal: AbortSignal;
}

export type UnaryHandler<Req, Res> = (request: Req, context: CallContext) => Res | Promise<Res>;
export type ServerStreamHandler<Req, Res> = (request: Req, context: CallContext) => AsyncIterable<Res>;
export type ClientStreamHandler<Req, Res> = (requests: AsyncIterable<Req>, context: CallContext) => Res | Promise<Res>;
export type BidiStreamHandler<Req, Res> = (requests: AsyncIterable<Req>, context: CallContext) => AsyncIterable<Res>;

interface Handlers {
  unary: UnaryHandler<unknown, unknown>;
  serverStream: ServerStreamHandler<unknown, unknown>;
  clientStream: ClientStreamHandler<unknown, unknown>;
  bidiStream: BidiStreamHandler<unknown, unknown>;
}

/** A handler with its kind and its message types, made by {@link unary} and its like. */
export type MethodHandler = {
  [Kind in keyof Handlers]: {
    readonly kind: Kind;
    readonly types: MessageTypes<unknown, unknown>;
    readonly handle: Handlers[Kind];
  };
}[keyof Handlers];

/** One request, one answer. Without `types` the handler gets and returns bytes. */
export function unary(handler: UnaryHandler<Uint8Array, Uint8Array>): MethodHandler;
export function unary<Req, Res>(types: MessageTypes<Req, Res>, handler: UnaryHandler<Req, Res>): MethodHandler;
export function unary(...args: unknown[]): MethodHandler {
  return declareHandler('unary', args);
}

/**
 * One request, any number of answers: the handler is an async generator, or returns another async iterable. It is
 * asked for the next answer only when the socket takes more, and `return()` is called on it if the call ends early.
 */
export function serverStream(handler: ServerStreamHandler<Uint8Array, Uint8Array>): MethodHandler;
export function serverStream<Req, Res>(
  types: MessageTypes<Req, Res>,
  handler: ServerStreamHandler<Req, Res>,
): MethodHandler;
export function serverStream(...args: unknown[]): MethodHandler {
  return declareHandler('serverStream', args);
}

/**
 * Any number of requests, one answer. The iterable throws if the call ends early: `CONNECTION_CLOSED`,
 * `DEADLINE_EXCEEDED`, `STREAM_FULL` or `CANCELLED` (the server was closed), or `INVALID_ARGUMENT` at a message that
 * cannot be decoded.
 */
export function clientStream(handler: ClientStreamHandler<Uint8Array, Uint8Array>): MethodHandler;
export function clientStream<Req, Res>(
  types: MessageTypes<Req, Res>,
  handler: ClientStreamHandler<Req, Res>,
): MethodHandler;
export function clientStream(...args: unknown[]): MethodHandler {
  return declareHandler('clientStream', args);
}

/** Any number of requests and of answers, in any order. See {@link serverStream} and {@link clientStream}. */
export function bidiStream(handler: BidiStreamHandler<Uint8Array, Uint8Array>): MethodHandler;
export function bidiStream<Req, Res>(
  types: MessageTypes<Req, Res>,
  handler: BidiStreamHandler<Req, Res>,
): MethodHandler;
export function bidiStream(...args: unknown[]): MethodHandler {
  return declareHandler('bidiStream', args);
}

/** The overloads above have checked that handler and types fit; from here on the message types are not known. */
function declareHandler(kind: keyof Handlers, args: unknown[]): MethodHandler {
  const [types, handle] = args.length === 1 ? [rawTypes, args[0]] : args;
  return { kind, types, handle } as MethodHandler;
}

/** Decodes what a peer sent. Throws the error `code`, which says whose fault that is, with the codec's as cause. */
export function decodeWith<T>(codec: Codec<T>, bytes: Uint8Array, code: ErrorCode): T {
  try {
    return codec.decode(bytes);
  } catch (error) {
    throw new TtrpcError(code, `a received message cannot be decoded: ${messageOf(error)}`, { cause: error });
  }
}

/** Encodes a message to send. Throws the error `code` with the codec's as cause, also if the result is not bytes. */
export function encodeWith<T>(codec: Codec<T>, message: T, code: ErrorCode): Uint8Array {
  let bytes: unknown;
  try {
    bytes = codec.encode(message);
  } catch (error) {
    throw new TtrpcError(code, `a message cannot be encoded: ${messageOf(error)}`, { cause: error });
  }
  if (bytes instanceof Uint8Array) return bytes;
  throw new TtrpcError(code, `a message cannot be encoded: the result is ${typeof bytes}, not a Uint8Array`);
}
