import { setTimeout as sleep } from 'node:timers/promises';

/** Waits for the end of something, but no longer than this. Returns whether it has come. */
export async function within(ms: number, ended: Promise<unknown>): Promise<boolean> {
  const done = new AbortController();
  const late = sleep(ms, false, { signal: done.signal }).catch(() => false);
  const inTime = await Promise.race([ended.then(() => true), late]);
  done.abort();
  return inTime;
}
