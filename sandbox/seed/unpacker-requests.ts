/**
 * What the unpacker asks the shim for. It has parsed a stranger's archive and may be anybody's by now, so each of these is taken apart here as
 * bytes from a stranger: it has asked itself the same questions, which does not count.
 */
import { SiltError } from '../../errors';
import { type IdMaps, toHost } from '../../gofer';
import type { Report } from '../../syscall';
import type { DeviceRequest, MarkRequest } from '../archive/unpack/privileged';

export interface AllowedDevice {
  readonly type: 'char' | 'block';
  readonly major: number;
  readonly minor: number;
}

/** What an unpacker may be given. */
export interface UnpackerRights {
  /** The ids that the unpacker's are. */
  readonly idMaps: IdMaps;
  /** Device nodes that it may have made. */
  readonly devices: readonly AllowedDevice[];
}

/** A request as the host does it, with the host's ids. @throws SiltError for one that no unpacker of silt's would send. */
export function parseRequest(
  { name, text }: Pick<Report, 'name' | 'text'>,
  { idMaps: { uids, gids }, devices }: UnpackerRights,
): Omit<MarkRequest, 'dirFd'> | Omit<DeviceRequest, 'dirFd'> {
  if (name === 'opaque' || name === 'whiteouts') return { kind: name };
  if (name !== 'device') throw new SiltError('INTERNAL', `the unpacker asked for ${name}`);
  const given = JSON.parse(text) as Record<string, unknown>;
  const number = (key: string, value: unknown = given[key]): number => {
    if (Number.isSafeInteger(value)) return value as number;
    throw new SiltError('INTERNAL', `the unpacker asked for a device with a ${key} that is no number`);
  };
  const [major, minor] = [number('major'), number('minor')];
  const device = devices.find((one) => one.type === given['type'] && one.major === major && one.minor === minor);
  if (!device) throw new SiltError('INTERNAL', 'the unpacker asked for a device that the container does not have');
  const [uid, gid] = [toHost(uids, number('uid')), toHost(gids, number('gid'))];
  // What a chown(2) of the unpacker's own would have said.
  if (uid === undefined || gid === undefined)
    throw new SiltError('SYSCALL_FAILED', 'setting its owner: EINVAL', { errno: 'EINVAL' });
  const { seconds, nanoseconds } = (given['mtime'] ?? {}) as Record<string, unknown>;
  const mtime = { seconds: number('time', seconds), nanoseconds: number('time', nanoseconds) };
  const bytes = Buffer.from(String(given['name']), 'base64');
  return { kind: 'device', name: bytes, type: device.type, major, minor, mode: number('mode'), uid, gid, mtime };
}
