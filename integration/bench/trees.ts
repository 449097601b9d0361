/** The directory trees that archives are made of and unpacked to. */
import { execFileSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  realpathSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';

export interface Tree {
  readonly name: string;
  readonly description: string;
  /** Makes the tree in an empty directory. */
  readonly make: (directory: string) => void;
}

const MIB = 1 << 20;

export const trees: readonly Tree[] = [
  { name: 'T1', description: '20,000 files of 4 KiB in 200 directories', make: smallFiles },
  { name: 'T2', description: '4 files of 256 MiB', make: largeFiles },
  { name: 'T3', description: "Debian's essential packages and python3", make: debian },
  { name: 'T4', description: 'a sparse file of 10 GiB with 10 MiB of data', make: sparseFile },
];

function smallFiles(directory: string): void {
  const content = randomFillSync(Buffer.alloc(4096));
  for (let d = 0; d < 200; d++) {
    mkdirSync(join(directory, `d${d}`));
    for (let f = 0; f < 100; f++) writeFileSync(join(directory, `d${d}`, `f${f}`), content);
  }
}

function largeFiles(directory: string): void {
  const content = randomFillSync(Buffer.alloc(MIB));
  for (let f = 0; f < 4; f++) {
    const fd = openSync(join(directory, `f${f}`), 'w');
    for (let i = 0; i < 256; i++) writeSync(fd, content);
    closeSync(fd);
  }
}

/** Data in 160 places, far from each other. */
function sparseFile(directory: string): void {
  const content = randomFillSync(Buffer.alloc(MIB / 16));
  const fd = openSync(join(directory, 'sparse'), 'w');
  ftruncateSync(fd, 10 * 1024 * MIB);
  for (let i = 0; i < 160; i++) writeSync(fd, content, 0, content.length, i * 64 * MIB);
  closeSync(fd);
}

/** Copies the files of this machine's own packages: what an unpacked base image with `apt-get install python3` would hold. */
function debian(directory: string): void {
  const files = execFileSync('dpkg-query', ['--listfiles', ...closure('python3')], { encoding: 'utf8', maxBuffer: 64 * MIB }); // prettier-ignore
  // Where they really are: packages still have /lib where a machine has a link to /usr/lib.
  const real = (path: string): string[] =>
    existsSync(dirname(path)) ? [join(realpathSync(dirname(path)), basename(path))] : [];
  const list = [
    ...new Set(
      files
        .split('\n')
        .filter((path) => path.startsWith('/') && path !== '/.')
        .flatMap(real),
    ),
  ];
  // With names that dpkg has diverted or that were deleted since left out.
  const tar = 'tar --ignore-failed-read --no-recursion -C / -cf - -T - 2>/dev/null | tar -C "$0" -xpf -';
  execFileSync('sh', ['-c', tar, directory], { input: list.map((path) => `.${path}`).join('\n') });
}

/** The essential packages, one more, and all that these depend on; of alternatives the one that is installed. */
function closure(extra: string): string[] {
  const format = '${Package}\\t${Essential}\\t${Depends}, ${Pre-Depends}\\n';
  const table = execFileSync('dpkg-query', ['--show', `--showformat=${format}`], { encoding: 'utf8' });
  const packages = new Map(
    table
      .trimEnd()
      .split('\n')
      .map((line) => {
        const [name = '', essential, depends = ''] = line.split('\t');
        return [name, { essential: essential === 'yes', depends: depends.split(/[,|]/).map((text) => text.trim().split(/[ :(]/)[0]!) }]; // prettier-ignore
      }),
  );
  const wanted = new Set([extra, ...[...packages].filter(([, { essential }]) => essential).map(([name]) => name)]);
  for (const name of wanted) for (const other of packages.get(name)?.depends ?? []) if (packages.has(other)) wanted.add(other); // prettier-ignore
  return [...wanted];
}
