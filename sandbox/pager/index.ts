/** Starts the processes that bring a restored container's memory, and knows of those that run. */
import { chmodSync, closeSync, constants, openSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import { nativeDirectory } from '../../native';
import { type Kernel, ProgramBuilder, sendMessage } from '../../syscall';
import { type Lifetime, Process } from '../process/process';
import { PAGER_FDS, pagerProgram, WITH_DEVICE } from '../programs/page';
import { listenIn } from '../state/state-socket';
import { errorFrom, NODE_OPTIONS } from '../seed/unpacker';
import { FAILURE } from './record';

/** Name of the socket at which CRIU looks for whoever brings memory, in its working directory. */
export const LAZY_SOCKET = 'lazy-pages.socket';

export interface PagerRequest {
  /** The checkpoint's directory. */
  readonly image: string;
  /** CRIU's working directory, in which it is to find the socket. Borrowed. */
  readonly run: number;
  /** The container's state directory. */
  readonly directory: string;
  readonly lifetime: Lifetime;
  /** /dev/userfaultfd, if the processes are in a user namespace: they make their userfaultfds from it. Borrowed. */
  readonly device: number | undefined;
}

/** A pager in the making of a restore. */
export interface StartedPager {
  /** The keeper, which ends after the pager. */
  readonly keeper: Process;
  /** Settles when all memory is there, or the container's processes are gone. Rejects when it cannot be brought: the checkpoint is damaged, say. */
  readonly complete: Promise<void>;
  /** From now on the container ends when its memory cannot be brought. To be called before a process of it runs. */
  protect(init: Process): void;
  /** Nothing is restored: ends the pager, unless the container is under its protection. */
  end(): Promise<void>;
}

/** Starts a pager. CRIU may connect at once. */
export function startPager(kernel: Kernel, request: PagerRequest): StartedPager {
  const open: number[] = [];
  const keep = (fd: number): number => {
    open.push(fd);
    return fd;
  };
  const [control, theirs] = kernel.socketPair();
  const device = request.device !== undefined;
  const run = `/proc/self/fd/${request.run}`;
  try {
    const listener = keep(listenIn(kernel, run, LAZY_SOCKET, 'SOCK_STREAM'));
    // A CRIU that is not host root connects, and nobody else sees that directory.
    if (device) chmodSync(join(run, LAZY_SOCKET), 0o666);
    const started = kernel.start(
      pagerProgram([...NODE_OPTIONS, '-', request.image, ...(device ? [WITH_DEVICE] : [])], { device }),
      {
        [PAGER_FDS.node]: keep(openSync(process.execPath, 'r')),
        [PAGER_FDS.script]: keep(openSync(join(__dirname, 'pager.js'), 'r')),
        [PAGER_FDS.addon]: keep(openSync(join(nativeDirectory(), 'silt.node'), 'r')),
        [PAGER_FDS.image]: keep(openSync(request.image, constants.O_DIRECTORY | constants.O_RDONLY)),
        [PAGER_FDS.listener]: listener,
        [PAGER_FDS.failure]: keep(openSync(join(request.directory, FAILURE), 'w', 0o600)),
        [PAGER_FDS.control]: keep(theirs),
        ...(request.device === undefined ? {} : { [PAGER_FDS.device]: request.device }),
      },
    );
    const keeper = new Process(kernel, started.pid, started.pidfd, request.lifetime);
    const { reports } = started;
    const complete = (async () => {
      const report = await reports.next();
      if (report?.name === 'complete') return;
      throw report?.name === 'error' ? errorFrom(report.text) : killed();
    })();
    complete.catch(() => undefined);
    let controlled = true;
    const letGo = (): void => {
      if (controlled) closeSync(control);
      controlled = false;
    };
    void keeper.exited.then(() => {
      letGo();
      reports.close();
    });
    return {
      keeper,
      complete,
      protect: (init) => {
        if (!controlled) throw killed();
        const p = new ProgramBuilder();
        sendMessage(p, control, p.bytes(Buffer.from('init'), '"init"', 1), [init.fd]);
        kernel.run(p.build());
      },
      end: async () => {
        letGo();
        await keeper.exited;
      },
    };
  } catch (error) {
    closeSync(control);
    throw error;
  } finally {
    for (const fd of open) closeSync(fd);
  }
}

function killed(): SiltError {
  return new SiltError('INTERNAL', 'the pager, which brings the memory of a restored container, was killed');
}
