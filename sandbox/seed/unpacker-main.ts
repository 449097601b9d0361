/**
 * The unpacker's process: leaves the host's filesystem, then applies the archive to the upper. See programs/unpack for what
 * it is given and seed for who answers it.
 */
import { closeSync } from 'node:fs';
import { SiltError } from '../../errors';
import { loadNative } from '../../native';
import { Kernel, ProgramBuilder, receiveMessage, sendMessage } from '../../syscall';
import { type PrivilegedRequest, unpack } from '../archive';
import { confineNode } from './confined-node';
import { UNPACKER, UNPACKER_CAPABILITIES } from '../programs/unpack';
import type { AllowedDevice } from './unpacker-requests';
import { unpackerFilter } from './unpacker-filter';
import { errorReport } from './unpacker-report';

/** What the unpacker is to do, on its command line. */
export interface UnpackerOrders {
  readonly devices: readonly AllowedDevice[];
  /** How much all files together may hold; without it, what there is room for. */
  readonly maxBytes?: number;
  /** See UnpackOptions of archive. */
  readonly merged?: boolean;
}

/** What it says when it is done. */
export interface UnpackerResult {
  /** Of the contents of all files. */
  readonly bytes: number;
  readonly entries: number;
  /** Has the archive an entry for the root directory? */
  readonly hasRoot: boolean;
}

const SCRIPT = 0;

const kernel = new Kernel(loadNative(`/proc/self/fd/${UNPACKER.addon}`), -1);

// Read and loaded. What is left: the archive, the directory, and the socket to the shim.
for (const fd of [SCRIPT, UNPACKER.addon]) closeSync(fd);

function tell(text: string, fds: readonly number[] = []): void {
  const p = new ProgramBuilder();
  sendMessage(p, UNPACKER.socket, p.bytes(Buffer.from(text), 'message', 1), fds);
  kernel.run(p.build());
}

/** Asks the shim, and waits: nothing else is going on in this process. */
function ask(request: PrivilegedRequest): void {
  const { dirFd, ...rest } = request;
  if (rest.kind !== 'device') tell(rest.kind, [dirFd]);
  else
    tell(
      `device ${JSON.stringify({ ...rest, name: rest.name.toString('base64') }, (_, value: unknown) => (typeof value === 'bigint' ? Number(value) : value))}`,
      [dirFd],
    );
  const p = new ProgramBuilder();
  const received = receiveMessage(p, UNPACKER.socket, 4096, 0);
  const result = kernel.run(p.build());
  const answer = result.at(received.payload, result.get(received.count)).toString();
  if (answer !== 'ok') throw new SiltError('SYSCALL_FAILED', answer.replace(/^failed /, ''));
}

async function main(): Promise<UnpackerResult> {
  confineNode(kernel, {
    task: 'the unpacker to what unpacking takes',
    capabilities: UNPACKER_CAPABILITIES,
    filter: unpackerFilter(),
  });
  const { devices, maxBytes, merged = false } = JSON.parse(process.argv[2] ?? '{}') as UnpackerOrders;
  return unpack({
    runner: kernel.runner,
    archiveFd: UNPACKER.archive,
    upperFd: UNPACKER.upper,
    privileged: ask,
    merged,
    limits: { ...(maxBytes !== undefined && { maxBytes }) },
    allowDevice: ({ type, major, minor }) =>
      devices.some((one) => one.type === type && one.major === major && one.minor === minor),
  });
}

main().then(
  (result) => tell(`done ${JSON.stringify(result)}`),
  (error: unknown) => tell(errorReport(error)),
);
