/**
 * The unpacker's process: leaves the host's filesystem, then applies the archive to the upper. See programs/unpack for what
 * it is given and seed for who answers it.
 */
import { SiltError } from '../errors';
import { loadNative } from '../native';
import {
  capset,
  chdir,
  Kernel,
  mount,
  pivotRoot,
  ProgramBuilder,
  receiveMessage,
  sendMessage,
  setSeccompFilter,
  umount,
} from '../syscall';
import { type PrivilegedRequest, unpack } from './archive';
import { UNPACKER, UNPACKER_CAPABILITIES } from './programs/unpack';
import type { AllowedDevice } from './unpacker';
import { errorReport } from './unpacker-report';
import { unpackerFilter } from './unpacker-filter';

/** What the unpacker is to do, on its command line. */
export interface UnpackerOrders {
  readonly devices: readonly AllowedDevice[];
  /** How much all files together may hold; without it, what there is room for. */
  readonly maxBytes?: number;
}

/** What it says when it is done. */
export interface UnpackerResult {
  /** Of the contents of all files. */
  readonly bytes: number;
  readonly entries: number;
  /** Has the archive an entry for the root directory? */
  readonly hasRoot: boolean;
}

const kernel = new Kernel(loadNative(`/proc/self/fd/${UNPACKER.addon}`), -1);

/** Into an empty root, without the right to mount, and under a filter: from here on only the two fds lead anywhere. */
function confine(): void {
  const p = new ProgramBuilder();
  p.step('leaving the host’s filesystem');
  mount(p, 'none', '/', null, 'MS_REC|MS_PRIVATE');
  mount(p, 'silt', '/proc', 'tmpfs', 'MS_NOSUID|MS_NODEV|MS_NOEXEC|MS_RDONLY', 'mode=500,size=4k');
  chdir(p, '/proc');
  pivotRoot(p, '.', '.');
  umount(p, '.');
  chdir(p, '/');
  capset(p, { effective: UNPACKER_CAPABILITIES, permitted: UNPACKER_CAPABILITIES, inheritable: 0n });
  p.step('confining the unpacker to what unpacking takes');
  const { bpf, flags } = unpackerFilter();
  setSeccompFilter(p, bpf, flags);
  kernel.run(p.build());
}

function tell(text: string, fds: readonly number[] = []): void {
  const p = new ProgramBuilder();
  sendMessage(p, UNPACKER.socket, p.bytes(Buffer.from(text), 'message', 1), fds);
  kernel.run(p.build());
}

/** Asks the shim, and waits: nothing else is going on in this process. */
function ask(request: PrivilegedRequest): void {
  const { dirFd, ...rest } = request;
  if (rest.kind === 'opaque') tell('opaque', [dirFd]);
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
  confine();
  const { devices, maxBytes } = JSON.parse(process.argv[2] ?? '{}') as UnpackerOrders;
  return unpack({
    runner: kernel.runner,
    archiveFd: UNPACKER.archive,
    upperFd: UNPACKER.upper,
    privileged: ask,
    limits: { ...(maxBytes !== undefined && { maxBytes }) },
    allowDevice: ({ type, major, minor }) =>
      devices.some((one) => one.type === type && one.major === major && one.minor === minor),
  });
}

main().then(
  (result) => tell(`done ${JSON.stringify(result)}`),
  (error: unknown) => tell(errorReport(error)),
);
