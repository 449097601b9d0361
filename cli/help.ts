import { type Command, Help } from 'commander';

/** Shows help in the layout of runc and runsc, whose scripts look for its headings: first the name, headings in capitals. */
export function useGoHelp(command: Command): void {
  command.configureHelp({
    // It stands behind the name.
    commandDescription: () => '',
    styleTitle: (title) => title.toUpperCase(),
    formatHelp: (shown, helper) =>
      `NAME:\n   ${fullName(shown)} - ${shown.description()}\n\n${Help.prototype.formatHelp.call(helper, shown, helper)}`,
  });
}

function fullName(command: Command): string {
  return command.parent ? `${fullName(command.parent)} ${command.name()}` : command.name();
}
