import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SiltError } from '../errors';
import { loadNative } from '../native';
import { BootstrapResult, readBootstrapParams } from '../proto';
import { Kernel } from '../syscall';
import type { ShimArguments } from './arguments';
import { siltRoot } from '../sandbox/root';
import { socketPath } from './socket-address';
import { answers, listenAt, lockSockets } from './sockets';

/** The annotation by which containerd's CRI plugin says to which pod a container belongs. */
const SANDBOX_ID = 'io.kubernetes.cri.sandbox-id';

/**
 * `start`: prints the address of the pod's shim, starting it when there is none. The native front answers the usual cases;
 * this is what it falls through to: a spec that takes a parser, and containerd 2.3's parameters on stdin.
 * @throws SiltError CONTAINER_NOT_FOUND for a container whose pod has no shim: a pod begins with its own `start`.
 */
export async function startServer(args: ShimArguments): Promise<void> {
  const params = readBootstrapParams(readStdin(), args.id, args.namespace);
  const pod = podOf(args.id);
  const path = socketPath(siltRoot(), args.address, args.namespace, pod);
  if (pod !== args.id && !(await answers(path))) {
    const message = `cannot start container ${args.id}: its annotation ${SANDBOX_ID} names the pod ${pod}, which does not run; start the pod first`;
    throw new SiltError('CONTAINER_NOT_FOUND', message, { id: pod });
  }
  const listening = await listenUnlessAnswered(path);
  if (listening !== undefined) await serveAt(listening, args, pod, path);
  const address = `unix://${path}`;
  writeFileSync('.address', address);
  renameSync('.address', 'address');
  process.stdout.write(bootstrapAnswer(path, params !== undefined));
}

/**
 * What `start` prints. Text is understood by every containerd (it can be neither JSON nor protobuf) and stands for version 2 over
 * ttrpc; who gave parameters, as containerd 2.3 does, gets them answered. SILT_SHIM_PROTOCOL announces version 3, and names the
 * protocol: the server speaks both.
 */
function bootstrapAnswer(path: string, askedWithParams: boolean): string | Uint8Array {
  const named = process.env['SILT_SHIM_PROTOCOL'];
  const protocol = named === 'ttrpc' || named === 'grpc' ? named : undefined;
  // For gRPC containerd wants the bare path.
  const address = protocol === 'grpc' ? path : `unix://${path}`;
  if (askedWithParams) return BootstrapResult.encode({ version: 3, address, protocol: protocol ?? 'ttrpc' });
  return protocol === undefined ? address : JSON.stringify({ version: 3, address, protocol });
}

function readStdin(): Uint8Array {
  try {
    return readFileSync(0);
  } catch {
    return new Uint8Array();
  }
}

/** The pod that the container in the working directory's bundle belongs to: its own unless an annotation names another. */
function podOf(id: string): string {
  try {
    const spec = JSON.parse(readFileSync('config.json', 'utf8')) as { annotations?: Record<string, string> };
    return spec.annotations?.[SANDBOX_ID] ?? id;
  } catch {
    // A spec that cannot be read is Create's to complain about.
    return id;
  }
}

/** A listening socket at the path, the caller's to close; undefined when a shim listens there already. */
async function listenUnlessAnswered(path: string): Promise<number | undefined> {
  const directory = dirname(path);
  mkdirSync(dirname(directory), { recursive: true, mode: 0o711 });
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const kernel = new Kernel(loadNative(), -1);
  const lock = lockSockets(kernel, directory, true);
  try {
    if (await answers(path)) return undefined;
    rmSync(path, { force: true });
    return listenAt(kernel, path);
  } finally {
    closeSync(lock);
  }
}

/** Starts the pod's server on a listening socket, which is closed here. */
async function serveAt(listening: number, args: ShimArguments, pod: string, path: string): Promise<void> {
  const flags = [
    '-namespace',
    args.namespace,
    '-address',
    args.address,
    '-publish-binary',
    args.publishBinary,
    '-id',
    pod,
  ];
  if (args.debug) flags.push('-debug');
  try {
    const child = spawn(process.execPath, [join(__dirname, 'shim.js'), ...flags, '-socket', path, 'serve'], {
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', listening],
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(listening);
  }
}
