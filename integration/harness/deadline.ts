/** Waiting for things that have no notification of their own, never longer than needed and never without an end. */

/** Resolves after so many milliseconds. For polling only: a test that needs a pause to pass is wrong. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

export interface WaitOptions {
  readonly timeoutMs?: number;
  /** What to add to the message when time is up. */
  readonly detail?: () => string;
}

/**
 * Asks `probe` again and again, first every 2 ms and then up to every 50, until it returns something other than undefined or
 * false, which becomes the result. Throws `timed out waiting for WHAT` after `timeoutMs` (10 s unless told).
 */
export async function waitFor<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  options: WaitOptions = {},
): Promise<T> {
  const timeoutMs = options.timeoutMs ?? 10_000;
  const end = performance.now() + timeoutMs;
  for (let pause = 2; ; pause = Math.min(50, pause * 1.5)) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) {
      const detail = options.detail === undefined ? '' : `: ${options.detail()}`;
      throw new Error(`timed out after ${timeoutMs} ms waiting for ${what}${detail}`);
    }
    await sleep(pause);
  }
}
