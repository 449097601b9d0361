import { C, type Kernel, ProgramBuilder, unixAddress } from '../../syscall';

/** A listening unix socket that accepts nothing, the caller's to close. Node's own would remove its file when it is closed. */
export function listenAt(kernel: Kernel, path: string, type: number = C.SOCK_STREAM): number {
  const p = new ProgramBuilder();
  p.step(`listening on ${path}`);
  const fd = p.slot('socket');
  p.call('socket', [C.AF_UNIX, type | C.SOCK_CLOEXEC, 0], { out: fd });
  const address = unixAddress(p, path);
  p.call('bind', [fd, address, address.size]);
  p.call('listen', [fd, 16]);
  return kernel.run(p.build()).get(fd);
}
