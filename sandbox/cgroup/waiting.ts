import { setTimeout as sleep } from 'node:timers/promises';

const FIRST_DELAY_MS = 1;
const LONGEST_DELAY_MS = 32;

/**
 * Tries at once and then, with pauses that double from 1 to 32 ms, until `attempt` says true or the time is over. The
 * last try comes after the deadline, so that a machine that slept gets its chance. Returns whether it succeeded.
 */
export async function retryWithin(timeoutMs: number, attempt: () => boolean): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  for (let delayMs = FIRST_DELAY_MS; !attempt(); delayMs = Math.min(delayMs * 2, LONGEST_DELAY_MS)) {
    const left = deadline - performance.now();
    if (left <= 0) return false;
    await sleep(Math.min(delayMs, left));
  }
  return true;
}
