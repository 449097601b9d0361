/** Counts what the test runners themselves report, and prints it: `tests: N passed, N failed, N skipped`. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkout } from '../integration/harness/checkout';

export const reportDirectory = join(checkout, 'build', 'reports');

/** One test runner's run, as run-tests noted it. */
export interface RunRecord {
  readonly name: string;
  readonly exitCode: number;
  /** File name of its report: jest's JSON, or the text that a native test printed. */
  readonly report: string;
}

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** The parts of `jest --json` that are counted. */
interface JestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  /** Test files that could not even be loaded. */
  readonly numRuntimeErrorTestSuites: number;
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

/** Sums of a run, with the names of skipped tests. Anything wrong that no test accounts for counts as a failure of its own. */
export function countRun(run: RunRecord, text: string | undefined): Counts & { skippedNames: string[] } {
  const counted = text === undefined ? undefined : run.report.endsWith('.json') ? countJest(text) : countNative(text);
  const counts = counted ?? { passed: 0, failed: 0, skipped: 0, skippedNames: [] };
  const nothingRan = counts.passed + counts.failed + counts.skipped === 0;
  if ((run.exitCode !== 0 || nothingRan) && counts.failed === 0) counts.failed = 1;
  return counts;
}

function countJest(text: string): Counts & { skippedNames: string[] } {
  const report = JSON.parse(text) as JestReport;
  const results = report.testResults.flatMap(({ assertionResults }) => assertionResults);
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + report.numRuntimeErrorTestSuites,
    skipped: report.numPendingTests + report.numTodoTests,
    skippedNames: results
      .filter(({ status }) => status === 'pending' || status === 'todo')
      .map(({ fullName }) => fullName),
  };
}

/** Native tests close with `# passed N failed M`; there may be several programs in one run. */
function countNative(text: string): Counts & { skippedNames: string[] } {
  const counts = { passed: 0, failed: 0, skipped: 0, skippedNames: [] };
  for (const match of text.matchAll(/^# passed (\d+) failed (\d+)$/gm)) {
    counts.passed += Number(match[1]);
    counts.failed += Number(match[2]);
  }
  return counts;
}

/** Reasons in the names of skipped tests (`… [skipped: REASON]`), each with the number of tests it holds for. */
export function groupReasons(names: readonly string[]): Map<string, number> {
  const reasons = new Map<string, number>();
  for (const name of names) {
    const reason = /\[skipped: ([^\]]*)\]/.exec(name)?.[1] ?? `no reason given: ${name}`;
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }
  return reasons;
}

/** Prints a line for each run and, if wanted, the closing one. Returns whether all is well. */
export function printTally(closing: boolean): boolean {
  const path = join(reportDirectory, 'runs.json');
  const runs = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as RunRecord[]) : [];
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  for (const run of runs) {
    const report = join(reportDirectory, run.report);
    const counts = countRun(run, existsSync(report) ? readFileSync(report, 'utf8') : undefined);
    total.passed += counts.passed;
    total.failed += counts.failed;
    total.skipped += counts.skipped;
    const status = run.exitCode === 0 ? '' : `  (exit status ${run.exitCode})`;
    console.log(
      `${run.name.padEnd(24)} passed ${counts.passed}  failed ${counts.failed}  skipped ${counts.skipped}${status}`,
    );
    for (const [reason, count] of groupReasons(counts.skippedNames)) console.log(`  skipped ${count}: ${reason}`);
  }
  if (closing) console.log(`tests: ${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return runs.length > 0 && total.failed === 0;
}
