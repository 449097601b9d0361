/** google.protobuf.Timestamp: seconds since 1970 (bigint) and the nanoseconds from there forward, 0 to 999999999. */
import type { Timestamp } from '../build/proto/contracts';

const nanosecondsPerSecond = 1_000_000_000n;
const nanosecondsPerMillisecond = 1_000_000n;

/**
 * Go's zero time, the year 1. runc's shim sends it as `exited_at` of a process that has not exited; a client of containerd
 * 1.7 and later takes an absent timestamp for 1970 instead.
 */
export const goZeroTime: Timestamp = Object.freeze({ seconds: -62_135_596_800n, nanos: 0 });

/** From a date, or from nanoseconds since 1970. */
export function timestampOf(time: Date | bigint): Timestamp {
  const nanoseconds = typeof time === 'bigint' ? time : BigInt(time.getTime()) * nanosecondsPerMillisecond;
  const nanos = ((nanoseconds % nanosecondsPerSecond) + nanosecondsPerSecond) % nanosecondsPerSecond;
  return { seconds: (nanoseconds - nanos) / nanosecondsPerSecond, nanos: Number(nanos) };
}

/** Nanoseconds since 1970. */
export function nanosecondsOf(timestamp: Timestamp): bigint {
  return timestamp.seconds * nanosecondsPerSecond + BigInt(timestamp.nanos);
}

/** The date, cut off to milliseconds. Invalid if it is out of a Date's range, which Go's zero time is not. */
export function dateOf(timestamp: Timestamp): Date {
  return new Date(Number(timestamp.seconds) * 1000 + Math.floor(timestamp.nanos / 1_000_000));
}
