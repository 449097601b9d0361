import type { CommandInfo, OptionInfo } from './model';

/** A completion for zsh, to be found as _silt on its fpath. */
export function zshCompletion(commands: readonly CommandInfo[]): string {
  return `#compdef silt
# Made from silt's command definitions.

_silt_containers() {
  local -a ids
  ids=(\${(f)"$(silt list -q 2>/dev/null)"})
  _describe container ids
}

${commands.map(commandFunction).join('\n')}
_silt "$@"
`;
}

function commandFunction(command: CommandInfo): string {
  const name = functionName(command.words);
  const specs = command.options.flatMap(optionSpecs);
  if (command.children.length > 0) {
    const children = command.children.map((child) => `    ${quote(`${child.name}:${child.description}`)}`);
    const calls = command.children.map(
      (child) => `      ${child.name}) ${functionName([...command.words, child.name])} ;;`,
    );
    return `${name}() {
  local state line
  local -a commands
  commands=(
${children.join('\n')}
  )
  _arguments -C \\
${specs.map((spec) => `    ${spec} \\\n`).join('')}    '1: :->command' '*:: :->arguments'
  case $state in
    command) _describe command commands ;;
    arguments)
      case $line[1] in
${calls.map((call) => `  ${call}`).join('\n')}
      esac ;;
  esac
}
`;
  }
  const positional = command.arguments.map(({ isContainer }, i) => {
    const action = isContainer ? '_silt_containers' : '_files';
    return quote(i === 0 ? `1: :${action}` : '*: :_files');
  });
  return `${name}() {\n  _arguments \\\n${[...specs, ...positional].map((spec) => `    ${spec}`).join(' \\\n')}\n}\n`;
}

function functionName(words: readonly string[]): string {
  return ['_silt', ...words].join('_').replaceAll('-', '_');
}

function optionSpecs({ short, long, description, value, choices }: OptionInfo): string[] {
  const text = `[${description.replaceAll(/[[\]]/g, '\\$&').replaceAll(':', '\\:')}]`;
  const action = choices.length > 0 ? `:value:(${choices.join(' ')})` : ':value:_files';
  const rest = value === undefined ? '' : value.startsWith('[') ? `:${action}` : action;
  return [long, ...(short ? [short] : [])].map((flag) => quote(`${flag}${text}${rest}`));
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
