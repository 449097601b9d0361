/** The listener of a seccomp filter (SCMP_ACT_NOTIFY): its fd goes to the program that answers for the calls of the container. */
import { closeSync, existsSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { SiltError } from '../../errors';
import type { Spec } from '../../oci';
import { C, type Kernel, ProgramBuilder, sendMessage, unixAddress } from '../../syscall';
import { throughDirectory } from '../state/state-socket';

/** The container that a filter is of. */
export interface ListenerSubject {
  readonly id: string;
  readonly bundle: string;
  readonly spec: Pick<Spec, 'ociVersion' | 'annotations' | 'linux'>;
}

/** The process that has the filter, and the first one of its container; pids of the host. */
export interface ListenerProcess {
  readonly pid: number;
  readonly initPid: number;
  readonly status: 'creating' | 'running';
}

/**
 * Sends a listener, with the container process state that OCI has for it (config-linux.md, "The Container Process State"), over the
 * unix socket of `listenerPath`.
 * @param fd of the listener, borrowed
 * @throws SiltError SYSCALL_FAILED when nobody takes it
 */
export function handOverListener(kernel: Kernel, subject: ListenerSubject, process: ListenerProcess, fd: number): void {
  const { id, bundle, spec } = subject;
  const { listenerPath = '', listenerMetadata: metadata } = spec.linux?.seccomp ?? {};
  const { ociVersion, annotations } = spec;
  const { pid, initPid, status } = process;
  const state = { ociVersion, id, status, pid: initPid, bundle, annotations };
  const text = JSON.stringify({ ociVersion, fds: ['seccompFd'], pid, metadata, state });
  const step = `handing the seccomp listener over to ${listenerPath}`;
  if (!existsSync(dirname(listenerPath))) {
    const jsonPath = '$.linux.seccomp.listenerPath';
    throw new SiltError('SPEC_INVALID', `${jsonPath}: there is no directory ${dirname(listenerPath)}`, { jsonPath });
  }
  throughDirectory(dirname(listenerPath), basename(listenerPath), (path) => {
    const p = new ProgramBuilder();
    p.step(step);
    const socket = p.slot('socket');
    p.call('socket', [C.AF_UNIX, C.SOCK_STREAM | C.SOCK_CLOEXEC | C.SOCK_NONBLOCK, 0], { out: socket });
    const result = kernel.run(p.build());
    try {
      const q = new ProgramBuilder();
      // The first words are runc's, which people look for.
      q.step(`failed to connect with seccomp agent ${listenerPath}, which is to be handed the listener`);
      const address = unixAddress(q, path);
      q.call('connect', [result.get(socket), address, address.size]);
      q.step(step);
      sendMessage(q, result.get(socket), q.bytes(Buffer.from(text), '"state"', 1), [fd]);
      kernel.run(q.build());
    } finally {
      closeSync(result.get(socket));
    }
  });
}
