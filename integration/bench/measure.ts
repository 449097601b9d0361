/** Runs things that are to be compared in turns, and says how they compare. */

export interface Contestant {
  readonly name: string;
  /** Done before each run, and not measured. */
  readonly prepare?: () => unknown;
  /** What is measured, with what it promises. */
  readonly run: () => unknown;
}

export interface Result {
  readonly name: string;
  /** Milliseconds, in the order of the rounds. */
  readonly times: readonly number[];
}

/**
 * Runs every contestant once in each round, so that what else the machine is doing meets all of them. The first, unmeasured round
 * warms up.
 */
export async function measure(contestants: readonly Contestant[], rounds: number): Promise<Result[]> {
  const times = contestants.map((): number[] => []);
  for (let round = -1; round < rounds; round++) {
    for (const [i, { prepare, run }] of contestants.entries()) {
      await prepare?.();
      const start = performance.now();
      await run();
      if (round >= 0) times[i]!.push(performance.now() - start);
    }
  }
  return contestants.map(({ name }, i) => ({ name, times: times[i]! }));
}

/** The value below which this part (0 to 1) of the numbers lies. */
export function quantile(numbers: readonly number[], part: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const at = part * (sorted.length - 1);
  const low = sorted[Math.floor(at)]!;
  return low + (sorted[Math.ceil(at)]! - low) * (at - Math.floor(at));
}

/**
 * A line for each result: the median of its times, and how the first one compares to it, as the median of the ratios within
 * each round with its quartiles.
 */
export function report(title: string, results: readonly Result[]): string {
  const [first] = results as [Result];
  const lines = results.map(({ name, times }) => {
    const ratios = times.map((time, i) => first.times[i]! / time);
    const [low, middle, high] = [0.25, 0.5, 0.75].map((part) => quantile(ratios, part).toFixed(2)) as [string, string, string]; // prettier-ignore
    const compared = name === first.name ? '' : `${first.name} / ${name}  ${middle}  (${low} to ${high})`;
    return `  ${name.padEnd(22)}${quantile(times, 0.5).toFixed(1).padStart(9)} ms   ${compared}`.trimEnd();
  });
  return `${title}, ${first.times.length} rounds\n${lines.join('\n')}\n`;
}
