import type { Command, Option } from 'commander';

/** A command as completions and manual pages show it. */
export interface CommandInfo {
  /** The words behind `silt`: `tar rootfs-upper`; empty for silt itself. */
  readonly words: readonly string[];
  readonly description: string;
  readonly options: readonly OptionInfo[];
  readonly arguments: readonly ArgumentInfo[];
  /** Names and descriptions of the commands below it. */
  readonly children: readonly { readonly name: string; readonly description: string }[];
}

export interface OptionInfo {
  readonly short: string | undefined;
  readonly long: string;
  readonly description: string;
  /** What follows it, such as `<file>` or `[mode]`; undefined for a switch. */
  readonly value: string | undefined;
  readonly choices: readonly string[];
  readonly fallback: string | undefined;
}

export interface ArgumentInfo {
  /** As in a usage line: `<container-id>`, `[command...]`. */
  readonly usage: string;
  readonly description: string;
  /** It names a container that there is. */
  readonly isContainer: boolean;
}

/** Every command, silt itself first. Commands and options that are hidden are left out. */
export function describeCommands(silt: Command): CommandInfo[] {
  return describe(silt, []);
}

/** These make a container: its id is a new one. */
const MAKERS = ['create', 'run', 'restore'];

function describe(command: Command, words: readonly string[]): CommandInfo[] {
  // Commander keeps `hidden` of a command to itself; one for people has a description.
  const children = command.commands.filter((child) => child.description() !== '');
  const options = command.options.filter(({ hidden }) => !hidden).map((option) => optionInfo(option));
  const help: OptionInfo = {
    short: '-h',
    long: '--help',
    description: 'show help',
    value: undefined,
    choices: [],
    fallback: undefined,
  };
  return [
    {
      words,
      description: command.description(),
      options: [...options, help],
      arguments: command.registeredArguments.map((argument) => {
        const name = `${argument.name()}${argument.variadic ? '...' : ''}`;
        return {
          usage: argument.required ? `<${name}>` : `[${name}]`,
          description: argument.description,
          isContainer: argument.name() === 'container-id' && !MAKERS.includes(command.name()),
        };
      }),
      children: children.map((child) => ({ name: child.name(), description: child.description() })),
    },
    ...children.flatMap((child) => describe(child, [...words, child.name()])),
  ];
}

function optionInfo(option: Option): OptionInfo {
  const fallback: unknown = option.defaultValue;
  return {
    short: option.short,
    long: option.long ?? option.short!,
    description: option.description,
    value: /[<[].*$/.exec(option.flags)?.[0],
    choices: option.argChoices ?? [],
    fallback: typeof fallback === 'string' && !option.isBoolean() ? fallback : undefined,
  };
}
