/** ttrpc for Node: everything that users of the package may import. */
export { Client } from './client';
export type { ClientOptions, ConnectOptions } from './client';
export type { CallOptions } from './call-limits';
export type { BidiStreamCall, ClientStreamCall, RequestStream, ResponseStream } from './client-stream';
export type { Any, KeyValue } from './codec';
export { MAX_MESSAGE_LENGTH } from './frame';
export { Metadata } from './metadata';
export type { MetadataInit } from './metadata';
export { bidiStream, bytesCodec, clientStream, rawMethod, serverStream, unary } from './method';
export type {
  BidiStreamHandler,
  CallContext,
  ClientStreamHandler,
  Codec,
  MessageTypes,
  Method,
  MethodHandler,
  MethodName,
  ServerStreamHandler,
  UnaryHandler,
} from './method';
export { DEFAULT_SHUTDOWN_TIMEOUT_MS, Server } from './server';
export type { ServerOptions, ShutdownOptions } from './server';
export { errorCodes, Status, TtrpcError } from './status';
export type { ErrorCode, StatusNumber, TtrpcErrorOptions } from './status';
export { DEFAULT_STALL_TIMEOUT_MS } from './stream';
