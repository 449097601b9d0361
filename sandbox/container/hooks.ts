import { closeSync, readFileSync } from 'node:fs';
import { SiltError } from '../../errors';
import type { Hook, Hooks as HookLists, Spec } from '../../oci';
import { C, type Kernel, type Program } from '../../syscall';
import { openRootOf } from '../exec/container-root';
import { Process, pidOf } from '../process/process';
import { NO_CGROUP } from '../programs/cgroup-entry';
import { enterProgram, type EnterPlan } from '../programs/enter';
import { HOOK_EXEC_STEP, hookProgram, type HookPlan } from '../programs/hook';
import { LOOKUP_STEP } from '../programs/process';
import { awaitReports } from '../process/started';

export type HookKind = keyof HookLists;

/** What hooks are told of their container, besides its process and status. */
export interface HookSubject {
  readonly id: string;
  readonly bundle: string;
  readonly spec: Pick<Spec, 'ociVersion' | 'hooks' | 'annotations'>;
}

/** The container's first process as hooks are given it: `pidfd` is borrowed. */
export interface HookedProcess {
  readonly pid: number;
  readonly pidfd: number;
}

/** A container whose root is being built. */
export interface HookedCreation {
  /** The first process. */
  readonly init: Pick<Process, 'pid' | 'fd'>;
  /** The pid that hooks outside of the container are given: that one's, or of what stands in for it. */
  readonly pid: number;
  /** An fd of the mount namespace where the root is built, borrowed. */
  readonly mount: number;
}

/** How to enter a container that is being built. */
export type HookPlace = Pick<HookPlan, 'namespaces' | 'cgroup' | 'cwd'>;

type Status = 'creating' | 'created' | 'running' | 'stopped';

/** Everything that a hook prints is kept in memory until it ends; an error shows this much of the end. */
const SHOWN_OUTPUT = 4096;

/**
 * The hooks of a container (OCI runtime spec, config, "POSIX-platform Hooks"), one method for each point of its life. They can
 * be called from different processes, as create, start and delete of a command line are.
 *
 * Hooks run in the order of their list and get the container's state on stdin; the first that fails ends the row. A hook
 * without `env` gets the environment of silt, in the runtime's namespaces, or of the container's process, in startContainer,
 * as runc has it.
 */
export class Hooks {
  /** @param around what waits for a hook, for who waits under the pod's lock: see waitingForHook */
  constructor(
    private readonly kernel: Kernel,
    private readonly subject: HookSubject,
    private readonly around = <T>(wait: () => Promise<T>): Promise<T> => wait(),
  ) {}

  /** Whether there is any hook that runs while the root filesystem is built and the host's is still there. */
  get beforePivot(): boolean {
    return this.#has('prestart') || this.#has('createRuntime') || this.#has('createContainer');
  }

  /**
   * prestart and createRuntime in the runtime's namespaces, then createContainer in those of the container, its mount namespace
   * being the one in which the root filesystem is built.
   * @param place how to enter the container's namespaces
   * @param givenUp aborted when the creation has failed meanwhile: the hook that runs is killed, and no further one is run
   * @throws SiltError HOOK_FAILED
   */
  async create({ init, pid, mount }: HookedCreation, place: HookPlace, givenUp?: AbortSignal): Promise<void> {
    for (const kind of ['prestart', 'createRuntime'] as const) {
      const state = this.#state('creating', pid);
      await this.#each(kind, (hook) => ({ program: outside(hook), state, givenUp }));
    }
    await this.#each('createContainer', (hook) => ({
      givenUp,
      program: hookProgram({ ...command(hook, []), ...place }),
      state: this.#state('creating', pidInside(init.pid)),
      container: init.fd,
      mount,
    }));
  }

  /**
   * startContainer, as the container's process would run.
   * @param enter how; few containers have such a hook, and making the plan for nothing is a part of every start
   * @throws SiltError HOOK_FAILED
   */
  async start(init: HookedProcess, enter: () => EnterPlan): Promise<void> {
    if (!this.#has('startContainer')) return;
    const place = enter();
    await this.#each('startContainer', (hook) => {
      const { path, argv, env } = command(hook, place.process.env);
      // A filter that asks somebody would need a listener of the hook's own; runc's hooks have none either.
      const asks = ((place.process.seccomp?.flags ?? 0) & C.SECCOMP_FILTER_FLAG_NEW_LISTENER) !== 0;
      const seccomp = asks ? undefined : place.process.seccomp;
      const process = { ...place.process, seccomp, argv, env, candidates: [path], terminal: false };
      return {
        // By itself: a container that may have no second process has its hooks all the same.
        program: enterProgram({ ...place, process }, 'process'),
        state: this.#state('created', pidInside(init.pid)),
        container: init.pidfd,
        chroot: place.chroot,
      };
    });
  }

  /** poststart. @throws SiltError HOOK_FAILED: the container has to be ended. */
  async started(pid: number): Promise<void> {
    await this.#outside('poststart', this.#state('running', pid));
  }

  /** poststop. One that fails is told to `warn`, and the next runs. */
  async deleted(warn: (message: string) => void): Promise<void> {
    for (const [i, hook] of this.#list('poststop').entries()) {
      try {
        await this.#run('poststop', i, hook, { program: outside(hook), state: this.#state('stopped', undefined) });
      } catch (error) {
        warn((error as Error).message);
      }
    }
  }

  #has(kind: HookKind): boolean {
    return this.#list(kind).length > 0;
  }

  #list(kind: HookKind): readonly Hook[] {
    return this.subject.spec.hooks?.[kind] ?? [];
  }

  /** State as of runtime.md, "State". */
  #state(status: Status, pid: number | undefined): string {
    const { id, bundle, spec } = this.subject;
    const { ociVersion, annotations } = spec;
    return JSON.stringify({ ociVersion, id, status, pid, bundle, annotations });
  }

  async #outside(kind: HookKind, state: string): Promise<void> {
    await this.#each(kind, (hook) => ({ program: outside(hook), state }));
  }

  async #each(kind: HookKind, runOf: (hook: Hook) => HookRun): Promise<void> {
    for (const [i, hook] of this.#list(kind).entries()) await this.#run(kind, i, hook, runOf(hook));
  }

  async #run(kind: HookKind, i: number, hook: Hook, run: HookRun): Promise<void> {
    const failed = await this.around(() => runHook(this.kernel, hook, run));
    if (failed === undefined) return;
    // The first words are runc's, which people look for.
    const message = `error running ${kind} hook #${i}: ${hook.path} ${failed}`;
    throw new SiltError('HOOK_FAILED', message, { id: this.subject.id, path: hook.path });
  }
}

interface HookRun {
  readonly program: Program;
  /** What the hook reads from stdin. */
  readonly state: string;
  /** For programs that enter the container; borrowed. */
  readonly container?: number;
  /** The mount namespace that they enter, if that is not the container's; borrowed. */
  readonly mount?: number;
  /** It is given that one's root, too. */
  readonly chroot?: boolean;
  /** See {@link Hooks.create}. */
  readonly givenUp?: AbortSignal | undefined;
}

function command(hook: Hook, environment: readonly string[]): Pick<HookPlan, 'path' | 'argv' | 'env'> {
  const argv = hook.args && hook.args.length > 0 ? hook.args : [hook.path];
  return { path: hook.path, argv, env: hook.env ?? environment };
}

function outside(hook: Hook): Program {
  const environment = Object.entries(process.env).map(([name, value]) => `${name}=${value}`);
  return hookProgram({ ...command(hook, environment), namespaces: [], cgroup: NO_CGROUP, cwd: undefined });
}

/** Runs a hook to its end. Returns what was wrong, undefined when nothing was. */
async function runHook(kernel: Kernel, hook: Hook, run: HookRun): Promise<string | undefined> {
  const files: number[] = [];
  const keep = (fd: number): number => {
    files.push(fd);
    return fd;
  };
  try {
    const stdin = keep(kernel.memfd('silt-hook-state', Buffer.from(run.state)));
    const stdout = keep(kernel.scratch('silt-hook-stdout'));
    const stderr = keep(kernel.scratch('silt-hook-stderr'));
    const donations: Record<string, number> = { stdin, stdout, stderr };
    if (run.container !== undefined) donations['container'] = run.container;
    if (run.mount !== undefined) donations['mount'] = run.mount;
    if (run.chroot) donations['root'] = keep(openRootOf(run.container!));
    if (run.givenUp?.aborted) return GIVEN_UP;
    const ended = await finish(kernel, run.program, donations, hook.timeout, run.givenUp);
    if (ended === undefined) return undefined;
    const printed = [
      ['stdout', stdout],
      ['stderr', stderr],
    ] as const;
    return [ended, ...printed.flatMap(([name, fd]) => shownOutput(name, fd))].join('; ');
  } catch (error) {
    if (error instanceof SiltError && error.code === 'SYSCALL_FAILED') return `cannot be run: ${reasonOf(error)}`;
    throw error;
  } finally {
    for (const fd of files) closeSync(fd);
  }
}

/** Why a hook failed that is nobody's concern any more. */
const GIVEN_UP = 'was given up with its container';

/** Starts the program, waits for its process, the timeout or that it is given up, and says how it ended when it was not well. */
async function finish(
  kernel: Kernel,
  program: Program,
  donations: Readonly<Record<string, number>>,
  timeoutS: number | undefined,
  givenUp: AbortSignal | undefined,
): Promise<string | undefined> {
  const started = kernel.start(program, donations);
  let hooked: Process | undefined;
  const onReport = ({ name, fds }: { name: string; fds: readonly number[] }): boolean => {
    if (name === 'process') hooked = new Process(kernel, pidOf(fds[0]!), fds[0]!);
    return name === 'process';
  };
  const kill = (): void => {
    if (!hooked || hooked.exit) return;
    // The session's group first, so that what the hook started does not go on; it is the hook's own only after its setsid.
    kernel.signalGroup(hooked.pid, C.SIGKILL);
    kernel.signal(hooked.fd, C.SIGKILL);
  };
  const timeout = { passed: false };
  let timer: NodeJS.Timeout | undefined;
  givenUp?.addEventListener('abort', kill);
  try {
    await awaitReports(kernel, started, ['process', 'ready'], { what: 'running a hook', onReport, abort: kill });
    // There may have been nothing to kill at that moment.
    if (givenUp?.aborted) kill();
    if (timeoutS !== undefined) {
      timer = setTimeout(() => {
        timeout.passed = true;
        kill();
      }, timeoutS * 1000);
    }
    // The end of the socket is that of exec.
    await started.reports.next();
    const { status, signaled } = await hooked!.exited;
    if (givenUp?.aborted) return GIVEN_UP;
    if (timeout.passed) return `ran past its timeout of ${timeoutS} s and was killed`;
    // SIGSYS in the words of strsignal(3): the hook made a call that the container's seccomp filter kills for.
    if (signaled) return `was ended by signal ${status - 128}${status - 128 === C.SIGSYS ? ' (bad system call)' : ''}`;
    return status === 0 ? undefined : `ended with exit status ${status}`;
  } catch (error) {
    await hooked?.exited;
    throw error;
  } finally {
    clearTimeout(timer);
    givenUp?.removeEventListener('abort', kill);
    started.reports.close();
  }
}

function shownOutput(name: string, fd: number): string[] {
  const text = readFileSync(`/proc/self/fd/${fd}`, 'utf8').trim();
  return text === '' ? [] : [`${name}: ${text.slice(-SHOWN_OUTPUT)}`];
}

function reasonOf({ message, details }: SiltError): string {
  if (!message.startsWith(HOOK_EXEC_STEP) && !message.startsWith(LOOKUP_STEP)) return message;
  const words: Readonly<Record<string, string>> = {
    ENOENT: 'no such file or directory',
    EACCES: 'permission denied',
    ENOEXEC: 'exec format error',
  };
  return words[details.errno ?? ''] ?? details.errno ?? message;
}

/** The pid of a process as its own, innermost pid namespace has it (proc(5), `NSpid`). */
function pidInside(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, 'latin1');
  const pids = /^NSpid:\s*(.*)$/m.exec(text)?.[1]?.split(/\s+/) ?? [];
  return Number(pids.at(-1) ?? pid);
}
