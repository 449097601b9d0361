import { countRun, groupReasons } from './reports';

const unit = { name: 'unit', exitCode: 0, report: 'unit.json' };
const native = { name: 'native', exitCode: 0, report: 'native.txt' };

function report(counts: object, results: object[] = []): string {
  const none = {
    numPassedTests: 0,
    numFailedTests: 0,
    numPendingTests: 0,
    numTodoTests: 0,
    numRuntimeErrorTestSuites: 0,
  };
  return JSON.stringify({ ...none, ...counts, testResults: [{ assertionResults: results }] });
}

test('sums what jest reports', () => {
  const text = report({ numPassedTests: 5, numFailedTests: 2, numPendingTests: 1 }, [
    { status: 'pending', fullName: 'a b' },
  ]);
  expect(countRun(unit, text)).toEqual({ passed: 5, failed: 2, skipped: 1, skippedNames: ['a b'] });
});

test('counts a test file that cannot be loaded as a failure', () => {
  expect(countRun({ ...unit, exitCode: 1 }, report({ numPassedTests: 5, numRuntimeErrorTestSuites: 1 }))).toMatchObject(
    { failed: 1 },
  );
});

test('sums the closing lines of native tests', () => {
  expect(countRun(native, 'x\n# passed 3 failed 0\n# passed 4 failed 1\n')).toMatchObject({ passed: 7, failed: 1 });
});

test.each([
  ['a runner that failed without a failed test', { ...unit, exitCode: 1 }, report({ numPassedTests: 5 })],
  ['a runner without a report', unit, undefined],
  ['a runner that ran nothing', native, 'no closing line'],
])('counts %s as a failure', (_, run, text) => {
  expect(countRun(run, text).failed).toBe(1);
});

test('groups skipped tests by their reasons', () => {
  const names = ['a [skipped: no such peer]', 'group [skipped: no such peer] b', 'c'];
  expect([...groupReasons(names)]).toEqual([
    ['no such peer', 2],
    ['no reason given: c', 1],
  ]);
});
