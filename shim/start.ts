import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { loadNative } from '../native';
import { BootstrapResult, readBootstrapParams } from '../proto';
import { C, Kernel, ProgramBuilder } from '../syscall';
import type { ShimArguments } from './arguments';
import { siltRoot } from '../sandbox/root';
import { socketPath } from './socket-address';

/** The annotation by which containerd's CRI plugin says to which pod a container belongs. */
const SANDBOX_ID = 'io.kubernetes.cri.sandbox-id';

/**
 * `start`: prints the address of the pod's shim, starting it when there is none. The native front answers the usual case;
 * this is what it falls through to: a container that joins a pod, and containerd 2.3's parameters on stdin.
 */
export async function startServer(args: ShimArguments): Promise<void> {
  const params = readBootstrapParams(readStdin(), args.id, args.namespace);
  const pod = podOf(args.id);
  const path = socketPath(siltRoot(), args.address, args.namespace, pod);
  if (!(await answers(path))) await start(args, pod, path);
  const address = `unix://${path}`;
  writeFileSync('.address', address);
  renameSync('.address', 'address');
  // Text is understood by every containerd (it can be neither JSON nor protobuf); who gave parameters gets them answered.
  process.stdout.write(params ? BootstrapResult.encode({ version: 2, address, protocol: 'ttrpc' }) : address);
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

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function start(args: ShimArguments, pod: string, path: string): Promise<void> {
  mkdirSync(dirname(dirname(path)), { recursive: true, mode: 0o711 });
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  rmSync(path, { force: true });
  const native = loadNative();
  const listening = listen(new Kernel(native, -1), path);
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

/** A listening unix socket, the caller's to close. Node's own server would remove the socket's file when it is let go. */
function listen(kernel: Kernel, path: string): number {
  const BACKLOG = 128;
  const p = new ProgramBuilder();
  p.step(`listening on ${path}`);
  const fd = p.slot('socket');
  p.call('socket', [C.AF_UNIX, C.SOCK_STREAM | C.SOCK_CLOEXEC, 0], { out: fd });
  // struct sockaddr_un, unix(7): the family in two bytes, then the path with its NUL.
  const name = Buffer.from(`\0\0${path}\0`);
  name.writeUInt16LE(C.AF_UNIX, 0);
  p.call('bind', [fd, p.bytes(name), name.length]);
  p.call('fchmodat', [C.AT_FDCWD, p.string(path), 0o600, 0]);
  p.call('listen', [fd, BACKLOG]);
  return kernel.run(p.build()).get(fd);
}
