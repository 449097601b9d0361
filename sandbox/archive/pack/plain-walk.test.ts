/** What a loop in C writes of what is like most: the same comes of it as when TypeScript writes each entry. */
import { closeSync, linkSync, lutimesSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'; // prettier-ignore
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative } from '../../../native';
import { isRoot, makeNode, makeTmpfs, setXattr, type Upper } from '../testing/upper';
import { pack, type PackOptions } from './index';

const native = loadNative();
const withoutLoop: PackOptions['runner'] = {
  ...native,
  plainHeaders: () => 0,
  packPlain: (...[, , , , , , job]) => {
    job[1] = 0;
    return 2;
  },
};

/** Numbers below a limit, from a seed. */
function randomFrom(seed: number): (limit: number) => number {
  let state = seed * 2654435761 + 1;
  return (limit) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

const NAMES = ['a', 'a-', 'b', 'c', 'é', 'n'.repeat(40), 'o'.repeat(90), 'Z'];
const LEFT_OUT = ['security.selinux', 'trusted.overlay.origin', 'trusted.overlay.impure', 'trusted.overlay.other'];

/** A tree of everything, most of it as usual. */
function makeTree(root: string, random: (limit: number) => number): void {
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
  const files: string[] = [];
  const attributes = (path: string): void => {
    if (random(6) > 0) return;
    setXattr(path, pick(LEFT_OUT), Buffer.from('x'));
    if (random(4) === 0) setXattr(path, pick(['trusted.kept', ...LEFT_OUT]), Buffer.from('y'));
  };
  const fill = (directory: string, depth: number): void => {
    for (const name of NAMES) {
      const path = `${directory}/${name}`;
      const kind = random(40);
      if (kind < 14) {
        const size = pick([0, 1, 511, 512, 5000, 65536, 65537, 300_000]);
        writeFileSync(path, Buffer.alloc(size, name), { mode: 0o600 + random(64) });
        if (random(20) === 0) truncateSync(path, size + 100_000);
        files.push(path);
      } else if (kind < 24) {
        mkdirSync(path, random(4) ? 0o755 : 0o1770);
        if (depth < 4 && path.length < 3000) fill(path, depth + 1);
        if (random(12) === 0) setXattr(path, 'trusted.overlay.opaque', Buffer.from('y'));
      } else if (kind < 28) symlinkSync(pick(['a', '../b', 't'.repeat(101), 'é']), path);
      else if (kind === 28 && files.length > 0) linkSync(pick(files), path);
      else if (kind === 29) makeNode(path, 'S_IFIFO', 0o640);
      else if (kind === 30) makeNode(path, 'S_IFSOCK');
      else if (kind < 33) makeNode(path, 'S_IFCHR');
      else continue;
      if (kind >= 29 && kind < 33) continue;
      attributes(path);
      lutimesSync(path, 1_700_000_000, pick([1_700_000_000, 1_700_000_000.5, 8 ** 11]));
    }
  };
  fill(root, 0);
}

(isRoot() ? describe : describe.skip)('a walk through what is like most', () => {
  let directory: string;
  let openFds: string[];
  beforeEach(() => {
    openFds = readdirSync('/proc/self/fd');
    directory = mkdtempSync(join(tmpdir(), 'silt-walk-'));
  });
  afterEach(() => {
    rmSync(directory, { recursive: true });
    expect(readdirSync('/proc/self/fd').filter((fd) => !openFds.includes(fd))).toEqual([]);
  });

  async function packed(upper: Upper, options: Partial<PackOptions>): Promise<{ data: Buffer; entries: number; warnings: string[] }> {
    const outFd = openSync(join(directory, 'packed.tar'), 'w');
    const warnings: string[] = [];
    const onWarning = (message: string): void => void warnings.push(message);
    try {
      const { entries } = await pack({ runner: native, upperFd: upper.fd, outFd, onWarning, ...options });
      return { data: readFileSync(join(directory, 'packed.tar')), entries, warnings };
    } finally {
      closeSync(outFd);
    }
  } // prettier-ignore

  test('random trees, also over a shared layer, give the bytes and warnings that they give without the loop', async () => {
    let written = 0;
    const counting: PackOptions['runner'] = {
      ...native,
      packPlain: (...given) => {
        const end = native.packPlain(...given);
        written += given[6][1]!;
        return end;
      },
    };
    for (let seed = 1; seed <= 24; seed++) {
      const [over, under] = [makeTmpfs(), makeTmpfs()];
      try {
        const random = randomFrom(seed);
        makeTree(over.path, random);
        const isLayered = seed % 2 === 0;
        if (isLayered) makeTree(under.path, random);
        const shared = isLayered ? { fd: under.fd, isInImage: (path: string) => path.length % 3 === 0 } : undefined;
        const expected = await packed(over, { runner: withoutLoop, ...(shared && { shared }) });
        const found = await packed(over, { runner: counting, ...(shared && { shared }) });
        expect([seed, found.entries, found.warnings]).toEqual([seed, expected.entries, expected.warnings]);
        expect([seed, found.data.equals(expected.data)]).toEqual([seed, true]);
      } finally {
        over.close();
        under.close();
      }
    }
    expect(written).toBeGreaterThan(300);
  });

  test('what no archive has of a file does not make it another kind', async () => {
    const upper = makeTmpfs();
    mkdirSync(`${upper.path}/d`);
    writeFileSync(`${upper.path}/d/f`, 'f');
    symlinkSync('f', `${upper.path}/d/l`);
    for (const name of ['d', 'd/f', 'd/l'])
      for (const attribute of LEFT_OUT.slice(0, 3)) setXattr(`${upper.path}/${name}`, attribute, Buffer.from('x'));
    const inspected: number[] = [];
    const counting: PackOptions['runner'] = {
      ...native,
      packPlain: (...given) => {
        const end = native.packPlain(...given);
        inspected.push(given[6][1]!, end);
        return end;
      },
    };
    await packed(upper, { runner: counting });
    upper.close();
    // All three at once, up to the end.
    expect(inspected).toEqual([3, 0]);
  });

  test('directories deeper than it goes, and names longer than its own, are gone through by others', async () => {
    const upper = makeTmpfs();
    const deep = (name: string, depth: number): void => {
      for (let i = 0, path = upper.path; i < depth; i++) {
        path = `${path}/${name}`;
        mkdirSync(path);
        for (const file of ['0', 'z']) writeFileSync(`${path}/${file}`, `${i}`);
      }
    };
    deep('d', 60);
    deep('e'.repeat(30), 6);
    const expected = await packed(upper, { runner: withoutLoop });
    expect((await packed(upper, {})).data.equals(expected.data)).toBe(true);
    expect(expected.entries).toBe(1 + 3 * 66);
    upper.close();
  });

  test('files of every size, also larger than what is sent together, and than what is sent at once', async () => {
    const upper = makeTmpfs();
    const MIB = 1 << 20;
    for (const size of [3, 5, 9, 64, 65]) writeFileSync(`${upper.path}/${size}`, Buffer.alloc(size * MIB, size));
    const expected = await packed(upper, { runner: withoutLoop });
    expect((await packed(upper, {})).data.equals(expected.data)).toBe(true);
    expect(expected.data).toHaveLength(146 * MIB + 6 * 1536 + 1024);
    upper.close();
  });

  test('a walk that is ended leaves no fd open', async () => {
    const upper = makeTmpfs();
    for (let i = 0; i < 3000; i++) {
      if (i % 100 === 0) mkdirSync(`${upper.path}/a/b/c/d${i}`, { recursive: true });
      writeFileSync(`${upper.path}/a/b/c/d${i - (i % 100)}/f${i}`, Buffer.alloc(i % 50 === 0 ? 200_000 : 9));
    }
    const small = makeTmpfs({ size: '1m' });
    const outFd = openSync(`${small.path}/o`, 'w');
    await expect(pack({ runner: native, upperFd: upper.fd, outFd })).rejects.toMatchObject({ code: 'NO_SPACE' });
    closeSync(outFd);
    small.close();
    upper.close();
  });
});
