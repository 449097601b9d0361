/**
 * The pager's process: reads what of the checkpoint it needs to know, leaves the host's filesystem, takes the processes'
 * userfaultfds from CRIU and brings their memory. See programs/page.ts for what it is given.
 */
import { writeSync } from 'node:fs';
import { SiltError } from '../../errors';
import { loadNative, type WatchHandle } from '../../native';
import { Kernel, ProgramBuilder, receivedFds, receiveMessage, sendMessage } from '../../syscall';
import { openListed, readManifest } from '../checkpoint-image/manifest';
import { confineNode } from '../seed/confined-node';
import { capabilityMask, keepOnly } from '../programs/confine';
import { PAGER, WITH_DEVICE } from '../programs/page';
import { nodeFilter } from '../seed/unpacker-filter';
import { errorReport } from '../seed/unpacker-report';
import { Pager } from './pager';
import { type PageRun, readPagemaps } from '../checkpoint-image/pagemap';
import { enableEvents } from './userfault';
import { VerifiedFile } from './verified-file';

/** What CRIU says when the last process is there (LAZY_PAGES_RESTORE_FINISHED of its uffd.c). */
const FINISHED = 0x52535446;
const READABLE = 1;

/** Processes in a user namespace make their userfaultfds from the device, and this process enables them: see native/lazy.c. */
const hasDevice = process.argv[3] === WITH_DEVICE;

const kernel = new Kernel(loadNative(`/proc/self/fd/${PAGER.addon}`), -1);

interface Memory {
  readonly runs: readonly PageRun[];
  readonly file: VerifiedFile;
}

/** What every process's memory is to be, by the pid that it has within its pid namespace. */
function readImage(named: string): Map<number, Memory> {
  const directory = `/proc/self/fd/${PAGER.image}`;
  const found = new Map<number, Memory>();
  for (const { map, runs, file } of readPagemaps(directory, readManifest(directory))) {
    const pid = /^pagemap-([1-9]\d*)\.img$/.exec(map)?.[1];
    if (pid === undefined) continue;
    const fd = openListed(directory, file);
    found.set(Number(pid), { runs: runs.filter(({ lazy }) => lazy), file: new VerifiedFile(fd, named, file) });
  }
  return found;
}

function send(socket: number, text: string, fds: readonly number[] = []): void {
  const p = new ProgramBuilder();
  const options = { tolerate: ['EPIPE', 'EAGAIN', 'ETOOMANYREFS', 'ECONNREFUSED'] };
  sendMessage(p, socket, p.bytes(Buffer.from(text), 'message', 1), fds, options);
  kernel.run(p.build());
}

function accept(): number {
  const p = new ProgramBuilder();
  const connection = p.slot('connection');
  p.step('waiting for CRIU').call('accept4', [PAGER.listener, 0, 0, 0], { out: connection, retry: true });
  return kernel.run(p.build()).get(connection);
}

/** Receives from CRIU: a pid, then its userfaultfd, and so on; a negative pid is that of a process without memory. */
function receive(connection: number): { readonly number: number; readonly fd: number | undefined } | undefined {
  const p = new ProgramBuilder();
  const message = receiveMessage(p, connection, 4, 1);
  const result = kernel.run(p.build());
  if (result.get(message.count) === 0) return undefined;
  return { number: result.at(message.payload).readInt32LE(), fd: receivedFds(result.image, message)[0] };
}

/**
 * Ends this process by exit_group(2). Node's exit waits for V8's threads first, and while it does nobody brings what programs wait for:
 * userfaultfds are open until it is over, if it ever is.
 */
function end(status: number): never {
  const p = new ProgramBuilder();
  p.step('ending the pager').call('exit_group', [status]);
  kernel.run(p.build());
  throw new Error('exit_group(2) has returned');
}

/** All userfaultfds are there. */
function dropCapabilities(): void {
  const p = new ProgramBuilder();
  p.step('dropping what enabling userfaultfds took');
  keepOnly(p, 0n);
  kernel.run(p.build());
}

function fail(error: unknown): never {
  const report = errorReport(error);
  writeSync(PAGER.failure, error instanceof SiltError ? `${error.message}\n` : `${report}\n`);
  send(PAGER.report, report);
  // The keeper, which hears of this end, ends the container.
  end(1);
}

function serve(memories: ReadonlyMap<number, Memory>): void {
  const pager = new Pager(kernel, {
    hold: (fd) => send(PAGER.hold, 'fd', [fd]),
    onComplete: () => {
      send(PAGER.report, 'complete');
      send(PAGER.end, 'complete');
      end(0);
    },
    onFailure: fail,
  });
  const connection = accept();
  let pid: number | undefined;
  const watch: WatchHandle = kernel.watch(connection, READABLE, () => {
    try {
      const message = receive(connection);
      if (message === undefined) throw new SiltError('CHECKPOINT_FAILED', 'CRIU ended before all processes were there');
      if (message.fd !== undefined) {
        const memory = memories.get(pid ?? 0);
        if (memory === undefined) throw new SiltError('CHECKPOINT_INVALID', `there is no memory of process ${pid}`);
        if (hasDevice) enableEvents(kernel, message.fd);
        pager.add(message.fd, memory.runs, memory.file);
        if (hasDevice) send(connection, '.');
      } else if (message.number === FINISHED) {
        watch.close();
        if (hasDevice) dropCapabilities();
        pager.start();
      } else {
        pid = message.number;
        // A negative one is that of a process without memory.
        if (hasDevice && pid > 0) send(connection, '.', [PAGER.device]);
      }
    } catch (error) {
      fail(error);
    }
  });
}

try {
  const memories = readImage(process.argv[2] ?? '');
  confineNode(kernel, {
    task: 'the pager to what bringing memory takes',
    capabilities: hasDevice ? capabilityMask(['CAP_SYS_PTRACE']) : 0n,
    filter: nodeFilter(hasDevice ? ['accept4', 'capset'] : ['accept4']),
  });
  serve(memories);
} catch (error) {
  fail(error);
}
