import { type ErrorCode, SiltError } from '../../errors';
import { execFailure } from './exec-failure';
import { LABEL_STEP, LOOKUP_STEP, type ProcessPlan } from '../programs/process';

const process = (name: string, cwd = '/work'): ProcessPlan => ({ argv: [name, '-x'], cwd }) as unknown as ProcessPlan;

const failed = (step: string, errno: string, code: ErrorCode = 'SYSCALL_FAILED'): SiltError =>
  new SiltError(code, `${step}: call: ${errno}`, { syscall: 'call', errno });

describe('in the words of runc', () => {
  test.each<[string, string, SiltError, string]>([
    [
      'a name in no directory of PATH',
      'nosuch',
      failed(LOOKUP_STEP, 'ENOENT'),
      'exec: "nosuch": executable file not found in $PATH',
    ],
    [
      'a name in PATH that is not executable',
      'data',
      failed(LOOKUP_STEP, 'EACCES'),
      'exec: "data": executable file not found in $PATH',
    ],
    [
      'a path that is not there',
      '/bin/nosuch',
      failed(LOOKUP_STEP, 'ENOENT'),
      'exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory',
    ],
    [
      'a path below a file',
      '/etc/passwd/x',
      failed(LOOKUP_STEP, 'ENOTDIR'),
      'exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory',
    ],
    ['a path with some other fault', '/loop', failed(LOOKUP_STEP, 'ELOOP'), 'exec: "/loop": stat /loop: ELOOP'],
    [
      'a path that is not executable',
      '/etc/passwd',
      failed(LOOKUP_STEP, 'EACCES'),
      'exec: "/etc/passwd": permission denied',
    ],
    ['a directory', '/etc', failed(LOOKUP_STEP, 'EBADF'), 'exec: "/etc": permission denied'],
    [
      'a relative path',
      './tool',
      failed(LOOKUP_STEP, 'ENOENT'),
      'exec: "./tool": stat ./tool: no such file or directory',
    ],
    ['no name', '', failed(LOOKUP_STEP, 'ENOENT'), 'exec: "": executable file not found in $PATH'],
    [
      'a file that is no program',
      '/bin/text',
      failed('executing /bin/text', 'ENOEXEC'),
      'exec /bin/text: exec format error',
    ],
    [
      'a program whose interpreter is not there',
      'tool',
      failed('executing /usr/bin/tool', 'ENOENT'),
      'exec tool: no such file or directory',
    ],
    [
      'a program that may not be run',
      'tool',
      failed('executing /usr/bin/tool', 'EACCES'),
      'exec tool: permission denied',
    ],
    ['a program that is too big', 'tool', failed('executing /usr/bin/tool', 'E2BIG'), 'exec tool: E2BIG'],
    [
      'a working directory that is not there',
      'sh',
      failed('entering the working directory /work', 'ENOENT'),
      'chdir to cwd ("/work") set in config.json failed: no such file or directory',
    ],
    [
      'a working directory that is a file',
      'sh',
      failed('entering the working directory /work', 'ENOTDIR'),
      'chdir to cwd ("/work") set in config.json failed: not a directory',
    ],
    [
      'a working directory of somebody else',
      'sh',
      failed('entering the working directory /work', 'EACCES'),
      'chdir to cwd ("/work") set in config.json failed: permission denied',
    ],
    [
      'a working directory with some other fault',
      'sh',
      failed('entering the working directory /work', 'EIO'),
      'chdir to cwd ("/work") set in config.json failed: EIO',
    ],
  ])('%s', (_, name, error, message) => {
    const result = execFailure(error, process(name));
    expect(result).toBeInstanceOf(SiltError);
    expect(result).toMatchObject({ code: 'EXEC_NOT_FOUND', message, details: error.details, cause: error });
  });
});

test('a profile of AppArmor’s that is not loaded', () => {
  const error = new SiltError('SYSCALL_FAILED', `${LABEL_STEP}exec local: tests (helper): write: ENOENT`, {
    errno: 'ENOENT',
  });
  const result = execFailure(error, process('sh'));
  expect(result).toMatchObject({ code: 'HOST_UNSUPPORTED', details: { jsonPath: '$.process.apparmorProfile' } });
  expect((result as SiltError).message).toContain('no profile "local: tests": load it');
});

describe('as it is', () => {
  test.each<[string, unknown]>([
    ['a failure of another step', failed('setting the umask', 'EPERM')],
    ['a label that is refused', failed(`${LABEL_STEP}exec local`, 'EINVAL')],
    ['an error with another code', failed(LOOKUP_STEP, 'ENOENT', 'INTERNAL')],
    ['what is no error of silt’s', new Error(LOOKUP_STEP)],
    ['what is no error at all', 'text'],
  ])('%s', (_, error) => {
    expect(execFailure(error, process('sh'))).toBe(error);
  });
});
