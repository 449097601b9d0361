import {
  CgroupV1Metrics,
  CgroupV2Metrics,
  goZeroTime,
  packAny,
  RuncProcessDetails,
  type TaskAnswer,
  TaskStatus,
  timestampOf,
} from '../proto';
import { cgroups } from '../sandbox';
import type { InitTask, Task, TaskProcess } from './task';

/** What State answers of a process of a task. */
export function stateOf(task: Task, one: TaskProcess, execId: string): TaskAnswer<'State'> {
  const { init } = task;
  const { exit, stdio } = one;
  const { stdin, stdout, stderr, terminal } = stdio.request;
  return {
    id: init.id,
    execId,
    bundle: init.container.request.bundle,
    pid: one.process?.pid ?? 0,
    status: one === init ? initStatus(task) : execStatus(one),
    stdin,
    stdout,
    stderr,
    terminal,
    exitStatus: exit?.status ?? 0,
    exitedAt: exit ? timestampOf(exit.at) : goZeroTime,
  };
}

function initStatus({ init, freezer }: Task): number {
  const { status } = init.container;
  if (status !== 'stopped' && freezer.paused) return TaskStatus.PAUSED;
  return { created: TaskStatus.CREATED, running: TaskStatus.RUNNING, stopped: TaskStatus.STOPPED }[status];
}

function execStatus({ process, exit }: TaskProcess): number {
  if (exit) return TaskStatus.STOPPED;
  return process ? TaskStatus.RUNNING : TaskStatus.CREATED;
}

/** What Pids answers: every process of the container, and which of them are execs. */
export function pidsOf({ execs, container }: InitTask): TaskAnswer<'Pids'> {
  const known = new Map([...execs.values()].map((exec) => [exec.process?.pid, exec.id]));
  const processes = cgroups.listPids(container.cgroup).map((pid) => {
    const execId = known.get(pid);
    return execId === undefined ? { pid } : { pid, info: packAny(RuncProcessDetails, { execId }) };
  });
  return { processes };
}

/** The figures of a cgroup, as containerd has them for its version. */
export function packMetrics(cgroup: Parameters<typeof cgroups.readMetrics>[0]): ReturnType<typeof packAny> {
  const metrics = cgroups.readMetrics(cgroup);
  return metrics.version === 2 ? packAny(CgroupV2Metrics, metrics) : packAny(CgroupV1Metrics, metrics);
}
