import { closeSync } from 'node:fs';
import { SiltError } from '../../errors';
import { C, errnoName, type Kernel, ProgramBuilder, type Slot } from '../../syscall';
import {
  acknowledgement,
  type Address,
  addressBody,
  addressIn,
  decodeMessages,
  encodeMessage,
  type Link,
  linkBody,
  linkIn,
  type Message,
  numberAttribute,
  textAttribute,
} from './netlink';

/** The kernel gives no more at once (NLMSG_GOODSIZE is below it; netlink_recvmsg in net/netlink/af_netlink.c). */
const ROOM = 65536;

/** Adds the opening of a socket for the network namespace that the process is in. */
export function openRouteSocket(p: ProgramBuilder): Slot {
  p.step('opening a socket of rtnetlink');
  const socket = p.slot('rtnetlink');
  p.call('socket', [C.AF_NETLINK, C.SOCK_RAW | C.SOCK_CLOEXEC, C.NETLINK_ROUTE], { out: socket });
  const on = p.space(4, '{1}');
  p.setU32(on, 1);
  // The reasons of the kernel in words (Linux 4.12); without them there is the errno.
  p.call('setsockopt', [socket, C.SOL_NETLINK, C.NETLINK_EXT_ACK, on, 4], { tolerate: 'all' });
  return socket;
}

/** Links and addresses of one network namespace (rtnetlink(7)). The kernel answers before it returns from a request: nothing here waits. */
export class RouteSocket {
  #sequence = 0;

  /** Keeps `fd`. */
  constructor(
    private readonly kernel: Kernel,
    private readonly fd: number,
  ) {}

  close(): void {
    closeSync(this.fd);
  }

  links(): Link[] {
    return this.#ask('listing the network devices', C.RTM_GETLINK, C.NLM_F_DUMP, linkBody({})).map((m) =>
      linkIn(m.body),
    );
  }

  /** undefined: there is none of that name. */
  link(name: string): Link | undefined {
    const body = linkBody({}, textAttribute(C.IFLA_IFNAME, name));
    try {
      return this.#ask(`looking for the network device ${name}`, C.RTM_GETLINK, C.NLM_F_ACK, body).map((m) =>
        linkIn(m.body),
      )[0];
    } catch (error) {
      if (error instanceof SiltError && error.details.errno === 'ENODEV') return undefined;
      throw error;
    }
  }

  addresses(link: Link): Address[] {
    const all = this.#ask(`listing the addresses of ${link.name}`, C.RTM_GETADDR, C.NLM_F_DUMP, Buffer.alloc(8));
    return all.map(({ body }) => addressIn(body)).filter(({ index }) => index === link.index);
  }

  /** Moves a link to another namespace, by an fd of that, under this name or after this pattern (`eth%d`). One that fails may have moved it all the same. */
  move(link: Link, namespace: number, name: string): void {
    const attributes = [textAttribute(C.IFLA_IFNAME, name), numberAttribute(C.IFLA_NET_NS_FD, namespace)];
    this.#ask(`moving the network device ${link.name}`, C.RTM_NEWLINK, C.NLM_F_ACK, linkBody(link, ...attributes));
  }

  addAddress(link: Link, address: Address): void {
    const flags = C.NLM_F_ACK | C.NLM_F_CREATE | C.NLM_F_EXCL;
    const body = addressBody(address, link.index);
    this.#ask(`giving ${link.name} its address`, C.RTM_NEWADDR, flags, body);
  }

  setUp(link: Link): void {
    const body = linkBody({ index: link.index, flags: C.IFF_UP, change: C.IFF_UP });
    this.#ask(`bringing up the network device ${link.name}`, C.RTM_NEWLINK, C.NLM_F_ACK, body);
  }

  /** @throws SiltError SYSCALL_FAILED with the kernel's own words, if it has some. */
  #ask(what: string, type: number, flags: number, body: Buffer): Message[] {
    const bytes = encodeMessage({ type, flags: flags | C.NLM_F_REQUEST, body }, ++this.#sequence);
    const p = new ProgramBuilder();
    p.step(what).call('sendto', [this.fd, p.bytes(bytes), bytes.length, 0, 0, 0]);
    this.kernel.run(p.build());
    const answers: Message[] = [];
    for (;;) {
      for (const message of decodeMessages(this.#receive(what))) {
        if (message.type === C.NLMSG_DONE) return answers;
        if (message.type !== C.NLMSG_ERROR) {
          answers.push(message);
          continue;
        }
        const { errno, words } = acknowledgement(message);
        if (errno === 0) return answers;
        const name = errnoName(errno);
        const text = `${what}: ${name}${words ? ` (${words})` : ''}`;
        throw new SiltError('SYSCALL_FAILED', text, { syscall: 'sendto', errno: name });
      }
    }
  }

  #receive(what: string): Buffer {
    const p = new ProgramBuilder();
    const room = p.space(ROOM, 'answer');
    const count = p.slot('count');
    p.step(what).call('recvfrom', [this.fd, room, ROOM, C.MSG_DONTWAIT, 0, 0], { out: count, retry: true });
    const result = this.kernel.run(p.build());
    return result.at(room, result.get(count));
  }
}
