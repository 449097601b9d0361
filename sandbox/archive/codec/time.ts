/** A point in time, as timespec(3) counts: `nanoseconds` is never negative and is added to `seconds`. */
export interface Timestamp {
  readonly seconds: number;
  readonly nanoseconds: number;
}

const BILLION = 1_000_000_000;

/** A pax time: `1700000000`, `12.5`, `-0.25`. Digits past nanoseconds are cut. `undefined` for anything else. */
export function parseTime(raw: Uint8Array): Timestamp | undefined {
  return parseUsual(raw) ?? parseAny(raw);
}

const POINT = 0x2e;

/** Ten digits, perhaps a point, and up to nine digits: the time of nearly every entry there is. */
function parseUsual(raw: Uint8Array): Timestamp | undefined {
  if (raw.length < 10 || raw.length > 20 || (raw.length > 10 && raw[10] !== POINT)) return undefined;
  let seconds = 0;
  let nanoseconds = 0;
  for (let i = 0; i < 20; i++) {
    if (i === 10) continue;
    const digit = i < raw.length ? raw[i]! - 0x30 : 0;
    if (digit < 0 || digit > 9) return undefined;
    if (i < 10) seconds = seconds * 10 + digit;
    else nanoseconds = nanoseconds * 10 + digit;
  }
  return { seconds, nanoseconds };
}

function parseAny(raw: Uint8Array): Timestamp | undefined {
  const match = /^(-?)(\d{1,16})(?:\.(\d*))?$/.exec(Buffer.from(raw).toString('latin1'));
  if (!match) return undefined;
  const seconds = Number(match[2]);
  const nanoseconds = Number((match[3] ?? '').slice(0, 9).padEnd(9, '0'));
  if (!Number.isSafeInteger(seconds)) return undefined;
  if (match[1] === '') return { seconds, nanoseconds };
  // "-0.25" is a quarter second before 1970: second -1 plus three quarters.
  return nanoseconds === 0
    ? { seconds: 0 - seconds, nanoseconds }
    : { seconds: -seconds - 1, nanoseconds: BILLION - nanoseconds };
}

/** The reverse of {@link parseTime}, as short as it goes. */
export function formatTime({ seconds, nanoseconds }: Timestamp): string {
  if (nanoseconds === 0) return `${seconds}`;
  const [sign, whole, part] = seconds < 0 ? ['-', -seconds - 1, BILLION - nanoseconds] : ['', seconds, nanoseconds];
  return `${sign}${whole}.${`${part}`.padStart(9, '0').replace(/0+$/, '')}`;
}
