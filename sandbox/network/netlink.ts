/** Messages of rtnetlink(7), as far as links and addresses take them. All numbers are in the machine's byte order, little endian. */
import { C } from '../../syscall';

const HEADER = 16;
const ATTRIBUTE = 4;

export interface Message {
  readonly type: number;
  readonly flags: number;
  /** What follows the header. */
  readonly body: Buffer;
}

const aligned = (length: number): number => (length + 3) & ~3;

function padded(bytes: Uint8Array): Buffer {
  const out = Buffer.alloc(aligned(bytes.length));
  out.set(bytes);
  return out;
}

/** struct nlmsghdr and what follows. */
export function encodeMessage({ type, flags, body }: Message, sequence: number): Buffer {
  const header = Buffer.alloc(HEADER);
  header.writeUInt32LE(HEADER + body.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(flags, 6);
  header.writeUInt32LE(sequence, 8);
  return Buffer.concat([header, body]);
}

/** The messages in what one recvmsg(2) gave. */
export function decodeMessages(bytes: Buffer): Message[] {
  const messages: Message[] = [];
  for (let at = 0; at + HEADER <= bytes.length;) {
    const length = bytes.readUInt32LE(at);
    if (length < HEADER || at + length > bytes.length) break;
    const body = Buffer.from(bytes.subarray(at + HEADER, at + length));
    messages.push({ type: bytes.readUInt16LE(at + 4), flags: bytes.readUInt16LE(at + 6), body });
    at += aligned(length);
  }
  return messages;
}

/** struct rtattr. */
export function attribute(type: number, value: Uint8Array): Buffer {
  const header = Buffer.alloc(ATTRIBUTE);
  header.writeUInt16LE(ATTRIBUTE + value.length, 0);
  header.writeUInt16LE(type, 2);
  return Buffer.concat([header, padded(value)]);
}

export function numberAttribute(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return attribute(type, bytes);
}

export function textAttribute(type: number, value: string): Buffer {
  return attribute(type, Buffer.from(`${value}\0`));
}

/** Attributes by their type. */
export function attributesIn(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + ATTRIBUTE <= bytes.length;) {
    const length = bytes.readUInt16LE(at);
    if (length < ATTRIBUTE || at + length > bytes.length) break;
    // The two highest bits say how the value is written.
    found.set(bytes.readUInt16LE(at + 2) & 0x3fff, bytes.subarray(at + ATTRIBUTE, at + length));
    at += aligned(length);
  }
  return found;
}

/** struct ifinfomsg. */
export function linkBody(link: { index?: number; flags?: number; change?: number }, ...attributes: Buffer[]): Buffer {
  const { index = 0, flags = 0, change = 0 } = link;
  const body = Buffer.alloc(16);
  body.writeInt32LE(index, 4);
  body.writeUInt32LE(flags, 8);
  body.writeUInt32LE(change, 12);
  return Buffer.concat([body, ...attributes]);
}

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
}

export function linkIn(body: Buffer): Link {
  const name = attributesIn(body.subarray(16)).get(C.IFLA_IFNAME)!;
  return {
    index: body.readInt32LE(4),
    name: name.toString('utf8', 0, name.indexOf(0)),
    up: (body.readUInt32LE(8) & C.IFF_UP) !== 0,
  };
}

/** An address of a link: struct ifaddrmsg, and the attributes that are the user's. */
export interface Address {
  readonly index: number;
  readonly family: number;
  readonly prefix: number;
  readonly scope: number;
  /** IFA_F_* */
  readonly flags: number;
  readonly attributes: readonly (readonly [type: number, value: Buffer])[];
}

export function addressIn(body: Buffer): Address {
  const found = attributesIn(body.subarray(8));
  const kept = [C.IFA_ADDRESS, C.IFA_LOCAL, C.IFA_BROADCAST, C.IFA_RT_PRIORITY];
  return {
    family: body[0]!,
    prefix: body[1]!,
    // Eight of the flags are in the header too.
    flags: found.get(C.IFA_FLAGS)?.readUInt32LE(0) ?? body[2]!,
    scope: body[3]!,
    index: body.readUInt32LE(4),
    attributes: kept.flatMap((type) => {
      const value = found.get(type);
      return value === undefined ? [] : [[type, value] as const];
    }),
  };
}

/** Flags of an address that whoever adds it chooses; the others are the kernel's findings. */
const CHOSEN = C.IFA_F_NODAD | C.IFA_F_NOPREFIXROUTE | C.IFA_F_MANAGETEMPADDR | C.IFA_F_MCAUTOJOIN;

export function addressBody(address: Address, index: number): Buffer {
  const { family, prefix, scope, flags, attributes } = address;
  const body = Buffer.alloc(8);
  body.set([family, prefix, 0, scope]);
  body.writeUInt32LE(index, 4);
  const all = attributes.map(([type, value]) => attribute(type, value));
  return Buffer.concat([body, ...all, numberAttribute(C.IFA_FLAGS, flags & CHOSEN)]);
}

/**
 * What the kernel says of a request: struct nlmsgerr, the request again unless it is capped, and attributes (NETLINK_EXT_ACK).
 * @returns the errno, 0 for none, and the kernel's own words where it has some
 */
export function acknowledgement({ flags, body }: Message): { errno: number; words: string | undefined } {
  const errno = Math.abs(body.readInt32LE(0));
  if ((flags & C.NLM_F_ACK_TLVS) === 0) return { errno, words: undefined };
  const request = (flags & C.NLM_F_CAPPED) !== 0 ? HEADER : aligned(body.readUInt32LE(4));
  const text = attributesIn(body.subarray(4 + request)).get(C.NLMSGERR_ATTR_MSG);
  return { errno, words: text?.toString('utf8').replace(/\0.*$/s, '') };
}
