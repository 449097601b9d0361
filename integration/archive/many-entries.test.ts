/** The memory of a packing and of an unpacking process does not depend on how many files there are. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NODE_OPTIONS } from '../../sandbox/seed/unpacker';
import { onMachinesContainerd, tarArchive, type TarEntry } from '../harness';
import { checkout } from '../harness/checkout';

const archiver = join(checkout, 'build/bench-archiver.js');
const FEW = 100_000;
const MANY = 1_000_000;
/** About 75 of it were seen, 40 of these the pages of Node's own file. */
const MOST_MIB = 100;
/** What is kept is the names of one directory: of half a million, 16 bytes for each and 8 to sort them. */
const MOST_GROWTH_MIB = 30;
const END = 1024;

/** Half of the files in one directory, the others a thousand to each; every tenth is a hard link. */
function writeArchive(path: string, count: number): void {
  writeFileSync(
    path,
    tarArchive([
      { name: './', type: 'directory' },
      { name: './one/', type: 'directory' },
    ]).subarray(0, -END),
  );
  for (let from = 0; from < count; from += 1000) {
    const directory = from < count / 2 ? './one/' : `./d${from}/`;
    const entries: TarEntry[] = from < count / 2 ? [] : [{ name: directory, type: 'directory' }];
    for (let i = from; i < from + 1000; i++) {
      const linkTarget = `${directory}file-${from}`;
      entries.push(
        i % 10 === 9
          ? { name: `${directory}link-${i}`, type: 'hardlink', linkname: linkTarget }
          : { name: `${directory}file-${i}`, content: '' },
      );
    }
    appendFileSync(path, tarArchive(entries).subarray(0, -END));
  }
  appendFileSync(path, Buffer.alloc(END));
}

/** The most memory that it had, in MiB: of a process with the flags that silt's own has. */
function archive(what: 'pack' | 'unpack', directory: string, path: string): number {
  const flags = what === 'unpack' ? NODE_OPTIONS : [];
  return Number(execFileSync(process.execPath, [...flags, archiver, 'silt', what, directory, path], { encoding: 'utf8' })) / 1024; // prettier-ignore
}

onMachinesContainerd(
  'memory stays below 100 MiB with a million files, and nearly the same as with a tenth of them',
  () => {
    const top = mkdtempSync(join(tmpdir(), 'silt-many-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4g,mode=700', 'silt-many', top]);
    try {
      const measured = [FEW, MANY].map((count) => {
        const [from, to] = [join(top, 'seed.tar'), join(top, `${count}`)];
        writeArchive(from, count);
        mkdirSync(to);
        const unpacked = archive('unpack', to, from);
        rmSync(from);
        expect(existsSync(join(to, 'one/file-0'))).toBe(true);
        const packed = archive('pack', to, join(top, 'snapshot.tar'));
        return { unpacked, packed };
      });
      const [few, many] = measured as [(typeof measured)[0], (typeof measured)[0]];
      expect(Math.max(many.unpacked, many.packed)).toBeLessThan(MOST_MIB);
      expect(many.unpacked - few.unpacked).toBeLessThan(MOST_GROWTH_MIB);
      expect(many.packed - few.packed).toBeLessThan(MOST_GROWTH_MIB);
      return Promise.resolve();
    } finally {
      execFileSync('umount', ['--lazy', top]);
      rmSync(top, { recursive: true });
    }
  },
  900_000,
);
