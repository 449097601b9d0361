import { countRun, failedFiles, groupReasons } from './reports';

const unit = { name: 'unit', exitCode: 0, report: 'unit.json' };
const native = { name: 'native', exitCode: 0, report: 'native.txt' };

interface TestFile {
  readonly name?: string;
  readonly tests: readonly string[];
  readonly status?: string;
}

/** Tests are written as `status name`. */
function report(...files: readonly TestFile[]): string {
  return JSON.stringify({
    testResults: files.map(({ name = 'a.test.ts', tests, status = 'passed' }) => ({
      name,
      status: tests.some((test) => test.startsWith('failed')) ? 'failed' : status,
      assertionResults: tests.map((test) => ({ status: test.split(' ')[0], fullName: test.split(' ')[1] })),
    })),
  });
}

test('sums what jest reports', () => {
  const text = report({ tests: ['passed a', 'failed b', 'pending c'] }, { tests: ['passed d', 'todo e'] });
  expect(countRun(unit, text)).toMatchObject({ passed: 2, failed: 1, skipped: 2, skippedNames: ['c', 'e'] });
});

test('counts a test file that cannot be loaded as a failure', () => {
  const text = report({ tests: ['passed a'] }, { tests: [], status: 'failed' });
  expect(countRun({ ...unit, exitCode: 1 }, text)).toMatchObject({ passed: 1, failed: 1 });
});

test('the second run of a file stands in the place of its first, and what passed only then is named', () => {
  const first = report(
    { name: 'a.test.ts', tests: ['passed a', 'failed b', 'failed c'] },
    { name: 'b.test.ts', tests: ['passed d'] },
  );
  expect(failedFiles(first)).toEqual(['a.test.ts']);
  const second = report({ name: 'a.test.ts', tests: ['passed a', 'passed b', 'failed c'] });
  expect(countRun({ ...unit, exitCode: 1 }, first, second)).toEqual({
    passed: 3,
    failed: 1,
    skipped: 0,
    skippedNames: [],
    secondTimeNames: ['b'],
  });
});

test('sums the closing lines of native tests', () => {
  expect(countRun(native, 'x\n# passed 3 failed 0\n# passed 4 failed 1\n')).toMatchObject({ passed: 7, failed: 1 });
});

test.each([
  ['a runner that failed without a failed test', { ...unit, exitCode: 1 }, report({ tests: ['passed a'] })],
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
