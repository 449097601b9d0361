/**
 * The shim's entry: turns on V8's compile cache and loads the rest, of which compiling is a third of the start. The cache is in
 * silt's root, which only host root can write to.
 */
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { siltRoot } from '../sandbox/state/root';

enableCompileCache(join(siltRoot(), 'cache'));
// eslint-disable-next-line @typescript-eslint/no-require-imports -- an import would be compiled before the cache is on
require('./run');
