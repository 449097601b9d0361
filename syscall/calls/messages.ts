import { type Addr, type CallOptions, type Fd, Named, type ProgramBuilder, Slot, Word } from '../builder';
import { C } from '../constants';
import { flags } from './flags';

/** struct msghdr and one cmsghdr on 64-bit Linux: sizes and offsets from recvmsg(2), cmsg(3). */
const MSGHDR = 56;
const CMSGHDR = 16;

function messageHeader(p: ProgramBuilder, payload: Addr, control: Addr | undefined): Addr {
  const iov = p.space(16, 'iov');
  p.pointer(iov.plus(0, 8), payload);
  p.setU64(iov.plus(8), payload.size);
  const header = p.space(MSGHDR, control ? `{${payload.text}, ${control.text}}` : `{${payload.text}}`);
  p.pointer(header.plus(16, 8), iov);
  p.setU64(header.plus(24), 1);
  if (control) {
    p.pointer(header.plus(32, 8), control);
    p.setU64(header.plus(40), control.size);
  }
  return header;
}

/** Sends `payload` over a socket, with fds as SCM_RIGHTS (unix(7)). A vanished receiver is EPIPE, not a signal. */
export function sendMessage(
  p: ProgramBuilder,
  socket: Fd,
  payload: Addr,
  fds: readonly Fd[] = [],
  options: CallOptions = {},
): void {
  let control: Addr | undefined;
  if (fds.length > 0) {
    const length = CMSGHDR + fds.length * 4;
    const names = fds.map((fd) => (typeof fd === 'number' ? `${fd}` : 'text' in fd ? fd.text : `$${fd.name}`));
    control = p.space((length + 7) & ~7, `SCM_RIGHTS[${names.join(', ')}]`);
    p.setU64(control, length);
    p.setU32(control.plus(8), C.SOL_SOCKET);
    p.setU32(control.plus(12), C.SCM_RIGHTS);
    fds.forEach((fd, i) => {
      const at = control!.plus(CMSGHDR + i * 4, 4);
      if (fd instanceof Slot) p.slotAt(at, fd, 32);
      else if (fd instanceof Word)
        throw new RangeError('an fd that was received must be duplicated into a slot to be sent on');
      else p.setU32(at, Number(fd instanceof Named ? fd.value : fd));
    });
  }
  const header = messageHeader(p, payload, control);
  p.call('sendmsg', [socket, header, flags('MSG_NOSIGNAL')], { retry: true, ...options });
}

/**
 * Two connected SOCK_SEQPACKET sockets, close-on-exec. They are words of the call's result: to be sent on, one has to be kept in a slot.
 * @param ends what the listing calls them
 */
export function socketPair(p: ProgramBuilder, name: string, ends: readonly [string, string]): [Word, Word] {
  const pair = p.space(8, name);
  p.call('socketpair', [C.AF_UNIX, C.SOCK_SEQPACKET | C.SOCK_CLOEXEC, 0, pair]);
  return [p.word(pair, 32, ends[0]), p.word(pair.plus(4), 32, ends[1])];
}

export interface Received {
  /** How many bytes came; 0 when the other side closed. */
  readonly count: Slot;
  readonly payload: Addr;
  /** The fds that came with it. Valid only when the sender sent as many. */
  readonly fds: readonly Word[];
}

/** Receives one message of at most `size` bytes and up to `fdCount` fds, which are close-on-exec. */
export function receiveMessage(
  p: ProgramBuilder,
  socket: Fd,
  size: number,
  fdCount: number,
  name = 'received',
  options: CallOptions = {},
): Received {
  const payload = p.space(size, 'payload');
  const control = fdCount > 0 ? p.space(CMSGHDR + ((fdCount * 4 + 7) & ~7), `room for ${fdCount} fds`) : undefined;
  const header = messageHeader(p, payload, control);
  const count = p.slot(`${name}_count`);
  p.call('recvmsg', [socket, header, flags('MSG_CMSG_CLOEXEC')], { ...options, out: count, retry: true });
  const fds = Array.from(
    { length: fdCount },
    (_, i) => new Word(control!.offset + CMSGHDR + i * 4, 32, `${name}_fd${i}`),
  );
  return { count, payload, fds };
}

/** The fds that came with a message, the caller's to close, from the image after the run: cmsg_len is a header of 16 bytes and 4 for each (cmsg(3)). */
export function receivedFds(image: Buffer, { fds }: Received): number[] {
  const control = image.subarray(fds[0]!.offset - CMSGHDR);
  const isRights = control.readInt32LE(8) === C.SOL_SOCKET && control.readInt32LE(12) === C.SCM_RIGHTS;
  const count = isRights ? Math.floor((Number(control.readBigUInt64LE(0)) - CMSGHDR) / 4) : 0;
  return Array.from({ length: count }, (_, i) => control.readInt32LE(CMSGHDR + i * 4));
}

/** A struct sockaddr_un with this path (unix(7)); its size is the address's length. @throws RangeError beyond 107 bytes. */
export function unixAddress(p: ProgramBuilder, path: string): Addr {
  const raw = Buffer.from(path);
  if (raw.length > 107) throw new RangeError(`the path of a unix socket has at most 107 bytes: ${path}`);
  const address = Buffer.alloc(2 + raw.length + 1);
  address.writeUInt16LE(C.AF_UNIX, 0);
  raw.copy(address, 2);
  return p.bytes(address, JSON.stringify(path));
}
