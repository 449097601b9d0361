import { closeSync, watch as watchFile } from 'node:fs';
import { C, type Kernel, ProgramBuilder } from '../../syscall';
import { type Cgroup, findOomSource, oomKills, registerOomEvent } from '../cgroup';

const READABLE = 1;

/** When to look again after a notice of v1: it comes when memory is short, the kill is counted once it has been done (mm/memcontrol-v1.c). */
const LOOK_AGAIN_MS = [10, 100, 1000];

/** A watch for kills of the OOM killer. */
export interface OomWatch {
  /**
   * Looks now, and calls back for what is new. The kernel counts before it kills: who has seen a process end and looks then knows,
   * whereas the notice of it may come later than that of the end.
   */
  look(): void;
  stop(): void;
}

/**
 * Calls back each time that the OOM killer has killed a process of a cgroup. On a host without the memory controller nothing ever
 * comes.
 */
export function watchOom(kernel: Kernel, cgroup: Cgroup, onOom: () => void): OomWatch {
  const source = findOomSource(cgroup);
  if (source === undefined) return { look: () => undefined, stop: () => undefined };
  let seen = oomKills(cgroup);
  let stopped = false;
  const look = (): void => {
    if (stopped) return;
    const kills = oomKills(cgroup);
    if (kills > seen) onOom();
    seen = kills;
  };
  if (source.kind === 'inotify') {
    const watcher = watchFile(source.file, look);
    watcher.on('error', () => undefined);
    return { look, stop: () => watcher.close() };
  }
  const fd = eventFd(kernel);
  registerOomEvent(cgroup, fd);
  const read = new ProgramBuilder();
  read.call('read', [fd, read.space(8), 8], { tolerate: 'all' });
  const clear = read.build();
  const handle = kernel.watch(fd, READABLE, () => {
    kernel.run(clear);
    look();
    for (const ms of LOOK_AGAIN_MS) setTimeout(look, ms).unref();
  });
  return {
    look,
    stop: () => {
      stopped = true;
      handle.close();
      closeSync(fd);
    },
  };
}

/** eventfd(2). */
function eventFd(kernel: Kernel): number {
  const p = new ProgramBuilder();
  const fd = p.slot('eventfd');
  p.step('making an eventfd').call('eventfd2', [0, C.O_CLOEXEC | C.O_NONBLOCK], { out: fd });
  return kernel.run(p.build()).get(fd);
}
