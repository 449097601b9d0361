import type { CommandInfo, OptionInfo } from './model';

/** A manual page: `silt.1`, `silt-tar-rootfs-upper.1`. */
export interface ManualPage {
  readonly file: string;
  readonly text: string;
}

/** man(7) pages, one per command. @param version for the foot of the page */
export function manualPages(commands: readonly CommandInfo[], version: string): ManualPage[] {
  return commands.map((command) => {
    const name = nameOf(command.words);
    return { file: `${name}.1`, text: page(name, command, version) };
  });
}

function nameOf(words: readonly string[]): string {
  return ['silt', ...words].join('-');
}

function page(name: string, command: CommandInfo, version: string): string {
  const { words, description, options, children } = command;
  const call = ['silt', ...words].join(' ');
  const usage = [
    ...(words.length === 0 ? ['[global options]', 'command'] : []),
    ...(options.length > 1 ? ['[options]'] : []),
    ...command.arguments.map(({ usage: text }) => text),
  ];
  const lines = [
    `.TH ${escape(name.toUpperCase())} 1 "" "silt ${version}" "silt"`,
    '.SH NAME',
    `${escape(name)} \\- ${escape(description)}`,
    '.SH SYNOPSIS',
    `.B ${escape(call)}`,
    escape(usage.join(' ')),
    ...(command.arguments.some((one) => one.description !== '') ? ['.SH ARGUMENTS'] : []),
    ...command.arguments
      .filter((one) => one.description !== '')
      .flatMap((one) => ['.TP', `.I ${escape(one.usage)}`, escape(one.description)]),
    '.SH OPTIONS',
    ...options.flatMap(option),
    ...(children.length > 0 ? ['.SH COMMANDS'] : []),
    ...children.flatMap((child) => {
      const page = nameOf([...words, child.name]);
      return ['.TP', `.BR ${escape(page)} (1)`, escape(child.description)];
    }),
    '.SH EXIT STATUS',
    'That of the process for commands that run one in the foreground; otherwise 0, or 1 after an error,',
    'which is one line on standard error with a stable code at its end.',
    '.SH SEE ALSO',
    ...(words.length === 0 ? ['.BR runc (8),', '.BR containerd (8)'] : ['.BR silt (1)']),
  ];
  return `${lines.join('\n')}\n`;
}

function option({ short, long, value, description, choices, fallback }: OptionInfo): string[] {
  const flags = [...(short ? [short] : []), long].map((flag) => `\\fB${escape(flag)}\\fR`).join(', ');
  const notes = [
    ...(choices.length > 0 ? [`one of ${choices.join(', ')}`] : []),
    ...(fallback === undefined ? [] : [`default ${fallback}`]),
  ];
  const text = notes.length > 0 ? `${description} (${notes.join('; ')})` : description;
  return ['.TP', `${flags}${value === undefined ? '' : ` \\fI${escape(value)}\\fR`}`, escape(text)];
}

/** Text for roff: dashes that can be copied, and no line that begins a request. */
function escape(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('’', '\\(cq')
    .replaceAll('…', '...')
    .replace(/^([.'])/, '\\&$1');
}
