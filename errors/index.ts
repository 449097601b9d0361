/**
 * One error class and one table of codes for all of silt.
 *
 * A code is stable: it crosses sockets, stands in logs and in docs/errors.md, and is what callers compare; message text
 * is for people. The gRPC status of a code is applied at the edge (ttrpc, gRPC, exit status), never in the middle.
 */

/** gRPC status numbers (grpc/doc/statuscodes.md), the ones that silt uses. */
export const Status = {
  Unknown: 2,
  InvalidArgument: 3,
  DeadlineExceeded: 4,
  NotFound: 5,
  AlreadyExists: 6,
  PermissionDenied: 7,
  ResourceExhausted: 8,
  FailedPrecondition: 9,
  Aborted: 10,
  Unimplemented: 12,
  Internal: 13,
  Unavailable: 14,
} as const;
export type StatusName = keyof typeof Status;

/** Every error code with the gRPC status it becomes at the edge, and one sentence for docs/errors.md. */
export const errorTable = {
  SPEC_INVALID: { status: 'InvalidArgument', meaning: 'the OCI spec (config.json) is malformed or contradicts itself' },
  SPEC_UNSUPPORTED: {
    status: 'InvalidArgument',
    meaning: 'the OCI spec asks for something this silt or this host cannot do',
  },
  REQUEST_INVALID: { status: 'InvalidArgument', meaning: 'an argument of the call is malformed' },
  CONFIG_INVALID: { status: 'InvalidArgument', meaning: 'silt’s own configuration file is malformed' },
  ENGINE_CONFIG_INVALID: {
    status: 'InvalidArgument',
    meaning: 'a configuration of Docker or containerd cannot be read, or not be changed safely',
  },
  ROOTFS_INVALID: {
    status: 'InvalidArgument',
    meaning: 'the root filesystem or a mount given by the engine cannot be used',
  },
  EXEC_NOT_FOUND: {
    status: 'Unknown',
    meaning: 'the program to run is not there or not executable (runc’s status and words)',
  },
  HOOK_FAILED: { status: 'Unknown', meaning: 'a hook of the spec failed; the message has what it printed' },
  CHECKPOINT_REFUSED: {
    status: 'PermissionDenied',
    meaning: 'the operator does not allow a checkpoint to or from this path',
  },
  SEED_REFUSED: { status: 'PermissionDenied', meaning: 'the operator does not allow a seed from this path' },
  FLAG_REFUSED: {
    status: 'PermissionDenied',
    meaning: 'the operator does not allow a container to change this setting',
  },
  SEED_UNREADABLE: { status: 'InvalidArgument', meaning: 'the seed’s path is missing or not a regular file' },
  ARCHIVE_INVALID: { status: 'InvalidArgument', meaning: 'an archive is malformed or would leave the root filesystem' },
  ARCHIVE_TRUNCATED: { status: 'InvalidArgument', meaning: 'an archive ends in the middle of an entry' },
  NO_SPACE: { status: 'ResourceExhausted', meaning: 'a filesystem or a limit is full' },
  CONTAINER_NOT_FOUND: { status: 'NotFound', meaning: 'there is no such container or pod' },
  PROCESS_NOT_FOUND: { status: 'NotFound', meaning: 'there is no such process, or it has ended' },
  CONTAINER_EXISTS: { status: 'AlreadyExists', meaning: 'the container or exec id is in use' },
  WRONG_STATE: { status: 'FailedPrecondition', meaning: 'the call does not fit the state that the container is in' },
  POD_BUSY: {
    status: 'FailedPrecondition',
    meaning:
      'another command holds the pod and waits for this one, as for a hook, or for too long; the message names it',
  },
  HOST_UNSUPPORTED: {
    status: 'FailedPrecondition',
    meaning: 'this host lacks a kernel feature or a permission that is needed',
  },
  SYSTEMD_FAILED: {
    status: 'Unknown',
    meaning: 'systemd cannot be reached, or refused or failed what silt asked of it',
  },
  CRIU_UNUSABLE: { status: 'FailedPrecondition', meaning: 'CRIU is missing, cannot be executed, or is too old' },
  CHECKPOINT_FAILED: {
    status: 'FailedPrecondition',
    meaning: 'something of the container cannot be saved or brought back; the message names it',
  },
  CHECKPOINT_INVALID: {
    status: 'InvalidArgument',
    meaning: 'a checkpoint is incomplete, damaged, of a newer format, or does not fit what it is to be restored into',
  },
  CHECKPOINT_EXISTS: {
    status: 'AlreadyExists',
    meaning: 'the directory for a checkpoint holds something already, or lies within another checkpoint',
  },
  PROGRAM_INVALID: { status: 'Internal', meaning: 'a syscall program is malformed: a bug in silt' },
  SYSCALL_FAILED: { status: 'Unknown', meaning: 'a system call failed; the message names step, object and errno' },
  TIMEOUT: { status: 'DeadlineExceeded', meaning: 'the caller’s deadline passed first' },
  UNIMPLEMENTED: { status: 'Unimplemented', meaning: 'silt does not have this (yet)' },
  INTERNAL: { status: 'Internal', meaning: 'a bug in silt' },
} as const satisfies Record<string, { status: StatusName; meaning: string }>;
export type ErrorCode = keyof typeof errorTable;

/** Facts about a failure, for logs and for callers that act on them. */
export interface ErrorDetails {
  readonly id?: string;
  readonly path?: string;
  readonly syscall?: string;
  /** Name of the errno, such as `ENOENT`. */
  readonly errno?: string;
  /** JSON path in the spec, such as `$.linux.namespaces[2].path`. */
  readonly jsonPath?: string;
  /** Byte offset in an archive. */
  readonly offset?: number;
}

/** The one error class of silt. `message` says what was tried, on what, what was found, and what to do. */
export class SiltError extends Error {
  override readonly name = 'SiltError';

  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly details: ErrorDetails = {},
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }

  /** The gRPC status number of this error's code. */
  get status(): number {
    return Status[errorTable[this.code].status];
  }
}

/** The same error with what was being done put in front of it; anything else becomes INTERNAL with its cause kept. */
export function withContext(context: string, error: unknown): SiltError {
  if (error instanceof SiltError) {
    return new SiltError(error.code, `${context}: ${error.message}`, error.details, { cause: error });
  }
  const text = error instanceof Error ? error.message : String(error);
  return new SiltError('INTERNAL', `${context}: ${text}`, {}, { cause: error });
}
