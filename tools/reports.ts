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
  /** The report of the second run that the failed files of a jest run had; its results stand in the place of theirs. */
  readonly secondReport?: string;
}

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** The parts of `jest --json` that are counted. */
interface JestReport {
  readonly testResults: readonly JestFile[];
}

interface JestFile {
  /** The path of the file. */
  readonly name: string;
  /** `failed` also for a file that could not even be loaded. */
  readonly status: string;
  readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
}

interface Counted extends Counts {
  readonly skippedNames: string[];
  /** Tests that failed and then passed in the second run. */
  readonly secondTimeNames: string[];
}

/** Sums of a run, with the names of skipped tests. Anything wrong that no test accounts for counts as a failure of its own. */
export function countRun(run: RunRecord, text: string | undefined, secondText?: string): Counted {
  const counted =
    text === undefined ? undefined : run.report.endsWith('.json') ? countJest(text, secondText) : countNative(text);
  const counts = counted ?? noCounts();
  const nothingRan = counts.passed + counts.failed + counts.skipped === 0;
  if ((run.exitCode !== 0 || nothingRan) && counts.failed === 0) counts.failed = 1;
  return counts;
}

function noCounts(): Counted {
  return { passed: 0, failed: 0, skipped: 0, skippedNames: [], secondTimeNames: [] };
}

function hasFailed(file: JestFile): boolean {
  return file.status === 'failed' || failedNames(file).length > 0;
}

function failedNames(file: JestFile): string[] {
  return file.assertionResults.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName);
}

/** The files of a jest run in which anything failed. */
export function failedFiles(text: string): string[] {
  return (JSON.parse(text) as JestReport).testResults.filter(hasFailed).map(({ name }) => name);
}

function countJest(text: string, secondText: string | undefined): Counted {
  const first = (JSON.parse(text) as JestReport).testResults;
  const second = secondText === undefined ? [] : (JSON.parse(secondText) as JestReport).testResults;
  const counts = noCounts();
  for (const before of first) {
    const file = second.find(({ name }) => name === before.name) ?? before;
    const failed = failedNames(file);
    counts.failed += hasFailed(file) ? Math.max(failed.length, 1) : 0;
    for (const { status, fullName } of file.assertionResults) {
      if (status === 'passed') counts.passed++;
      if (status === 'pending' || status === 'todo') {
        counts.skipped++;
        counts.skippedNames.push(fullName);
      }
    }
    if (file !== before) counts.secondTimeNames.push(...failedNames(before).filter((name) => !failed.includes(name)));
  }
  return counts;
}

/** Native tests close with `# passed N failed M`; there may be several programs in one run. */
function countNative(text: string): Counted {
  const counts = noCounts();
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
  const read = (report: string | undefined): string | undefined => {
    const path = report === undefined ? undefined : join(reportDirectory, report);
    return path !== undefined && existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  };
  for (const run of runs) {
    const counts = countRun(run, read(run.report), read(run.secondReport));
    total.passed += counts.passed;
    total.failed += counts.failed;
    total.skipped += counts.skipped;
    const status = run.exitCode === 0 ? '' : `  (exit status ${run.exitCode})`;
    console.log(
      `${run.name.padEnd(24)} passed ${counts.passed}  failed ${counts.failed}  skipped ${counts.skipped}${status}`,
    );
    for (const [reason, count] of groupReasons(counts.skippedNames)) console.log(`  skipped ${count}: ${reason}`);
    for (const name of counts.secondTimeNames) console.log(`  failed at first, passed when run again: ${name}`);
  }
  if (closing) console.log(`tests: ${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return runs.length > 0 && total.failed === 0;
}
