import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../errors';
import { BootstrapResult, readBootstrapParams } from '../proto';
import type { ShimArguments } from './arguments';
import { SANDBOX_ID } from '../sandbox/config/cri-annotations';
import { siltRoot } from '../sandbox/state/root';
import { socketPath } from './socket-address';
import { answers } from './sockets';

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
  if (pod === args.id) startPod(args);
  else writeAddress(`unix://${path}`);
  process.stdout.write(bootstrapAnswer(path, params !== undefined));
}

/**
 * What `start` prints. Text is understood by every containerd (it can be neither JSON nor protobuf) and stands for version 2 over
 * ttrpc; who gave parameters, as containerd 2.3 does, gets them answered. SILT_SHIM_PROTOCOL announces version 3 over ttrpc, or version 2 over gRPC, and names the
 * protocol: the server speaks both.
 */
function bootstrapAnswer(path: string, askedWithParams: boolean): string | Uint8Array {
  const named = process.env['SILT_SHIM_PROTOCOL'];
  const protocol = named === 'ttrpc' || named === 'grpc' ? named : undefined;
  // For gRPC containerd wants the bare path, and only 1.7 gets on with it, which takes no higher version than 2.
  const address = protocol === 'grpc' ? path : `unix://${path}`;
  if (askedWithParams) return BootstrapResult.encode({ version: 3, address, protocol: protocol ?? 'ttrpc' });
  return protocol === undefined ? address : JSON.stringify({ version: protocol === 'grpc' ? 2 : 3, address, protocol });
}

/** Of a container in a pod, as the front does it. */
function writeAddress(address: string): void {
  writeFileSync('.address', address);
  renameSync('.address', 'address');
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

/**
 * Runs the native front again, which is told the pod now: it binds the socket, finds the server or starts one, and writes the
 * bundle's `address`.
 * @throws SiltError with what it says.
 */
function startPod(args: ShimArguments): void {
  const flags = ['-namespace', args.namespace, '-address', args.address, '-publish-binary', args.publishBinary];
  const words = [...flags, '-id', args.id, '-pod', args.id, ...(args.debug ? ['-debug'] : []), 'start'];
  const { status, stderr, error } = spawnSync(frontPath(), words, { stdio: ['ignore', 'ignore', 'pipe'] });
  if (status === 0) return;
  const message = error ? `cannot run ${frontPath()}: ${error.message}` : stderr.toString().trim();
  throw new SiltError('INTERNAL', message, { id: args.id });
}

/** Beside lib/silt, where this bundle is when it is installed, or beside build. */
function frontPath(): string {
  const places = ['../../bin', '../bin'].map((place) => join(__dirname, place, 'containerd-shim-silt-v1'));
  return places.find((path) => existsSync(path)) ?? places[0]!;
}
