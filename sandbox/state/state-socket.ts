import { closeSync, constants, openSync } from 'node:fs';
import { SiltError } from '../../errors';
import { C, type Kernel, ProgramBuilder, unixAddress } from '../../syscall';

/** Makes a listening socket in a directory. Returns its fd, the caller's to close. @throws SiltError. */
export function listenIn(
  kernel: Kernel,
  directory: string,
  name: string,
  type: 'SOCK_SEQPACKET' | 'SOCK_STREAM' = 'SOCK_SEQPACKET',
): number {
  return throughDirectory(directory, name, (path) => {
    const p = new ProgramBuilder();
    p.step(`making the socket ${name} in ${directory}`);
    const socket = p.slot('socket');
    p.call('socket', [C.AF_UNIX, C[type] | C.SOCK_CLOEXEC, 0], { out: socket });
    const address = unixAddress(p, path);
    p.call('bind', [socket, address, address.size]);
    p.call('listen', [socket, 1]);
    return kernel.run(p.build()).get(socket);
  });
}

/** Connects to such a socket; the fd is the caller's to close. @throws SiltError WRONG_STATE with `absent` when nobody listens. */
export function connectIn(kernel: Kernel, directory: string, name: string, absent: string): number {
  return throughDirectory(directory, name, (path) => {
    const p = new ProgramBuilder();
    const socket = p.slot('socket');
    p.call('socket', [C.AF_UNIX, C.SOCK_SEQPACKET | C.SOCK_CLOEXEC, 0], { out: socket });
    const address = unixAddress(p, path);
    const connected = p.slot('connected');
    p.call('connect', [socket, address, address.size], { out: connected, tolerate: ['ECONNREFUSED', 'ENOENT'] });
    const result = kernel.run(p.build());
    if (result.get(connected) === 0) return result.get(socket);
    closeSync(result.get(socket));
    throw new SiltError('WRONG_STATE', absent, { path: directory });
  });
}

/** A socket's address holds 107 bytes of path, less than engines' state directories have: it goes by an fd of the directory. */
export function throughDirectory<T>(directory: string, name: string, use: (path: string) => T): T {
  const fd = openSync(directory, constants.O_DIRECTORY | constants.O_RDONLY);
  try {
    return use(`/proc/self/fd/${fd}/${name}`);
  } finally {
    closeSync(fd);
  }
}
