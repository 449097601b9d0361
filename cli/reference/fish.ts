import type { CommandInfo, OptionInfo } from './model';

/** A completion for fish. */
export function fishCompletion(commands: readonly CommandInfo[]): string {
  const lines = ["# Made from silt's command definitions.", 'complete -c silt -f'];
  for (const command of commands) {
    const when = condition(command);
    for (const { name, description } of command.children)
      lines.push(`complete -c silt -n ${quote(when)} -a ${name} -d ${quote(description)}`);
    for (const option of command.options) lines.push(optionLine(when, option));
    if (command.arguments[0]?.isContainer)
      lines.push(`complete -c silt -n ${quote(when)} -a '(silt list -q 2>/dev/null)'`);
    else if (command.arguments.length > 0) lines.push(`complete -c silt -n ${quote(when)} -F`);
  }
  return `${lines.join('\n')}\n`;
}

function condition({ words, children }: CommandInfo): string {
  if (words.length === 0) return '__fish_use_subcommand';
  const seen = words.map((word) => `__fish_seen_subcommand_from ${word}`);
  const names = children.map(({ name }) => name).join(' ');
  return [...seen, ...(names === '' ? [] : [`not __fish_seen_subcommand_from ${names}`])].join('; and ');
}

function optionLine(when: string, { short, long, description, value, choices }: OptionInfo): string {
  const parts = ['complete -c silt', `-n ${quote(when)}`, `-l ${long.slice(2)}`];
  if (short) parts.push(`-s ${short.slice(1)}`);
  if (choices.length > 0) parts.push(`-x -a ${quote(choices.join(' '))}`);
  else if (value?.startsWith('<')) parts.push('-r -F');
  return [...parts, `-d ${quote(description)}`].join(' ');
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
