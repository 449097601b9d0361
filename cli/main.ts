/** The entry of `silt`: loads the rest with the code that V8 has made of it before. Compiling would be a third of a short command. */
import { join } from 'node:path';
import { expectShortRun } from '../sandbox/archive/short-run';
import { loadCached } from '../sandbox/state/code-cache';
import { useOf } from './code-use';

const use = useOf(process.argv.slice(2));
// V8 takes code only under the flags that it was made with, and these are set sooner or later where something is packed.
if (use === 'tar' || use === 'checkpoint') expectShortRun();
const cached = loadCached(join(__dirname, 'command-line.js'), use, require);
// eslint-disable-next-line @typescript-eslint/no-require-imports -- an import would be loaded in any case
const { runCommandLine } = (cached?.exports ?? require('./command-line')) as typeof import('./command-line');
/** Settles when the command has run; it never rejects. */
export const finished = runCommandLine(process.argv.slice(2));
process.on('exit', (status) => {
  cached?.keep(status === 0 ? 'done' : 'failed');
});
// What a failed command has still open (a pod's processes, CRIU's socket) would keep this one from ending.
if (require.main === module) void finished.then(() => process.exitCode === undefined || process.exit());
