/** CRIU on the host's side. */
import { closeSync } from 'node:fs';
import { SiltError } from '../../errors';
import { C, type Kernel, type Report } from '../../syscall';
import { Process, pidOf } from '../process/process';
import { CRIU_FDS, type CriuCommand, dumpProgram } from '../programs/criu';
import { awaitReports } from '../process/started';
import { makeCriuRun, openCriuLog } from './criu-run';
import { CriuSession } from './session';

/**
 * Starts CRIU on the host's side, for a dump or a question.
 * @param fds `kept`: one that CRIU keeps open as long as it lives; `network`: the network namespace that it works from. Borrowed.
 * @throws SiltError CRIU_UNUSABLE when it cannot be executed.
 */
export async function startDumper(
  kernel: Kernel,
  criu: CriuCommand,
  { kept, network }: { readonly kept?: number; readonly network?: number | undefined } = {},
): Promise<CriuSession> {
  const [mine, theirs] = kernel.socketPair();
  const run = makeCriuRun(kernel);
  const log = openCriuLog(run);
  let process: Process | undefined;
  try {
    const started = kernel.start(dumpProgram(criu, { kept: kept !== undefined, network: network !== undefined }), {
      [CRIU_FDS.rpc]: theirs,
      [CRIU_FDS.run]: run,
      [CRIU_FDS.log]: log,
      ...(kept === undefined ? {} : { [CRIU_FDS.kept]: kept }),
      ...(network === undefined ? {} : { [CRIU_FDS.network]: network }),
    });
    const onReport = ({ name, fds }: Report): boolean => {
      if (name !== 'criu') return false;
      process = new Process(kernel, pidOf(fds[0]!), fds[0]!);
      return true;
    };
    const abort = (): void => {
      if (process && !process.exit) kernel.signal(process.fd, C.SIGKILL);
    };
    await awaitReports(kernel, started, ['criu'], { what: 'starting CRIU', onReport, abort });
    // The socket closes when exec does.
    await started.reports.next();
    started.reports.close();
    return new CriuSession(kernel, process!, mine, run);
  } catch (error) {
    closeSync(mine);
    await process?.exited;
    closeSync(run);
    throw unusable(criu, error);
  } finally {
    closeSync(theirs);
    closeSync(log);
  }
}

export function unusable(criu: CriuCommand, error: unknown): SiltError {
  const message = error instanceof Error ? error.message : String(error);
  return new SiltError(
    'CRIU_UNUSABLE',
    `cannot execute ${criu.path}: ${message}`,
    { path: criu.path },
    { cause: error },
  );
}
