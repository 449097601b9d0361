/** Packing and unpacking trees, beside GNU tar, bsdtar, tar-fs, and a plain copy of the files. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { NODE_OPTIONS } from '../../sandbox/seed/unpacker';
import { checkout } from '../harness/checkout';
import { type Contestant, measure, report } from './measure';
import { type Tree, trees } from './trees';

export interface ArchiveSettings {
  /** Names of trees; those that are to be measured. */
  readonly only: readonly string[];
  readonly rounds: number;
  /** A directory for the trees, and one for the archives. */
  readonly directory: string;
  readonly print: (text: string) => void;
}

const archiver = join(checkout, 'build/bench-archiver.js');

export async function benchArchives({ only, rounds, directory, print }: ArchiveSettings): Promise<void> {
  for (const tree of trees.filter(({ name }) => only.includes(name))) {
    const places = {
      from: join(directory, 'from'),
      to: join(directory, 'to'),
      archive: join(directory, 'archive.tar'),
      cache: join(directory, 'cache'),
    };
    mkdirSync(places.from);
    tree.make(places.from);
    const memory = new Map<string, number>();
    const packs = await measure(packers(tree, places, memory), rounds);
    print(report(`pack ${tree.name}: ${tree.description}`, packs));
    for (const words of archivers(tree)) words.pack(places);
    const unpacks = await measure(unpackers(tree, places, memory), rounds);
    print(report(`unpack ${tree.name}: ${tree.description}`, unpacks));
    const sizes = archivers(tree).map(({ name }) => `${name} ${mib(statSync(archiveOf(places, name)).size)}`);
    print(`  archives in MiB: ${sizes.join(', ')}\n`);
    print(`  most memory in MiB: ${[...memory].map(([name, kib]) => `${name} ${mib(kib * 1024)}`).join(', ')}\n`);
    rmSync(directory, { recursive: true });
    mkdirSync(directory);
  }
}

const mib = (bytes: number): string => (bytes / (1 << 20)).toFixed(1);

interface Places {
  readonly from: string;
  readonly to: string;
  readonly archive: string;
  /** Where Node keeps what it has compiled. */
  readonly cache: string;
}

interface Archiver {
  readonly name: string;
  /** @returns its standard output. */
  readonly pack: (places: Places) => string;
  readonly unpack: (places: Places) => string;
}

const archiveOf = (places: Places, name: string): string => `${places.archive}.${name.replaceAll(' ', '-')}`;

function run(argv: readonly string[], environment: NodeJS.ProcessEnv = {}): string {
  const [file = '', ...args] = argv;
  const env = { ...process.env, ...environment };
  return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], env });
}

function archivers(tree: Tree): Archiver[] {
  const sparse = tree.name === 'T4';
  const make = (name: string, pack: (p: Places) => string[], unpack: (p: Places) => string[]): Archiver => ({
    name,
    // As the command line has its code compiled already (cli/main.ts). An unpacker has not.
    pack: (places) => run(pack({ ...places, archive: archiveOf(places, name) }), { NODE_COMPILE_CACHE: places.cache }),
    unpack: (places) => run(unpack({ ...places, archive: archiveOf(places, name) })),
  });
  const node = (who: string): Archiver => make(
    who,
    ({ from, archive }) => [process.execPath, archiver, who, 'pack', from, archive],
    ({ to, archive }) => [process.execPath, ...(who === 'silt' ? NODE_OPTIONS : []), archiver, who, 'unpack', to, archive],
  ); // prettier-ignore
  const gnu = make(
    'GNU tar',
    ({ from, archive }) => ['tar', '--xattrs', ...(sparse ? ['--sparse', '--format=pax'] : []), '-C', from, '-cf', archive, '.'],
    ({ to, archive }) => ['tar', '--xattrs', '--xattrs-include=*', '-C', to, '-xpf', archive],
  ); // prettier-ignore
  const bsd = make(
    'bsdtar',
    ({ from, archive }) => ['bsdtar', '--format=pax', '--xattrs', '-C', from, '-cf', archive, '.'],
    ({ to, archive }) => ['bsdtar', '--xattrs', '-C', to, '-xpf', archive],
  ); // prettier-ignore
  // tar-fs would write out the holes, all 10 GiB of them.
  return [node('silt'), gnu, ...(hasBsdtar() ? [bsd] : []), ...(sparse ? [] : [node('tar-fs')])];
}

function hasBsdtar(): boolean {
  return (process.env['PATH'] ?? '').split(':').some((path) => existsSync(join(path, 'bsdtar')));
}

function packers(tree: Tree, places: Places, memory: Map<string, number>): Contestant[] {
  const copy: Contestant = {
    name: 'copy of the bytes',
    prepare: () => rmSync(places.archive, { force: true }),
    run: () => void run(['sh', '-c', 'find "$0" -type f -exec cat {} + > "$1"', places.from, places.archive]),
  };
  const list = archivers(tree).map((one): Contestant => ({
    name: one.name,
    prepare: () => rmSync(archiveOf(places, one.name), { force: true }),
    run: () => note(memory, `pack ${one.name}`, one.pack(places)),
  }));
  return tree.name === 'T2' ? [...list, copy] : list;
}

function unpackers(tree: Tree, places: Places, memory: Map<string, number>): Contestant[] {
  const prepare = (): void => {
    rmSync(places.to, { recursive: true, force: true });
    mkdirSync(places.to);
  };
  const list = archivers(tree).map((one): Contestant => ({ name: one.name, prepare, run: () => note(memory, `unpack ${one.name}`, one.unpack(places)) })); // prettier-ignore
  const words = ['cp', '-a', '--reflink=never', `${places.from}/.`, places.to];
  return [...list, { name: 'cp -a', prepare, run: () => void run(words) }];
}

/** Keeps the most memory that a run has told of. */
function note(memory: Map<string, number>, name: string, printed: string): void {
  const kib = Number(printed);
  if (kib > 0) memory.set(name, Math.max(memory.get(name) ?? 0, kib));
}
