import { dateOf, goZeroTime, nanosecondsOf, timestampOf } from './index';

test.each([
  [0n, { seconds: 0n, nanos: 0 }],
  [1_790_000_000_123_456_789n, { seconds: 1_790_000_000n, nanos: 123_456_789 }],
  [-1n, { seconds: -1n, nanos: 999_999_999 }],
  [-1_000_000_000n, { seconds: -1n, nanos: 0 }],
])('%s ns', (nanoseconds, timestamp) => {
  expect(timestampOf(nanoseconds)).toEqual(timestamp);
  expect(nanosecondsOf(timestamp)).toBe(nanoseconds);
});

test.each(['2026-08-22T17:21:51.042Z', '1969-12-31T23:59:59.999Z', '0001-01-01T00:00:00.000Z'])('%s', (text) => {
  expect(dateOf(timestampOf(new Date(text))).toISOString()).toBe(text);
});

test("Go's zero time is the year 1", () => {
  expect(dateOf(goZeroTime).toISOString()).toBe('0001-01-01T00:00:00.000Z');
});

test('a date is cut off to milliseconds', () => {
  expect(dateOf({ seconds: 1n, nanos: 1_999_999 }).getTime()).toBe(1001);
});
