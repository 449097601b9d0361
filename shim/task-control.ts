import { SiltError } from '../errors';
import type { TaskRequest } from '../proto';
import { cgroups, signalToParked } from '../sandbox';
import { C } from '../syscall';
import type { Task, TaskProcess } from './task';

/** @throws SiltError REQUEST_INVALID for what is no signal. */
export function checkSignal({ id, signal }: TaskRequest<'Kill'>): void {
  if (signal >= 1 && signal <= 64) return;
  throw new SiltError('REQUEST_INVALID', `cannot kill ${id}: ${signal} is no signal; signals are 1 to 64`, { id });
}

/** Sends a signal to a process of a container. @throws SiltError WRONG_STATE for an exec that has not been started. */
export async function killTask(
  task: Task,
  one: TaskProcess,
  { execId, signal, all }: TaskRequest<'Kill'>,
): Promise<void> {
  const { init, freezer } = task;
  if (one !== init) {
    if (!one.process)
      throw new SiltError('WRONG_STATE', `cannot kill exec ${execId}: it has not been started`, { id: execId });
    one.process.signal(signal);
    return;
  }
  if (all) await signalAll(task, signal);
  else init.process.signal(init.container.status === 'created' ? signalToParked(signal) : signal);
  // On cgroup v1 a frozen process dies only once it is thawed; runc thaws it too.
  if (signal === C.SIGKILL && freezer.frozen) await freezer.resume();
}

/** Kills all of a container that has not ended, and its first process too if somebody has moved that out of the container's cgroup. */
export async function killWholeTask(task: Task): Promise<void> {
  const { init } = task;
  try {
    init.process.signal(C.SIGKILL);
  } catch (error) {
    if (!(error instanceof SiltError && error.code === 'PROCESS_NOT_FOUND')) throw error;
  }
  await killTask(task, init, { id: init.id, execId: '', signal: C.SIGKILL, all: true });
}

/** The end of the first process is the end of all: SIGKILL needs no list, except in a pid namespace that is shared. */
async function signalAll({ init, freezer: { keepFrozen } }: Task, signal: number): Promise<void> {
  const { cgroup } = init.container;
  if (signal === C.SIGKILL) await cgroups.killAll(cgroup, { keepFrozen });
  else await cgroups.signalAll(cgroup, signal, keepFrozen);
}

/** @throws SiltError WRONG_STATE for one that has ended. */
export async function pauseTask({ init, freezer }: Task): Promise<void> {
  const { id, container } = init;
  if (container.status === 'stopped')
    throw new SiltError('WRONG_STATE', `cannot pause container ${id}: it is stopped`, { id });
  await freezer.pause();
}

/** @throws SiltError WRONG_STATE for one that is not paused. */
export async function resumeTask({ init: { id }, freezer }: Task): Promise<void> {
  if (!freezer.frozen) throw new SiltError('WRONG_STATE', `cannot resume container ${id}: it is not paused`, { id });
  await freezer.resume();
}

/** A process that joins a frozen cgroup stands still in the middle of its creation, and runs when nobody expects it any more. */
export function refusePaused({ init, freezer }: Task, what: string): void {
  if (freezer.paused && !init.exit) {
    throw new SiltError('WRONG_STATE', `cannot ${what} container ${init.id}: it is paused; resume it first`, {
      id: init.id,
    });
  }
}
