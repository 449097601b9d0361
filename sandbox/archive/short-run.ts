/**
 * V8's flags for a process that packs or unpacks and ends: without V8's slowest compiler, and with garbage collected on one
 * thread. Both use threads that the system calls need more (measured with 20,000 files: a sixth less CPU time).
 */
export const SHORT_RUN_FLAGS: readonly string[] = ['--no-turbofan', '--single-threaded-gc'];
/**
 * For packing, which makes few objects: little room for garbage. V8 would take 32 MiB or more for the young ones alone, when depends on
 * how threads take turns.
 */
const LITTLE_GARBAGE = ['--semi-space-growth-factor=1', '--optimize-for-size'];
/** What packing leaves to JavaScript is too little to be worth compiling. */
const LITTLE_CODE = ['--no-maglev'];

/** Sets them in a process that was started without, before it packs. */
export function expectShortRun(): void {
  const { setFlagsFromString } = process.getBuiltinModule('node:v8');
  for (const flag of [...SHORT_RUN_FLAGS, ...LITTLE_GARBAGE, ...LITTLE_CODE]) setFlagsFromString(flag);
}
