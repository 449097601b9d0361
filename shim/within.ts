import { setTimeout as sleep } from 'node:timers/promises';

/** Waits for the end of something, but no longer than this. */
export async function within(ms: number, ended: Promise<unknown>): Promise<void> {
  const done = new AbortController();
  await Promise.race([ended, sleep(ms, undefined, { signal: done.signal }).catch(() => undefined)]);
  done.abort();
}
