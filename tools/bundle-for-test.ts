import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync } from 'esbuild';

/** A source file of silt's as plain JavaScript with all that it imports, for a test that needs it in another process or thread. */
export interface Bundle {
  /** The CommonJS file: to be run, or required for what the source file exports. */
  readonly file: string;
  readonly remove: () => void;
}

/** @param source path of the TypeScript file */
export function bundleForTest(source: string): Bundle {
  const directory = mkdtempSync(join(tmpdir(), 'silt-bundle-'));
  const file = join(directory, 'bundle.cjs');
  buildSync({
    entryPoints: [source],
    outfile: file,
    bundle: true,
    format: 'cjs',
    platform: 'node',
    target: 'node24',
    keepNames: true,
    external: ['*.node'],
    logLevel: 'error',
  });
  return { file, remove: () => rmSync(directory, { recursive: true }) };
}
