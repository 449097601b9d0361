import type { OnProgress, Progress } from '../sandbox';
import { isTerminal } from './is-terminal';

/** What a bar is drawn on: standard error, if it is a terminal. */
export interface BarOutput {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const STDERR = 2;
const CLEAR = '\r\u001b[K';
const MEBIBYTE = 1 << 20;

/** A bar for work that takes a while, on a terminal; nothing at all anywhere else. */
export class ProgressBar {
  #drawn = false;

  constructor(
    private readonly label: string,
    private readonly output: BarOutput = process.stderr,
  ) {}

  /** As far as `done` of `total` bytes, which may be an estimate: it never shows more than 99%. */
  update({ done, total }: Progress): void {
    if (this.output.isTTY !== true) return;
    const share = total > 0 ? Math.min(0.99, done / total) : 0;
    const figures = ` ${`${Math.floor(share * 100)}`.padStart(2)}% ${(done / MEBIBYTE).toFixed(1)} MiB`;
    const width = Math.max(0, Math.min(40, (this.output.columns ?? 80) - this.label.length - figures.length - 5));
    const full = Math.round(share * width);
    this.output.write(`${CLEAR}${this.label} [${'='.repeat(full)}${' '.repeat(width - full)}]${figures}`);
    this.#drawn = true;
  }

  /** Takes the bar away: before other text, and at the end. */
  clear(): void {
    if (this.#drawn) this.output.write(CLEAR);
    this.#drawn = false;
  }
}

/**
 * Runs `body` with a bar on standard error, if that is a terminal: it is given what to tell the progress to, and what takes the bar away
 * before other text.
 * @param label undefined: no bar
 */
export async function withBar<T>(
  label: string | undefined,
  body: (onProgress: OnProgress | undefined, clear: () => void) => Promise<T>,
): Promise<T> {
  if (label === undefined || !isTerminal(STDERR)) return body(undefined, () => undefined);
  const bar = new ProgressBar(label);
  const clear = (): void => bar.clear();
  return body((progress) => bar.update(progress), clear).finally(clear);
}
