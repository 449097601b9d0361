/**
 * `make bench`: measures silt beside others, in turns within one run.
 *
 *   bench [--rounds=N] [--directory=DIR] [CASE…]
 *
 * Cases: T1 T2 T3 T4 (archives of these trees), run (a container from the command line, beside runc, crun and runsc), start, exec,
 * memory, overlay (through containerd, beside runc), seed (a start with a seed of 1 GiB), pods (50 of Kubernetes' at once, beside runc),
 * checkpoint (beside runc and runsc; parts of it: checkpoint-idle, checkpoint-256, checkpoint-1024, checkpoint-shim). All of them without a
 * case. DIR, by default a tmpfs that is mounted for it, holds trees and archives.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { benchArchives } from './archives';
import { benchCheckpoint, checkpointCases } from './checkpoint';
import { benchCommandLine } from './commands';
import { benchContainers } from './containers';
import { benchPods } from './pods';
import { trees } from './trees';

const containerCases = ['start', 'exec', 'memory', 'overlay', 'seed'];
const cases = [...trees.map(({ name }) => name), 'run', ...containerCases, 'pods', ...checkpointCases];

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { rounds: { type: 'string', default: '11' }, directory: { type: 'string' } },
  });
  const only = positionals.length > 0 ? positionals : cases;
  const unknown = only.filter((name) => !cases.includes(name));
  if (unknown.length > 0) throw new Error(`there is no case ${unknown.join(', ')}; the cases are ${cases.join(', ')}`);
  const rounds = Number(values.rounds);
  const print = (text: string): void => void process.stdout.write(text);
  print(`Linux ${release()}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB; times are medians\n\n`); // prettier-ignore
  if (only.some((name) => containerCases.includes(name))) await benchContainers({ cases: only, rounds, print });
  if (only.includes('run')) await benchCommandLine(rounds, print);
  if (only.includes('pods')) await benchPods(rounds, print);
  const ofCheckpoints = only.filter((name) => checkpointCases.includes(name));
  if (ofCheckpoints.length > 0) await benchCheckpoint({ cases: ofCheckpoints, rounds, print });
  if (!trees.some(({ name }) => only.includes(name))) return;
  await inDirectory(values.directory, (directory) => benchArchives({ only, rounds, directory, print }));
}

/** An empty directory below the one that was given, or a tmpfs. */
async function inDirectory(parent: string | undefined, use: (directory: string) => Promise<void>): Promise<void> {
  const top = mkdtempSync(join(parent ?? tmpdir(), 'silt-bench-'));
  if (parent === undefined) execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16g,mode=700', 'silt-bench', top]);
  const directory = join(top, 'work');
  try {
    mkdirSync(directory);
    await use(directory);
  } finally {
    if (parent === undefined) execFileSync('umount', ['--lazy', top]);
    rmSync(top, { recursive: true });
  }
}

void main();
