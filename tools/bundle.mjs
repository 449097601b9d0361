/**
 * Bundles with esbuild, one file per process that silt runs, into build/; with --tools the repository's own tools, into
 * build/tools/; with --generators what writes generated code. Entries that do not exist yet are left out.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const checkout = join(import.meta.dirname, '..');

const programs = {
  shim: 'shim/main.ts',
  // What the shim's entry loads once the compile cache is on.
  run: 'shim/run.ts',
  // Loaded by the shim with its first line of log.
  'winston-logger': 'shim/winston-logger.ts',
  // Loaded by the shim with the first client that speaks gRPC.
  'grpc-server': 'shim/grpc-server.ts',
  cli: 'cli/main.ts',
  // What the command's entry loads once the compile cache is on.
  'command-line': 'cli/command-line.ts',
  unpacker: 'sandbox/seed/unpacker-main.ts',
  pager: 'sandbox/pager/main.ts',
};

const tools = {
  'tools/bench': 'integration/bench/main.ts',
  'bench-archiver': 'integration/bench/archiver.ts',
  'tools/demo': 'tools/demo.ts',
  'tools/peers': 'tools/peers.ts',
  'tools/reference': 'tools/reference.ts',
  'tools/run-tests': 'tools/run-tests.ts',
  'tools/tally': 'tools/tally.ts',
  'tools/vm-test': 'tools/vm-test.ts',
};

/** What is built, for `silt --version`; SILT_COMMIT of the environment where there is no git, as in a distribution's build. */
function commit() {
  if (process.env.SILT_COMMIT) return process.env.SILT_COMMIT;
  const git = spawnSync('git', ['describe', '--always', '--dirty', '--abbrev=12'], { cwd: checkout, encoding: 'utf8' });
  return git.status === 0 ? git.stdout.trim() : '';
}

const generators = {
  'tools/generate-baseline': 'oci/seccomp/baseline/generate.ts',
};

/**
 * commander loads node:child_process, for commands that are programs of their own. silt has none, and loading it is a tenth of the
 * time of a short command.
 */
const noSubprograms = {
  name: 'commander without child processes',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:child_process$/ }, ({ importer }) =>
      importer.includes('/node_modules/commander/') ? { path: 'none', namespace: 'no-subprograms' } : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'no-subprograms' }, () => ({ contents: 'module.exports = {};' }));
  },
};

const asked = (flag) => process.argv.includes(flag);
const entries = asked('--tools') ? tools : asked('--generators') ? generators : programs;
const options = {
  absWorkingDir: checkout,
  outdir: 'build',
  bundle: true,
  // Its main file asks for its parts in a way that cannot be followed.
  alias: { 'jsonc-parser': 'jsonc-parser/lib/esm/main.js' },
  format: 'cjs',
  platform: 'node',
  target: 'node24',
  minifySyntax: true,
  // Each start reads it. Names stay: they are in what is told of a failure that nobody has thought of.
  minifyWhitespace: !asked('--tools'),
  // Beside the bundle and not named in it: node reads it only when told to (--enable-source-maps and a comment).
  sourcemap: 'external',
  logLevel: 'warning',
  // Loaded at run time from beside the bundle.
  plugins: [noSubprograms],
  external: [
    '*.node',
    ...(asked('--tools') ? ['tar-fs'] : []),
    './winston-logger',
    './grpc-server',
    './run',
    './command-line',
  ],
  define: { SILT_COMMIT: JSON.stringify(commit()) },
};

for (const [name, path] of Object.entries(entries)) {
  if (!existsSync(join(checkout, path))) continue;
  try {
    await build({ ...options, entryPoints: { [name]: path } });
  } catch {
    // esbuild has said why.
    process.exitCode = 1;
  }
}
