import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync } from 'esbuild';

/** Source files of silt's as plain JavaScript with all that they import, for a test that needs them in another process or thread. */
export interface Bundle {
  /** The CommonJS file: to be run, or required for what the source files export. */
  readonly file: string;
  readonly remove: () => void;
}

/** @param sources paths of TypeScript files; the bundle exports what all of them do */
export function bundleForTest(...sources: string[]): Bundle {
  const directory = mkdtempSync(join(tmpdir(), 'silt-bundle-'));
  const file = join(directory, 'bundle.cjs');
  buildSync({
    stdin: { contents: sources.map((path) => `export * from ${JSON.stringify(path)};`).join('\n'), resolveDir: '/' },
    outfile: file,
    bundle: true,
    // As in bundle.mjs.
    alias: { 'jsonc-parser': 'jsonc-parser/lib/esm/main.js' },
    format: 'cjs',
    platform: 'node',
    target: 'node24',
    keepNames: true,
    external: ['*.node'],
    logLevel: 'error',
  });
  return { file, remove: () => rmSync(directory, { recursive: true }) };
}
