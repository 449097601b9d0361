/**
 * Status numbers, error codes and the one error class.
 *
 * The numbers are gRPC's (grpc/doc/statuscodes.md), because google.rpc.Status is what a ttrpc answer carries.
 */
import type { Any, StatusMessage } from './codec';

/** Status numbers as they stand on the wire. */
export const Status = {
  Ok: 0,
  Cancelled: 1,
  Unknown: 2,
  InvalidArgument: 3,
  DeadlineExceeded: 4,
  NotFound: 5,
  AlreadyExists: 6,
  PermissionDenied: 7,
  ResourceExhausted: 8,
  FailedPrecondition: 9,
  Aborted: 10,
  OutOfRange: 11,
  Unimplemented: 12,
  Internal: 13,
  Unavailable: 14,
  DataLoss: 15,
  Unauthenticated: 16,
} as const;
export type StatusNumber = (typeof Status)[keyof typeof Status];

/**
 * Every error code with the status number it has. The first sixteen name an answer's status, one each; the others are
 * found on this side of the socket and share a status with one of them.
 */
export const errorCodes = {
  CANCELLED: Status.Cancelled,
  UNKNOWN: Status.Unknown,
  INVALID_ARGUMENT: Status.InvalidArgument,
  DEADLINE_EXCEEDED: Status.DeadlineExceeded,
  NOT_FOUND: Status.NotFound,
  ALREADY_EXISTS: Status.AlreadyExists,
  PERMISSION_DENIED: Status.PermissionDenied,
  RESOURCE_EXHAUSTED: Status.ResourceExhausted,
  FAILED_PRECONDITION: Status.FailedPrecondition,
  ABORTED: Status.Aborted,
  OUT_OF_RANGE: Status.OutOfRange,
  UNIMPLEMENTED: Status.Unimplemented,
  INTERNAL: Status.Internal,
  UNAVAILABLE: Status.Unavailable,
  DATA_LOSS: Status.DataLoss,
  UNAUTHENTICATED: Status.Unauthenticated,
  /** The socket could not be connected; `cause` has the errno. */
  CONNECTION_FAILED: Status.Unavailable,
  /** The connection ended, by either side, before the call did. Whether the call took effect is not known. */
  CONNECTION_CLOSED: Status.Unavailable,
  /** The peer broke the protocol; the connection is closed. */
  PROTOCOL_ERROR: Status.Internal,
  /** A message was sent on a stream that is finished or was closed by this side. */
  STREAM_CLOSED: Status.FailedPrecondition,
  /** A stream's received messages were not read in time, and it was given up so that other calls could go on. */
  STREAM_FULL: Status.ResourceExhausted,
} as const satisfies Record<string, StatusNumber>;
export type ErrorCode = keyof typeof errorCodes;

const codeOfStatus = new Map<number, ErrorCode>();
for (const [code, status] of Object.entries(errorCodes)) {
  if (!codeOfStatus.has(status)) codeOfStatus.set(status, code as ErrorCode);
}

/** What can be added to a {@link TtrpcError}. */
export interface TtrpcErrorOptions {
  /** Messages that go with the status, in the order they stand on the wire. */
  readonly details?: readonly Any[];
  readonly cause?: unknown;
}

/**
 * The error of every failed call. Compare `code` (or `status`), never the message.
 *
 * A handler throws it to answer with that status; a client's calls reject with it.
 */
export class TtrpcError extends Error {
  override readonly name = 'TtrpcError';
  /** The details of the status, empty if there are none. */
  readonly details: readonly Any[];

  constructor(
    readonly code: ErrorCode,
    message: string,
    options: TtrpcErrorOptions = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.details = options.details ?? [];
  }

  /** The status number of `code`, from 1 to 16. */
  get status(): StatusNumber {
    return errorCodes[this.code];
  }

  /** The error for a status that a peer sent. A number outside of gRPC's table becomes `UNKNOWN`. */
  static fromStatus(status: StatusMessage): TtrpcError {
    return new TtrpcError(codeOfStatus.get(status.code) ?? 'UNKNOWN', status.message, { details: status.details });
  }
}

/**
 * The status to answer with for whatever a handler threw.
 *
 * A numeric `status` or else a numeric `code` from 1 to 16 is taken over (so errors of other libraries need no
 * wrapping), anything else is Unknown. `details` are sent if they are a list of {@link Any}. Never throws.
 */
export function statusOfError(error: unknown): StatusMessage {
  try {
    if (typeof error !== 'object' || error === null) {
      return { code: Status.Unknown, message: String(error), details: [] };
    }
    const { status, code, message, details } = error as Record<string, unknown>;
    return {
      code: isErrorStatus(status) ? status : isErrorStatus(code) ? code : Status.Unknown,
      message: typeof message === 'string' ? message : 'the handler threw an object without a message',
      details: Array.isArray(details) ? details.filter(isAny) : [],
    };
  } catch (unreadable) {
    // A thrown value may have getters or a toString that throw; the caller must get an answer all the same.
    const reason = unreadable instanceof Error ? unreadable.message : 'no reason given';
    return { code: Status.Unknown, message: `the handler threw a value that cannot be read: ${reason}`, details: [] };
  }
}

function isErrorStatus(value: unknown): value is StatusNumber {
  return typeof value === 'number' && codeOfStatus.has(value);
}

function isAny(value: unknown): value is Any {
  if (typeof value !== 'object' || value === null) return false;
  const { typeUrl, value: bytes } = value as Record<string, unknown>;
  return typeof typeUrl === 'string' && bytes instanceof Uint8Array;
}

/** The message of a thrown value, for use inside another message. */
export function messageOf(error: unknown): string {
  return statusOfError(error).message;
}
