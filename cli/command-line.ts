import { Command, CommanderError } from 'commander';
import { SiltError } from '../errors';
import { TIMED_COMMANDS } from './code-use';
import { registerCheck } from './commands/check';
import { registerCompletion } from './commands/completion';
import { registerCpuFeatures } from './commands/cpu-features';
import { registerCreate } from './commands/create';
import { registerDelete } from './commands/delete';
import { registerDo } from './commands/do';
import { registerEvents } from './commands/events';
import { registerExec } from './commands/exec';
import { registerFeatures } from './commands/features';
import { registerInstall } from './commands/install';
import { registerKill } from './commands/kill';
import { registerList } from './commands/list';
import { registerCheckpoint } from './commands/checkpoint';
import { registerPause } from './commands/pause';
import { registerProgram } from './commands/program';
import { registerPs } from './commands/ps';
import { registerResume } from './commands/resume';
import { registerRun } from './commands/run';
import { registerServeCheckpointFile } from './commands/serve-checkpoint-file';
import { registerSpec } from './commands/spec';
import { registerStart } from './commands/start';
import { registerState } from './commands/state';
import { registerRestore } from './commands/restore';
import { registerTar } from './commands/tar';
import { registerUninstall } from './commands/uninstall';
import { registerUpdate } from './commands/update';
import { registerWait } from './commands/wait';
import { Frame } from './frame';
import { addGlobalFlags, refuseUnsupported } from './global-flags';
import { fromGoFlags, type IgnoredFlag, isHelpFlag } from './go-flags';
import { useGoHelp } from './help';
import { print } from './print';
import { VERSION_TEXT } from './version';

/** Each adds the command of its name (a file of cli/commands is one command); in the order of the help. */
const COMMANDS: Readonly<Record<string, (silt: Command, frame: Frame) => void>> = {
  run: registerRun,
  create: registerCreate,
  start: registerStart,
  exec: registerExec,
  kill: registerKill,
  delete: registerDelete,
  state: registerState,
  list: registerList,
  ps: registerPs,
  events: registerEvents,
  checkpoint: registerCheckpoint,
  restore: registerRestore,
  pause: registerPause,
  resume: registerResume,
  wait: registerWait,
  update: registerUpdate,
  do: registerDo,
  spec: registerSpec,
  tar: registerTar,
  program: registerProgram,
  features: registerFeatures,
  'cpu-features': registerCpuFeatures,
  check: registerCheck,
  install: registerInstall,
  uninstall: registerUninstall,
  completion: registerCompletion,
  'serve-checkpoint-file': registerServeCheckpointFile,
};

/** Exit status of a command that failed: runc's. */
const FAILED = 1;
const FAILED_IN: Readonly<Record<string, number>> = { exec: 255 };

/** The whole command line as commander knows it, for completions and manual pages. */
export function buildCommandLine(): { silt: Command; frame: Frame } {
  const built = beginCommandLine();
  addCommands(built.silt, built.frame);
  settle(built.silt);
  return built;
}

/** What there is before any command's name. */
function beginCommandLine(): { silt: Command; frame: Frame } {
  const silt = new Command('silt')
    .description('pods and containers with root filesystems that start from a tar and can be saved to one')
    .version(VERSION_TEXT, '-v, --version', 'print the version')
    .enablePositionalOptions()
    .showSuggestionAfterError(true);
  addGlobalFlags(silt);
  return { silt, frame: new Frame(silt) };
}

/**
 * Adds the command of that name alone if its time matters, since making all of them takes longer than many a one; else all. What has been added
 * stays.
 */
export function addCommands(silt: Command, frame: Frame, name = ''): void {
  if (silt.commands.length > 0) return;
  const named = TIMED_COMMANDS.includes(name) ? COMMANDS[name] : undefined;
  for (const register of named ? [named] : Object.values(COMMANDS)) register(silt, frame);
}

/** Errors are thrown and said by one place, in every command and its subcommands; help looks alike. */
function settle(command: Command): void {
  useGoHelp(command);
  command.exitOverride().configureOutput({ writeOut: print, outputError: () => undefined });
  for (const child of command.commands) settle(child);
}

/** Runs a command line, all of it: errors are said on standard error and in the log, and the exit status is set. */
export async function runCommandLine(args: readonly string[]): Promise<void> {
  const { silt, frame } = beginCommandLine();
  const needsHelp = args.some(isHelpFlag);
  let ignored: readonly IgnoredFlag[] = [];
  silt.hook('preAction', (_, action) => {
    frame.begin(commandName(action));
    frame.log.debug(`silt ${args.join(' ')}`);
    refuseUnsupported(frame.options, commandName(action));
    for (const { name, value } of ignored) {
      const said = value === undefined ? `--${name}` : `--${name}=${value}`;
      frame.log.debug(`${said} is a flag of another runtime, without a meaning here`);
    }
  });
  try {
    const read = fromGoFlags(args, silt, (word) => addCommands(silt, frame, needsHelp ? undefined : word));
    ignored = read.ignored;
    addCommands(silt, frame);
    settle(silt);
    await silt.parseAsync(read.args, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return;
    if (error instanceof CommanderError && error.code === 'commander.help') {
      process.exitCode = FAILED;
      return;
    }
    say(frame, error);
    process.exitCode = FAILED_IN[args.find((arg) => Object.hasOwn(FAILED_IN, arg)) ?? ''] ?? FAILED;
  }
}

/** `tar rootfs-upper`: the names below `silt`. */
export function commandName(command: Command): string {
  const { parent } = command;
  return parent?.parent ? `${commandName(parent)} ${command.name()}` : command.name();
}

/** One line on standard error, one in the log that engines read the last error from. */
function say(frame: Frame, error: unknown): void {
  let text: string;
  if (error instanceof CommanderError) text = `${error.message.replace(/^error: /, '')} (REQUEST_INVALID)`;
  else if (error instanceof SiltError) text = `${error.message} (${error.code})`;
  else text = error instanceof Error ? error.message : String(error);
  process.stderr.write(`silt: ${text}\n`);
  try {
    frame.log.error(text);
  } catch (unwritable) {
    if (unwritable !== error) process.stderr.write(`silt: ${(unwritable as Error).message}\n`);
  }
}
