import { SiltError } from '../../errors';

/** A report is one message, and messages have a limit of 8 KiB (ReportChannel). */
export const MOST_BYTES = 8000;

/** What the unpacker says of its failure: the message is cut, and the details left out, where they are too long for a report. */
export function errorReport(error: unknown): string {
  const { code, message, details } = error instanceof SiltError ? error : unexpected(error);
  const whole = encode({ code, message, details });
  if (fits(whole)) return whole;
  let length = Math.min(message.length, MOST_BYTES);
  while (!fits(encode({ code, message: `${message.slice(0, length)}…`, details: {} }))) length = Math.floor(length / 2);
  return encode({ code, message: `${message.slice(0, length)}…`, details: {} });
}

const encode = (error: object): string => `error ${JSON.stringify(error)}`;
const fits = (text: string): boolean => Buffer.byteLength(text) <= MOST_BYTES;

function unexpected(error: unknown): SiltError {
  return new SiltError('INTERNAL', String(error instanceof Error ? error.stack : error));
}
