import { SiltError } from '../../errors';
import type { Spec } from '../../oci';
import { LABEL_STEP, LOOKUP_STEP, type ProcessPlan, SCHEDULER_STEP } from '../programs/process';

/**
 * The error of a program that is not there or cannot be executed, in the words that runc (Go's os/exec) has for it and that
 * tests and tools of users look for; any other error as it is.
 */
export function execFailure(error: unknown, process: Pick<ProcessPlan, 'argv' | 'cwd'>): unknown {
  if (!(error instanceof SiltError) || error.code !== 'SYSCALL_FAILED') return error;
  const name = process.argv[0] ?? '';
  const errno = error.details.errno ?? '';
  if (error.message.startsWith(LOOKUP_STEP)) {
    if (!name.includes('/')) return refuse(error, `exec: ${JSON.stringify(name)}: executable file not found in $PATH`);
    // EBADF is how the program says that the path is a directory (execFirst).
    if (errno === 'EACCES' || errno === 'EBADF')
      return refuse(error, `exec: ${JSON.stringify(name)}: permission denied`);
    const words: Readonly<Record<string, string>> = { ENOENT: 'no such file or directory', ENOTDIR: 'not a directory' };
    return refuse(error, `exec: ${JSON.stringify(name)}: stat ${name}: ${words[errno] ?? errno}`);
  }
  if (error.message.startsWith('executing ')) {
    const words: Readonly<Record<string, string>> = {
      ENOEXEC: 'exec format error',
      ENOENT: 'no such file or directory',
      EACCES: 'permission denied',
    };
    return refuse(error, `exec ${name}: ${words[errno] ?? errno}`);
  }
  if (error.message.startsWith('entering the working directory ')) {
    const words: Readonly<Record<string, string>> = {
      ENOENT: 'no such file or directory',
      ENOTDIR: 'not a directory',
      EACCES: 'permission denied',
    };
    return refuse(
      error,
      `chdir to cwd (${JSON.stringify(process.cwd)}) set in config.json failed: ${words[errno] ?? errno}`,
    );
  }
  if (error.message.startsWith(LABEL_STEP) && errno === 'ENOENT') return profileFailure(error);
  return error;
}

/** The kernel’s word for a profile of AppArmor’s that is not loaded. */
function profileFailure(error: SiltError): SiltError {
  const [, profile = ''] = /exec (.+?)(?: \(\w+\))?: write: \w+$/.exec(error.message) ?? [];
  const message = `$.process.apparmorProfile: AppArmor has no profile ${JSON.stringify(profile)}: load it (apparmor_parser --replace FILE), or leave it out`;
  const jsonPath = '$.process.apparmorProfile';
  return new SiltError('HOST_UNSUPPORTED', message, { ...error.details, jsonPath }, { cause: error });
}

/**
 * The kernel gives SCHED_DEADLINE only to a process that may use every CPU (sched_setattr(2), EPERM), and says no more of it. The first words are runc's.
 */
export function schedulerFailure(error: unknown, { linux, process }: Spec): unknown {
  if (!(error instanceof SiltError) || error.details.errno !== 'EPERM') return error;
  const cpus = linux?.resources?.cpu?.cpus;
  if (!error.message.startsWith(SCHEDULER_STEP) || !cpus) return error;
  const message = `process scheduler can't be used together with AllowedCPUs: ${process?.scheduler?.policy ?? ''} needs all CPUs, and $.linux.resources.cpu.cpus is ${JSON.stringify(cpus)}`;
  return new SiltError('SPEC_INVALID', message, { jsonPath: '$.process.scheduler' }, { cause: error });
}

function refuse(cause: SiltError, message: string): SiltError {
  return new SiltError('EXEC_NOT_FOUND', message, cause.details, { cause });
}
