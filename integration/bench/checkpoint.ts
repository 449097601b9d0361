/** Checkpoint and restore of a container from the command line, beside others with the same CRIU. */
import { copyFileSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkout } from '../harness/checkout';
import { mustRun } from '../harness/command';
import { CommandLine, Runtime } from '../harness/command-line';
import { findCriu } from '../harness/criu';
import { waitFor } from '../harness/deadline';
import { runscBeside } from './commands';
import { report, type Result } from './measure';
import { benchShimRestore } from './shim-restore';

/** The cases of `make bench` that are measured here, `checkpoint` being all of them, with MiB of memory where they have some. */
const SIZES = { 'checkpoint-idle': 0, 'checkpoint-256': 256, 'checkpoint-1024': 1024 } as const;
const SHIM = 'checkpoint-shim';
export const checkpointCases = ['checkpoint', ...Object.keys(SIZES), SHIM];

export interface CheckpointSettings {
  readonly cases: readonly string[];
  readonly rounds: number;
  readonly print: (text: string) => void;
}

/** What is measured of one runtime in one round, in milliseconds; bytes of the image. */
interface Figures {
  readonly standstill: number;
  readonly complete: number;
  readonly restored: number;
  readonly bytes: number;
  /** A copy of the image's largest file, which is the memory. */
  readonly copy: number;
}

const TIMEOUT = { timeoutMs: 120_000 };

export async function benchCheckpoint({ cases, rounds, print }: CheckpointSettings): Promise<void> {
  const criu = findCriu();
  if (!('path' in criu)) {
    print(`checkpoint: skipped, ${criu.reason}\n`);
    return;
  }
  const isAsked = (name: string): boolean => cases.includes('checkpoint') || cases.includes(name);
  const sizes = Object.entries(SIZES).flatMap(([name, mib]) => (isAsked(name) ? [mib] : []));
  if (sizes.length > 0) await benchCommandLine(sizes, { criu: criu.path, rounds, print });
  if (isAsked(SHIM)) await benchShimRestore({ criu: criu.path, rounds, print });
}

async function benchCommandLine(
  sizes: readonly number[],
  { criu, rounds, print }: Omit<CheckpointSettings, 'cases'> & { readonly criu: string },
): Promise<void> {
  const host = new CommandLine();
  try {
    const bin = join(host.directory, 'bin');
    mkdirSync(bin);
    writeFileSync(join(bin, 'criu'), `#!/bin/sh\nexec ${criu} "$@"\n`, { mode: 0o755 });
    host.environment['PATH'] = `${bin}:${process.env['PATH']}`;
    writeFileSync(String(host.environment['SILT_CONFIG']), `criu = "${criu}"\n`);
    const source = join(checkout, 'integration/bench/ticker.c');
    await mustRun(['gcc', '-O2', '-static', source, '-o', join(host.rootfs, 'bin/ticker')]);
    const runtimes = [
      { name: 'silt', runtime: host.silt },
      { name: 'runc', runtime: host.runc },
      background(host, bin),
      ...(await runscBeside(host, print)),
    ];
    for (const mib of sizes) print(await compare(host, runtimes, mib, mib === 0 ? rounds : Math.min(rounds, 5)));
  } finally {
    await host.destroy();
  }
}

interface Contender {
  readonly name: string;
  readonly runtime: Runtime;
  /** Flags of its restore. */
  readonly flags?: readonly string[];
}

/** silt that brings memory when it is used, which takes a pod without a user namespace of its own. */
function background(host: CommandLine, bin: string): Contender {
  const wrapper = join(bin, 'silt-background');
  writeFileSync(wrapper, `#!/bin/sh\nexec ${host.silt.program} --userns=none "$@"\n`, { mode: 0o755 });
  const runtime = new Runtime(wrapper, join(host.directory, 'silt-background'), host.environment);
  return { name: 'silt --background', runtime, flags: ['--background'] };
}

async function compare(
  host: CommandLine,
  contenders: readonly Contender[],
  mib: number,
  rounds: number,
): Promise<string> {
  const what = mib === 0 ? 'an idle process' : `${mib} MiB of memory`;
  const failures: string[] = [];
  let taken = contenders.map((contender) => ({ contender, figures: [] as Figures[] }));
  for (let round = -1; round < rounds; round++) {
    for (const one of taken) {
      const { contender } = one;
      try {
        const figures = await onceOfSome(host, contender, mib);
        if (round >= 0) one.figures.push(figures);
      } catch (error) {
        // silt has to hold; what others cannot do here is said.
        if (contender.name.startsWith('silt')) throw error;
        failures.push(`  ${contender.name} left out: ${(error as Error).message.trim().split('\n')[0]}\n`);
        taken = taken.filter((other) => other !== one);
      }
    }
  }
  const runtimes = taken.map(({ contender }) => contender);
  const all = taken.map(({ figures }) => figures);
  const results = (of: (figures: Figures) => number): Result[] =>
    runtimes.map(({ name }, i) => ({ name, times: all[i]!.map(of) }));
  const sizes = runtimes.map(({ name }, i) => `${name} ${(all[i]![0]!.bytes / (1 << 20)).toFixed(2)}`);
  const copies = [{ name: 'silt', times: all[0]!.map(({ restored }) => restored) }, { name: 'copying the memory', times: all[0]!.map(({ copy }) => copy) }]; // prettier-ignore
  return [
    report(
      `${what}: standing still in checkpoint --leave-running`,
      results(({ standstill }) => standstill),
    ),
    report(
      `${what}: checkpoint --leave-running`,
      results(({ complete }) => complete),
    ),
    report(
      `${what}: from restore to the first instruction`,
      results(({ restored }) => restored),
    ),
    ...(mib === 0 ? [] : [report(`${what}: restoring beside copying it`, copies)]),
    `  images in MiB: ${sizes.join(', ')}\n`,
    ...failures,
  ].join('');
}

/** gVisor's sandbox ends now and then at its first exec: others than silt may try a round again. */
const TRIES = 5;

async function onceOfSome(host: CommandLine, contender: Contender, mib: number): Promise<Figures> {
  for (let left = contender.name.startsWith('silt') ? 1 : TRIES; ; left--) {
    try {
      return await once(host, contender, mib);
    } catch (error) {
      if (left === 1) throw error;
    }
  }
}

/** One round of one contender; whatever fails, it leaves neither container nor image. */
async function once(host: CommandLine, contender: Contender, mib: number): Promise<Figures> {
  const { runtime } = contender;
  const [id, later] = [host.newId(), host.newId()];
  const image = join(host.directory, `image-${id}`);
  try {
    return await measureOnce(host, contender, { mib, id, later, image });
  } finally {
    for (const one of [id, later]) await runtime.run(['delete', '--force', one], TIMEOUT).catch(() => undefined);
    rmSync(image, { recursive: true, force: true });
  }
}

async function measureOnce(
  host: CommandLine,
  { name, runtime, flags = [] }: Contender,
  { mib, id, later, image }: { readonly mib: number; readonly id: string; readonly later: string; readonly image: string }, // prettier-ignore
): Promise<Figures> {
  const bundle = host.bundle(['ticker', `${mib}`]);
  // runc's containers write to their bundle's root filesystem.
  for (const file of ['gap', 'woke']) rmSync(join(host.rootfs, file), { force: true });
  const read = async (of: string, file: string): Promise<number> => {
    const { stdout, stderr } = await runtime.run(['exec', of, 'cat', file], TIMEOUT);
    if (/in state stopped|connection refused/.test(stderr)) throw new Error(`${name} has ended: ${stderr.trim()}`);
    return Number(stdout.toString() || NaN) / 1e6;
  };
  // CRIU, as runc calls it, wants no files of the host there.
  const detached = (args: readonly string[]): Promise<unknown> =>
    mustRun(['sh', '-c', 'exec "$@" < /dev/null > /dev/null 2> /dev/null', 'sh', ...runtime.words(args)], {
      env: host.environment,
      ...TIMEOUT,
    });
  await detached(['run', '--detach', '--bundle', bundle, id]);
  await waitFor(`${name} to run`, async () => Number.isFinite(await read(id, '/gap')), { timeoutMs: 60_000 });
  const start = performance.now();
  await runtime.must(['checkpoint', '--leave-running', '--image-path', image, id], TIMEOUT);
  const complete = performance.now() - start;
  const standstill = await read(id, '/gap');
  const { bytes, largest } = sizeOf(image);
  const copying = performance.now();
  copyFileSync(largest, join(host.directory, 'copy'));
  const copy = performance.now() - copying;
  rmSync(join(host.directory, 'copy'));
  rmSync(image, { recursive: true });
  await runtime.must(['checkpoint', '--image-path', image, id], TIMEOUT);
  await runtime.must(['delete', '--force', id], TIMEOUT);
  const before = Date.now();
  await detached(['restore', '--detach', ...flags, '--bundle', bundle, '--image-path', image, later]);
  const woke = await waitFor(
    `${name} to go on`,
    async () => {
      const at = await read(later, '/woke');
      return at > before ? at : undefined;
    },
    { timeoutMs: 60_000 },
  );
  return { standstill, complete, restored: woke - before, bytes, copy };
}

function sizeOf(directory: string): { bytes: number; largest: string } {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .map((path) => ({ path, size: statSync(path).size }));
  const [first] = files.sort((a, b) => b.size - a.size);
  return { bytes: files.reduce((sum, { size }) => sum + size, 0), largest: first!.path };
}
