import { parseRequest, type UnpackerRights } from './unpacker-requests';

const range = { containerID: 0, hostID: 100_000, size: 65_536 };
const rights: UnpackerRights = {
  idMaps: { uids: [range], gids: [{ ...range, hostID: 200_000 }] },
  devices: [{ type: 'char', major: 10, minor: 229 }],
};
const fuse = {
  name: Buffer.from('fuse').toString('base64'),
  type: 'char',
  mode: 0o666,
  uid: 1,
  gid: 2,
  major: 10,
  minor: 229,
  mtime: { seconds: 1_700_000_000, nanoseconds: 5 },
};
const ask = (change: object): ReturnType<typeof parseRequest> =>
  parseRequest({ name: 'device', text: JSON.stringify({ ...fuse, ...change }) }, rights);

describe('what the shim makes of requests of an unpacker', () => {
  test('a device that the container has, with the host’s ids, and marks', () => {
    expect(ask({})).toEqual({ ...fuse, kind: 'device', name: Buffer.from('fuse'), uid: 100_001, gid: 200_002 });
    for (const kind of ['opaque', 'whiteouts'])
      expect(parseRequest({ name: kind, text: '' }, rights)).toEqual({ kind });
  });

  test.each([
    ['another device', { minor: 1 }],
    ['another kind of it', { type: 'block' }],
    ['a disk', { type: 'block', major: 8, minor: 0 }],
    ['the same number in other words', { major: '10' }],
    ['a number that becomes this one', { minor: 229 + 2 ** 32 }],
  ])('none that the container does not have: %s', (_, change) => {
    expect(() => ask(change)).toThrow(/^the unpacker asked for a device (that the container|with a m)/);
  });

  test.each([
    [{ uid: 65_536 }, /^setting its owner: EINVAL$/],
    [{ gid: -1 }, /^setting its owner: EINVAL$/],
    // Added as a text it would have been the host's 1000000.
    [{ uid: '0' }, /uid that is no number$/],
    [{ mode: null }, /mode that is no number$/],
    [{ mtime: undefined }, /time that is no number$/],
    [{ mtime: { seconds: 1, nanoseconds: {} } }, /time that is no number$/],
  ])('no owner, mode or time of a stranger’s: %j', (change, message) => {
    expect(() => ask(change)).toThrow(message);
  });

  test('nothing else', () => {
    expect(() => parseRequest({ name: 'mount', text: '' }, rights)).toThrow('the unpacker asked for mount');
  });
});
