/** The entry of `silt`: turns on V8's compile cache and loads the rest, of which compiling would be half of a short command. */
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { siltRoot } from '../sandbox/state/root';

// Only host root's cache is trusted, and only host root has one.
if (process.getuid?.() === 0) enableCompileCache(join(siltRoot(), 'cache'));
// eslint-disable-next-line @typescript-eslint/no-require-imports -- an import would be compiled before the cache is on
const { runCommandLine } = require('./command-line') as typeof import('./command-line');
/** Settles when the command has run; it never rejects. */
export const finished = runCommandLine(process.argv.slice(2));
// What a failed command has still open (a pod's processes, CRIU's socket) would keep this one from ending.
if (require.main === module) void finished.then(() => process.exitCode === undefined || process.exit());
