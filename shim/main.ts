/**
 * The shim's entry: loads the rest with the code that V8 has made of it before. What is loaded later still (loggers, gRPC) has Node's
 * compile cache. Both are in silt's root, which only host root can write to.
 */
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { loadCached } from '../sandbox/state/code-cache';
import { siltRoot } from '../sandbox/state/root';

/** By then a server has started its first containers. It may live for months, and be killed. */
const SETTLED_MS = 10_000;

enableCompileCache(join(siltRoot(), 'cache'));
const use = ['serve', 'delete'].find((action) => process.argv.includes(action)) ?? 'other';
const cached = loadCached(join(__dirname, 'run.js'), `shim-${use}`, require);
if (cached) {
  if (use === 'serve') setTimeout(cached.keep, SETTLED_MS, 'done').unref();
  process.on('exit', (status) => {
    if (status === 0) cached.keep('done');
  });
} else {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- an import would be loaded in any case
  require('./run');
}
