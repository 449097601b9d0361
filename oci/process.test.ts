import { readFileSync } from 'node:fs';
import { execCandidates, RLIMIT_NAMES, rlimitNumbers, uniqueEnv } from './process';

test.each<[string, string[], string[]]>([
  ['sh', ['PATH=/usr/bin:/bin/'], ['/usr/bin/sh', '/bin/sh']],
  ['/bin/sh', ['PATH=/usr/bin'], ['/bin/sh']],
  ['./sh', ['PATH=/usr/bin'], ['./sh']],
  ['sub/sh', [], ['sub/sh']],
  ['sh', ['PATH=:/bin:'], ['./sh', '/bin/sh', './sh']],
  ['sh', ['PATH=/a', 'PATHX=/b', 'PATH=/c'], ['/c/sh']],
  ['sh', ['PATH='], []],
  ['', ['PATH=/bin'], []],
])('candidates for %j with %j', (name, env, expected) => {
  expect(execCandidates(name, env)).toEqual(expected);
});

test('without a PATH it is the usual directories', () => {
  expect(execCandidates('sh', ['HOME=/'])).toContain('/usr/local/bin/sh');
});

test('limits have the kernel’s numbers', () => {
  expect(rlimitNumbers([{ type: 'RLIMIT_NOFILE', soft: 1024, hard: 18446744073709551615n }])).toEqual([
    { name: 'RLIMIT_NOFILE', resource: 7, soft: 1024n, hard: 18446744073709551615n, procName: 'Max open files' },
  ]);
});

test('every limit has a number and a line in /proc/self/limits', () => {
  const lines = readFileSync('/proc/self/limits', 'utf8').split('\n');
  const limits = rlimitNumbers(RLIMIT_NAMES.map((type) => ({ type, soft: 0, hard: 0 })));
  expect(limits.map(({ resource }) => resource).sort((a, b) => a - b)).toEqual(Array.from({ length: 16 }, (_, i) => i));
  for (const { procName } of limits) expect(lines.filter((line) => line.startsWith(`${procName}  `))).toHaveLength(1);
});

test('the last entry of a name counts', () => {
  expect(uniqueEnv(['A=1', 'B=2', 'A=3', 'C=', 'AB=4'])).toEqual(['B=2', 'A=3', 'C=', 'AB=4']);
});
