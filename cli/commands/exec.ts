import { type Command, InvalidArgumentError, Option } from 'commander';
import { readFileSync } from 'node:fs';
import { SiltError } from '../../errors';
import type { Process, Spec } from '../../oci';
import type { Frame } from '../frame';
import { passOn } from '../go-flags';
import { addPassedFdFlags, type PassedFdFlags } from '../passed-fds';

interface ExecOptions extends PassedFdFlags {
  readonly consoleSocket?: string;
  readonly cwd?: string;
  readonly env: readonly string[];
  readonly tty: boolean;
  readonly user?: { readonly uid: number; readonly gid?: number };
  readonly additionalGids: readonly number[];
  readonly process?: string;
  readonly detach: boolean;
  readonly pidFile?: string;
  readonly pidfdSocket?: string;
  readonly internalPidFile?: string;
  readonly processLabel?: string;
  readonly apparmor?: string;
  readonly newPrivs: boolean;
  readonly cap: readonly string[];
  readonly cgroup: readonly string[];
  readonly ignorePaused: boolean;
}

export function registerExec(silt: Command, frame: Frame): void {
  const exec = silt
    .command('exec')
    .description('run a further process in a container')
    .argument('<container-id>', 'the container')
    .argument('[command...]', 'the program and its arguments; not with --process')
    .option('--console-socket <path>', 'a unix socket that the master of the process’s terminal is sent to')
    .option('--cwd <directory>', 'working directory, in the container')
    .addOption(
      new Option('-e, --env <entry>', 'NAME=VALUE, in addition to the container’s').argParser(collect).default([]),
    )
    .option('-t, --tty', 'with a terminal', false)
    .option('-u, --user <uid[:gid]>', 'as this user', readUser)
    .addOption(new Option('-g, --additional-gids <gid>', 'a further group').argParser(collectId).default([]))
    .option('-p, --process <file>', 'the process as JSON: the spec’s process object')
    .option('-d, --detach', 'return when the process has been started', false)
    .option('--pid-file <path>', 'a file that the pid of the process is written to')
    .option('--pidfd-socket <path>', 'a unix socket that the pidfd of the process is sent to')
    .option('--internal-pid-file <path>', 'a file that the pid is written to as the container numbers it')
    .option('--process-label <label>', 'SELinux label')
    .option('--apparmor <profile>', 'AppArmor profile')
    .option('--no-new-privs', 'set no_new_privs')
    .addOption(new Option('-c, --cap <name>', 'a further capability').argParser(collect).default([]))
    .addOption(
      new Option('--cgroup <path>', 'a cgroup beneath the container’s; on v1 also controllers:path, several times')
        .argParser(collect)
        .default([]),
    )
    .option('--ignore-paused', 'in a paused container too: the process waits until it is resumed', false);
  passOn(addPassedFdFlags(exec, 'the process')).action((id: string, command: string[], options: ExecOptions) =>
    run(frame, id, command, options),
  );
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

function collectId(value: string, before: readonly number[]): number[] {
  return [...before, readId(value)];
}

function readId(text: string): number {
  if (!/^\d{1,10}$/.test(text) || Number(text) >= 0xffff_ffff) throw new InvalidArgumentError('It is no id.');
  return Number(text);
}

function readUser(text: string): { uid: number; gid?: number } {
  const [uid = '', gid, ...more] = text.split(':');
  if (more.length > 0) throw new InvalidArgumentError('It is UID or UID:GID.');
  return { uid: readId(uid), ...(gid === undefined ? {} : { gid: readId(gid) }) };
}

async function run(frame: Frame, id: string, command: readonly string[], options: ExecOptions): Promise<void> {
  const { openWorkshop } = await import('../workshop');
  const { RecordedContainer, sendPidfd } = await import('../../sandbox');
  const { ownSize, Streams } = await import('../streams');
  const { passSignalsOn } = await import('../foreground');
  const { writePidFile } = await import('../pid-file');
  const { passedFds } = await import('../passed-fds');
  const { donated } = await import('../create-from-bundle');
  const passed = passedFds(options);
  const workshop = openWorkshop(frame);
  const { kernel } = workshop;
  const container = RecordedContainer.find(workshop, id);
  const process_ = await wantedProcess(container.spec, command, options);
  const streams = new Streams(kernel, {
    terminal: process_.terminal ?? false,
    detach: options.detach || options.consoleSocket !== undefined,
    consoleSocket: options.consoleSocket,
    size: process_.consoleSize && { rows: process_.consoleSize.height, columns: process_.consoleSize.width },
  });
  // Said beforehand: the process does not wait until somebody sets the size of its terminal.
  const own = process_.terminal ? ownSize(kernel) : undefined;
  const sized = own ? { ...process_, consoleSize: { height: own.rows, width: own.columns } } : process_;
  const exec = container.addExec(sized, {
    ignorePaused: options.ignorePaused,
    lifetime: options.detach ? 'of-its-own' : 'with-caller',
    extras: { passFds: passed.map(({ guest }) => guest), cgroups: options.cgroup },
  });
  const process = await exec.start({ ...streams.stdio, ...donated(passed) }, streams.onTerminal);
  try {
    writePidFile(options.pidFile, process.pid);
    if (options.pidfdSocket !== undefined) sendPidfd(kernel, options.pidfdSocket, process.fd);
    if (options.internalPidFile !== undefined) writePidFile(options.internalPidFile, innermostPid(process.pid));
  } catch (error) {
    if (!process.exit) kernel.signal(process.fd, 9);
    throw error;
  }
  if (options.detach) leave(0);
  streams.connect();
  passSignalsOn((signal) => process.exit === undefined && kernel.signal(process.fd, signal));
  const { status } = await process.exited;
  await streams.finish();
  leave(status);
}

/** A process's pid as its own pid namespace numbers it (proc_pid_status(5), NSpid). */
function innermostPid(pid: number): number {
  return Number(/^NSpid:.*?(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]);
}

function leave(status: number): never {
  process.exit(status);
}

/** The process that the flags describe: that of a file, or the container's own with what the flags change. */
async function wantedProcess(spec: Spec, command: readonly string[], options: ExecOptions): Promise<Process> {
  const { parseProcess } = await import('../../oci');
  if (options.process !== undefined) {
    if (command.length > 0) throw new SiltError('REQUEST_INVALID', 'exec: give a command or --process, not both');
    let text: string;
    try {
      text = readFileSync(options.process, 'utf8');
    } catch (error) {
      const message = `cannot read the process ${options.process}: ${(error as Error).message}`;
      throw new SiltError('REQUEST_INVALID', message, { path: options.process }, { cause: error });
    }
    return parseProcess(text, options.process);
  }
  if (command.length === 0) throw new SiltError('REQUEST_INVALID', 'exec: process args cannot be empty');
  return parseProcess(
    JSON.stringify(changedProcess(spec.process!, command, options)),
    'the process of the command line',
  );
}

function changedProcess(own: Process, args: readonly string[], options: ExecOptions): Process {
  const { capabilities } = own;
  const added = options.cap;
  const sets = ['bounding', 'effective', 'permitted'] as const;
  // Ambient ones have to be inheritable; runc adds where the spec has any such.
  const ambient = capabilities?.inheritable?.length ? { ambient: [...(capabilities.ambient ?? []), ...added] } : {};
  const withAdded = Object.fromEntries(
    sets.map((set) => [set, [...new Set([...(capabilities?.[set] ?? []), ...added])]]),
  );
  return {
    ...own,
    args,
    terminal: options.tty,
    cwd: options.cwd ?? own.cwd,
    env: [...(own.env ?? []), ...options.env],
    ...(added.length > 0 ? { capabilities: { ...capabilities, ...withAdded, ...ambient } } : {}),
    ...(options.newPrivs ? {} : { noNewPrivileges: true }),
    ...(options.apparmor === undefined ? {} : { apparmorProfile: options.apparmor }),
    ...(options.processLabel === undefined ? {} : { selinuxLabel: options.processLabel }),
    user: {
      uid: own.user?.uid ?? 0,
      gid: own.user?.gid ?? 0,
      ...own.user,
      ...options.user,
      additionalGids: [...(own.user?.additionalGids ?? []), ...options.additionalGids],
    },
  };
}
