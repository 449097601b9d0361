import type { Command, Option } from 'commander';
import { SiltError } from '../errors';
import { type CommandFlag, commandFlagsOfOthers, type FlagKind, flagsOfOthers } from './other-runtimes';

/** A flag of another runtime's that was given and means nothing here. */
export interface IgnoredFlag {
  readonly name: string;
  readonly value: string | undefined;
}

/** Commands that are followed by the command line of another program, which is nobody else's to read. */
const followed = new WeakSet<Command>();

/** Says that all from the command's first argument on is another program's: `silt exec ID ls --color`. */
export function passOn(command: Command): Command {
  followed.add(command.passThroughOptions());
  return command;
}

/**
 * Rewrites arguments for commander. Engines call runc and runsc by the rules of Go's flag packages: one dash or two before a long name,
 * `--switch=true` and `--switch=false`, and the global flags of runsc, of which a hundred mean nothing here and are taken out.
 * What is wrong is left to commander to say.
 * @param onWord is told of each word where a command's name may stand, before that is looked up: it may add it
 * @throws SiltError REQUEST_INVALID for a switch's value that is no boolean, and an ignored flag without its value; UNIMPLEMENTED for a flag
 * of another runtime's that asks for what silt cannot do.
 */
export function fromGoFlags(
  args: readonly string[],
  silt: Command,
  onWord?: (word: string) => void,
): { args: string[]; ignored: IgnoredFlag[] } {
  const out: string[] = [];
  const ignored: IgnoredFlag[] = [];
  let command = silt;
  for (let i = 0; i < args.length; i++) {
    const word = args[i]!;
    const flag = /^--?([A-Za-z0-9][^=]*)(?:=(.*))?$/s.exec(word);
    if (!flag) {
      if (command === silt) onWord?.(word);
      const child = command.commands.find((one) => one.name() === word || one.aliases().includes(word));
      if (word === '--' || (!child && followed.has(command))) {
        out.push(...args.slice(i));
        break;
      }
      if (child) command = child;
      // To whom help is asked for what is no command, help for all the others is no answer, nor a success.
      else if (command === silt && args.slice(i).some(isHelpFlag))
        throw new SiltError('REQUEST_INVALID', `No help topic for '${word}'`);
      out.push(word);
      continue;
    }
    const [, name = '', value] = flag;
    const option = findOption(command, name, word.startsWith('--'));
    const other = option ? undefined : flagOfOthers(command, silt, name);
    if (option) {
      const next = args[i + 1];
      const { words, taken } = rewrite(option, value, next);
      out.push(...words);
      i += taken;
    } else if (other) {
      if (other.refused !== undefined) {
        const message = `--${name} of ${command.name()} is not supported: ${other.refused}`;
        throw new SiltError('UNIMPLEMENTED', message);
      }
      const { given, taken } = valueOfIgnored(name, other.kind, value, args[i + 1]);
      ignored.push({ name, value: given });
      i += taken;
    } else {
      out.push(word);
    }
  }
  return { args: out, ignored };
}

function flagOfOthers(command: Command, silt: Command, name: string): CommandFlag | undefined {
  if (command !== silt) return commandFlagsOfOthers[command.name()]?.[name];
  const kind = flagsOfOthers[name];
  return kind && { kind };
}

/** Whether a word asks for help, wherever it stands. */
export function isHelpFlag(word: string): boolean {
  return word === '-h' || /^--?help$/.test(word);
}

function findOption(command: Command, name: string, twoDashes: boolean): Option | undefined {
  const short = name.length === 1 && !twoDashes;
  return command.options.find((option) => (short ? option.short === `-${name}` : option.long === `--${name}`));
}

/** `taken`: how many of the following words belong to it. */
function rewrite(
  option: Option,
  value: string | undefined,
  next: string | undefined,
): { words: string[]; taken: number } {
  const flag = option.long ?? option.short!;
  if (option.required) {
    if (value !== undefined) return { words: [flag, value], taken: 0 };
    return next === undefined ? { words: [flag], taken: 0 } : { words: [flag, next], taken: 1 };
  }
  if (option.optional) {
    const follows = value === undefined && next !== undefined && option.argChoices?.includes(next);
    const given = value ?? (follows ? next : String(option.presetArg));
    return { words: [`${flag}=${given}`], taken: follows ? 1 : 0 };
  }
  return { words: value === undefined || readBoolean(flag, value) ? [flag] : [], taken: 0 };
}

function valueOfIgnored(
  name: string,
  kind: FlagKind,
  value: string | undefined,
  next: string | undefined,
): { given: string | undefined; taken: number } {
  if (kind === 'switch' || value !== undefined) return { given: value, taken: 0 };
  if (next === undefined) throw new SiltError('REQUEST_INVALID', `option '--${name}' needs a value`);
  return { given: next, taken: 1 };
}

/** As strconv.ParseBool. */
function readBoolean(flag: string, value: string): boolean {
  if (/^(1|t|T|true|TRUE|True)$/.test(value)) return true;
  if (/^(0|f|F|false|FALSE|False)$/.test(value)) return false;
  throw new SiltError('REQUEST_INVALID', `${flag} is true or false, not ${JSON.stringify(value)}`);
}
