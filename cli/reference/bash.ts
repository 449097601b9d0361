import type { CommandInfo } from './model';

/** A completion for bash, of the kind that bash-completion loads by the command's name. */
export function bashCompletion(commands: readonly CommandInfo[]): string {
  const paths = commands.filter(({ words }) => words.length > 0).map(pathOf);
  const withValue = new Set(
    commands.flatMap(({ options }) =>
      options.flatMap(({ short, long, value }) => (value?.startsWith('<') ? [long, ...(short ? [short] : [])] : [])),
    ),
  );
  const chosen = new Map(
    commands.flatMap(({ options }) =>
      options.filter(({ choices }) => choices.length > 0).map(({ long, choices }) => [long, choices.join(' ')]),
    ),
  );
  const cases = commands.map((command) => {
    const names = [...command.children.map(({ name }) => name), ...command.options.map(({ long }) => long)];
    const ids = command.arguments[0]?.isContainer ? '; ids=yes' : '';
    return `    ${JSON.stringify(pathOf(command))}) words="${names.join(' ')}"${ids} ;;`;
  });
  const choices = [...chosen].map(
    ([flag, values]) => `    ${flag}) COMPREPLY=($(compgen -W "${values}" -- "$current")); return ;;`,
  );
  return `# bash completion for silt. Made from its command definitions.
_silt() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} path= words= ids= root= i word
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case $word in
    --root) root=\${COMP_WORDS[i+1]}; i=$((i + 1)); continue ;;
    ${[...withValue].filter((flag) => flag !== '--root').join('|')}) i=$((i + 1)); continue ;;
    esac
    case $path/$word in
    ${paths.join('|')}) path=$path/$word ;;
    esac
  done
  case $previous in
${choices.join('\n')}
    ${[...withValue].filter((flag) => !chosen.has(flag)).join('|')}) return ;;
  esac
  case $path in
${cases.join('\n')}
  esac
  [ -z "$ids" ] || words="$words $(silt \${root:+--root "$root"} list -q 2>/dev/null)"
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _silt silt
`;
}

function pathOf({ words }: CommandInfo): string {
  return words.map((word) => `/${word}`).join('');
}
