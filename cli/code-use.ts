/** Commands whose time matters: engines call them, or people wait for them. */
export const TIMED_COMMANDS: readonly string[] = [
  'checkpoint',
  'create',
  'delete',
  'events',
  'exec',
  'kill',
  'list',
  'pause',
  'ps',
  'restore',
  'resume',
  'run',
  'start',
  'state',
  'tar',
  'update',
  'wait',
];

/** Which functions a command line will call, as the name of a cache of code: the command's, or `other`. */
export function useOf(args: readonly string[]): string {
  return args.find((arg) => TIMED_COMMANDS.includes(arg)) ?? 'other';
}
