import { C } from '../../syscall';
import {
  acknowledgement,
  addressBody,
  addressIn,
  attribute,
  attributesIn,
  decodeMessages,
  encodeMessage,
  linkBody,
  linkIn,
  numberAttribute,
  textAttribute,
} from './netlink';

test('a request is laid out as rtnetlink(7) says', () => {
  const body = linkBody({ index: 7, flags: C.IFF_UP, change: C.IFF_UP }, textAttribute(C.IFLA_IFNAME, 'eth0'));
  expect(encodeMessage({ type: C.RTM_NEWLINK, flags: C.NLM_F_REQUEST | C.NLM_F_ACK, body }, 3).toString('hex')).toBe(
    // nlmsghdr; ifinfomsg; a string of five bytes with its NUL, padded to eight.
    ['2c000000', '1000', '0500', '03000000', '00000000', '0000', '0000', '07000000', '01000000', '01000000', '0900', '0300', '6574683000000000'].join(''), // prettier-ignore
  );
});

test('messages come several at a time, and what is cut short is left out', () => {
  const one = encodeMessage({ type: 16, flags: 2, body: Buffer.from('abcde') }, 1);
  const padded = Buffer.concat([one, Buffer.alloc(3)]);
  const two = encodeMessage({ type: C.NLMSG_DONE, flags: 2, body: Buffer.alloc(4) }, 1);
  expect(decodeMessages(Buffer.concat([padded, two])).map(({ type, body }) => [type, body.length])).toEqual([
    [16, 5],
    [C.NLMSG_DONE, 4],
  ]);
  expect(decodeMessages(Buffer.concat([padded, two.subarray(0, 18)]))).toHaveLength(1);
  expect(decodeMessages(Buffer.alloc(16))).toEqual([]);
});

test('attributes without the bits that say how they are written; one that is cut short ends them', () => {
  const bytes = Buffer.concat([
    attribute(5 | 0x8000, Buffer.from('x')),
    numberAttribute(6, 1),
    Buffer.from([9, 0, 7, 0]),
  ]);
  expect([...attributesIn(bytes)].map(([type, value]) => [type, value.toString('hex')])).toEqual([
    [5, '78'],
    [6, '01000000'],
  ]);
});

test('a link', () => {
  const body = linkBody({ index: 2, flags: C.IFF_UP }, textAttribute(C.IFLA_IFNAME, 'lan0'));
  expect(linkIn(body)).toEqual({ index: 2, name: 'lan0', up: true });
});

test('an address is given again as it was, without what the kernel has found out of it', () => {
  const flags = C.IFA_F_PERMANENT | C.IFA_F_NOPREFIXROUTE | C.IFA_F_TENTATIVE;
  const header = Buffer.from([2, 24, C.IFA_F_PERMANENT, 0, 5, 0, 0, 0]);
  const local = attribute(C.IFA_LOCAL, Buffer.from([10, 0, 0, 7]));
  const label = textAttribute(3, 'eth0');
  const found = addressIn(Buffer.concat([header, local, label, numberAttribute(C.IFA_FLAGS, flags)]));
  expect(found).toMatchObject({ index: 5, family: 2, prefix: 24, scope: 0, flags });
  expect(addressBody(found, 9)).toEqual(
    Buffer.concat([Buffer.from([2, 24, 0, 0, 9, 0, 0, 0]), local, numberAttribute(C.IFA_FLAGS, C.IFA_F_NOPREFIXROUTE)]),
  );
});

test('the kernel’s reasons are behind the request, whole or capped', () => {
  const request = encodeMessage({ type: 16, flags: 5, body: Buffer.alloc(16) }, 1);
  const error = Buffer.alloc(4);
  error.writeInt32LE(-17);
  const words = textAttribute(C.NLMSGERR_ATTR_MSG, 'it is there');
  const capped = C.NLM_F_ACK_TLVS | C.NLM_F_CAPPED;
  const whole = Buffer.concat([error, request, words]);
  const short = Buffer.concat([error, request.subarray(0, 16), words]);
  const told = { errno: 17, words: 'it is there' };
  expect(acknowledgement({ type: C.NLMSG_ERROR, flags: C.NLM_F_ACK_TLVS, body: whole })).toEqual(told);
  expect(acknowledgement({ type: C.NLMSG_ERROR, flags: capped, body: short })).toEqual(told);
  expect(acknowledgement({ type: C.NLMSG_ERROR, flags: 0, body: Buffer.alloc(20) })).toEqual({
    errno: 0,
    words: undefined,
  });
});
