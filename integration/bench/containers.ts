/** Starts of containers and execs through containerd, beside runc; with and without a seed. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from '../harness/command';
import { startContainerd, type Containerd } from '../harness/containerd';
import { waitFor } from '../harness/deadline';
import { findPeer } from '../harness/peers';
import { type Contestant, measure, report } from './measure';
import { fieldsOf, mib, processesOf, sharesOf, textOf } from './memory';
import { trees } from './trees';

export interface ContainerSettings {
  readonly cases: readonly string[];
  readonly rounds: number;
  readonly print: (text: string) => void;
}

const SILT = 'io.containerd.silt.v1';
const RUNC = 'io.containerd.runc.v2';
const MANY = 50;
const annotation = 'dev.gvisor.tar.rootfs.upper';

export async function benchContainers({ cases, rounds, print }: ContainerSettings): Promise<void> {
  const peer = await findPeer('system');
  if (!('version' in peer)) throw new Error(peer.reason);
  const host = await startContainerd({ peer, silt: {}, runtime: SILT });
  try {
    if (cases.includes('start')) print(report('ctr run --rm true', await measure(starts(host), rounds)));
    if (cases.includes('exec')) print(await execs(host, rounds));
    if (cases.includes('memory')) print(await podMemory(host));
    if (cases.includes('overlay')) await overlays(host, rounds, print);
    if (cases.includes('seed')) await seeds(host, rounds, print);
  } finally {
    await host.destroy();
  }
}

function run(host: Containerd, runtime: string, flags: readonly string[] = []): () => Promise<void> {
  return async () => {
    const result = await host.run(['true'], { runtime, flags });
    if (result.code !== 0) throw new Error(result.stderr);
  };
}

function starts(host: Containerd): Contestant[] {
  return [
    { name: 'silt', run: run(host, SILT) },
    { name: 'runc', run: run(host, RUNC) },
  ];
}

async function execs(host: Containerd, rounds: number): Promise<string> {
  const contestants: Contestant[] = [];
  for (const [name, runtime] of [['silt', SILT], ['runc', RUNC]] as const) {
    const id = await host.startContainer(['sleep', '100000'], { runtime });
    contestants.push({ name, run: () => host.exec(id, ['true']) });
  } // prettier-ignore
  return report('ctr tasks exec true', await measure(contestants, rounds));
}

/** What containers do with their root filesystems in each overlay mode, and with runc, which writes to the engine's upper. */
async function overlays(host: Containerd, rounds: number, print: (text: string) => void): Promise<void> {
  const directory = join(host.directory, 'filestores');
  mkdirSync(directory);
  const modes = ['root:memory', 'root:self', `root:dir=${directory}`, 'none'];
  const works = [
    ['nothing', 'true'],
    ['4000 small files written and read', 'i=0; while [ $i -lt 4000 ]; do echo $i > /root/$i; i=$((i+1)); done; cat /root/* > /dev/null'],
    ['512 MiB written and read', 'dd if=/dev/zero of=/root/f bs=1M count=512 2> /dev/null; cat /root/f > /dev/null'],
  ] as const; // prettier-ignore
  for (const [what, script] of works) {
    const contestant = (name: string, runtime: string, flags: readonly string[]): Contestant => ({
      name,
      run: async () => {
        const result = await host.run(['sh', '-c', script], { runtime, flags });
        if (result.code !== 0) throw new Error(`${name}: ${result.stderr}`);
      },
    });
    const contestants = modes.map((mode) => contestant(mode.replace(directory, '…'), SILT, ['--annotation', `dev.gvisor.flag.overlay2=${mode}`])); // prettier-ignore
    contestants.push(contestant('runc', RUNC, []));
    print(report(`ctr run --rm, ${what}`, await measure(contestants, rounds)));
  }
}

/** What pods with one sleeping process take: shims, sandboxes and containers, shared pages in proportion (PSS, proc_pid_smaps(5)). */
async function podMemory(host: Containerd): Promise<string> {
  const counts = [1, 10, 30];
  const rows = [`pods of one sleeping process, MiB in all: ${counts.join(', ')} pods\n`];
  for (const [name, runtime] of [['silt', SILT], ['runc', RUNC]] as const) {
    const taken: number[] = [];
    for (const count of counts) {
      const ids: string[] = [];
      for (let i = 0; i < count; i++) ids.push(await host.startContainer(['sleep', '100000'], { runtime }));
      const pids = processesOf(host, name);
      taken.push(sharesOf(pids));
      for (const id of ids) await host.remove(id);
    }
    const further = (taken[2]! - taken[1]!) / (counts[2]! - counts[1]!);
    rows.push(`  ${name.padEnd(14)} ${taken.map((bytes) => mib(bytes).padStart(8)).join('')}   each further pod ${mib(further)}\n`);
  } // prettier-ignore
  return rows.join('');
}

/** A seed of 1 GiB: the first start, later ones, and what fifty containers take. */
async function seeds(host: Containerd, rounds: number, print: (text: string) => void): Promise<void> {
  const tree = join(host.directory, 'tree');
  const seed = join(host.seeds, 'seed.tar');
  mkdirSync(tree);
  trees.find(({ name }) => name === 'T2')!.make(tree);
  await runCommand(['tar', '-C', tree, '-cf', seed, '.']);
  rmSync(tree, { recursive: true });
  const flags = ['--annotation', `${annotation}=${seed}`];
  const fresh = { prepare: () => void spawnSync('touch', [seed]) };
  const first = [
    { name: 'shared, first', ...fresh, run: run(host, SILT, flags) },
    { name: 'copied', prepare: () => host.configureSilt({ seed: 'copy' }), run: async () => { await run(host, SILT, flags)(); host.configureSilt({}); } },
  ]; // prettier-ignore
  print(report('ctr run --rm true with a seed of 1 GiB, not in the cache', await measure(first, Math.min(rounds, 3))));
  const later = [
    { name: 'shared, cached', run: run(host, SILT, flags) },
    { name: 'without a seed', run: run(host, SILT) },
  ];
  print(report('ctr run --rm true with a seed of 1 GiB, in the cache', await measure(later, rounds)));
  const [plain, seeded] = [await memoryOfMany(host, []), await memoryOfMany(host, flags)];
  print(
    `${MANY} containers that have read all of their seed of 1 GiB: ${mib(seeded)} MiB; without a seed ${mib(plain)} MiB\n`,
  );
  print(`  each beyond one without: ${mib((seeded - plain) / MANY)} MiB\n`);
}

/** What all processes of so many containers have: their own memory, and their shares of what is shared, without files of a disk. */
async function memoryOfMany(host: Containerd, flags: readonly string[]): Promise<number> {
  const ids: string[] = [];
  for (let i = 0; i < MANY; i++) {
    ids.push(await host.startContainer(['sh', '-c', 'cat /f* > /dev/null 2>&1; exec sleep 100000'], { flags }));
  }
  const sleeping = (): number => processesOf(host).filter((pid) => textOf(pid, 'comm') === 'sleep\n').length;
  await waitFor('all containers to have read their files', () => sleeping() >= MANY, { timeoutMs: 300_000 });
  const memory = processesOf(host).reduce(
    (sum, pid) => sum + fieldsOf(textOf(pid, 'smaps_rollup'), ['Pss_Anon', 'Pss_Shmem']),
    0,
  );
  for (const id of ids) await host.remove(id);
  return memory;
}
