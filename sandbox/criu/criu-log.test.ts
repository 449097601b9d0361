import { explainLog } from './criu-log';

const rlimit =
  "(00.000584) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted";

test('of a dump: the process that it was at, the cause first, and no line that only says that it has failed', () => {
  const log = [
    rlimit,
    '(00.010000) Dumping task (pid: 1719 comm: sh)',
    '(00.010571) Dumping task (pid: 1720 comm: a (b))',
    '(00.012009) Error (criu/sk-inet.c:200): inet: Connected TCP socket, consider using --tcp-established option.',
    '(00.012023) Error (criu/cr-dump.c:1545): Dump files (pid: 1720) failed with -1',
    '(00.012030) Dumping task (pid: 1799 comm: later)',
    '(00.105749) Error (criu/cr-dump.c:1975): Dumping FAILED.',
  ].join('\n');
  expect(explainLog(log)).toEqual({
    process: { pid: 1720, name: 'a (b)' },
    reasons: ['inet: Connected TCP socket, consider using --tcp-established option.'],
  });
});

test('of a process that could not be stopped: its pid is in the message, which is said once', () => {
  const line = '(00.1) Error (compel/src/lib/infect.c:262): Unseizable non-zombie 1685 found, state t, err -1/10';
  expect(explainLog([line, line].join('\n'))).toEqual({
    process: { pid: 1685 },
    reasons: ['Unseizable non-zombie 1685 found, state t, err -1/10'],
  });
});

test('of a restore: the pid within the container', () => {
  const log =
    "(00.1)     12: Error (criu/files-reg.c:10): Can't open file\npie: 13: Error (criu/pie/x.c:1): mmap failed";
  expect(explainLog(log)).toEqual({ process: { pid: 12 }, reasons: ["Can't open file", 'mmap failed'] });
});

test('without complaints there is nothing to tell', () => {
  expect(explainLog(`${rlimit}\n(00.010000) Dumping task (pid: 1719 comm: sh)\n`)).toEqual({ reasons: [] });
});
