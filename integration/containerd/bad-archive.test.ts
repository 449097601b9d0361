/** Seeds that must be refused: one clear error that names the entry or the file, nothing left behind, nothing touched outside. */
import { existsSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { containerdSuite, mustRun, siltTest, tarArchive, tarEntry, taskStatus, type TarEntry } from '../harness';

const good: TarEntry[] = [
  { name: './', type: 'directory' },
  { name: './good', content: 'loaded before the bad one\n' },
];

/** An archive with good entries first, so that what was begun must be undone. */
function withBad(...bad: TarEntry[]): Buffer {
  return tarArchive([...good, ...bad]);
}

const whole = tarArchive([...good, { name: './body', content: Buffer.alloc(100_000, 'b') }]);
const bodyHeaderAt = good.reduce((at, entry) => at + tarEntry(entry).length, 0);

interface BadArchive {
  /** Makes the file at this path. */
  readonly make: (path: string) => void | Promise<void>;
  /** What the error must say, beside the path of the file. */
  readonly says: RegExp;
  readonly flags?: readonly string[];
}

function bytes(content: Buffer): BadArchive['make'] {
  return (path) => writeFileSync(path, content);
}

const cases: Record<string, BadArchive> = {
  'that is missing': { make: () => undefined, says: /no such file|ENOENT/i },
  'that is a directory': {
    make: (path) => {
      mkdirSync(path);
    },
    says: /directory|not a regular file/i,
  },
  'that is a fifo': {
    make: async (path) => {
      await mustRun(['mkfifo', path]);
    },
    says: /fifo|pipe|not a regular file/i,
  },
  'that is a symlink': {
    make: (path) => {
      writeFileSync(`${path}.target`, tarArchive(good));
      symlinkSync(`${path}.target`, path);
    },
    says: /symlink|symbolic link|ELOOP|not a regular file/i,
  },
  'that is empty': { make: bytes(Buffer.alloc(0)), says: /empty|ends|truncated|cut/i },
  'that is no archive': { make: bytes(Buffer.alloc(4096, 'not a tar ')), says: /checksum|not a tar|header/i },
  'cut short in a header': {
    make: bytes(whole.subarray(0, bodyHeaderAt + 100)),
    says: new RegExp(`\\b${bodyHeaderAt}\\b`),
  },
  'cut short in a body': { make: bytes(whole.subarray(0, bodyHeaderAt + 512 + 5000)), says: /body/ },
  'with a wrong checksum': { make: bytes(withBad({ name: './wrong', badChecksum: true })), says: /checksum/i },
  'with a name that climbs out': { make: bytes(withBad({ name: '../escaped', content: 'x' })), says: /\.\.\/escaped/ },
  'with a name that climbs out midway': {
    make: bytes(withBad({ name: './a/../../escaped', content: 'x' })),
    says: /\.\.\/\.\.\/escaped/,
  },
  'with an absolute name': { make: bytes(withBad({ name: '/escaped', content: 'x' })), says: /\/escaped/ },
  'with a file behind a symlink': {
    make: bytes(withBad({ name: './a', type: 'symlink', linkname: '/etc' }, { name: './a/passwd', content: 'x' })),
    says: /a\/passwd/,
  },
  'with a hard link to a name outside': {
    make: bytes(withBad({ name: './link', type: 'hardlink', linkname: '../../etc/passwd' })),
    says: /link/,
  },
  'with a hard link to an absolute name': {
    make: bytes(withBad({ name: './link', type: 'hardlink', linkname: '/etc/passwd' })),
    says: /link/,
  },
  'with a hard link whose target never comes': {
    make: bytes(withBad({ name: './link', type: 'hardlink', linkname: './never' })),
    says: /never/,
  },
  'with a device node': {
    make: bytes(withBad({ name: './disk', type: 'block', device: { major: 254, minor: 0 } })),
    says: /disk/,
  },
  'with the size of 1 TiB in a header': {
    make: bytes(withBad({ name: './huge', content: 'x', claimedSize: 2 ** 40 })),
    says: /huge/,
  },
  'that holds a file of 1 TiB': {
    // A sparse file: the archive really is as big as it says.
    make: (path) => {
      const head = Buffer.concat([...good.map(tarEntry), tarEntry({ name: './huge', claimedSize: 2 ** 40 })]);
      writeFileSync(path, head);
      truncateSync(path, head.length + 2 ** 40 + 1024);
    },
    says: /huge/,
    flags: ['--memory-limit', String(128 << 20)],
  },
  'bigger than the upper': {
    make: bytes(withBad({ name: './too-big', content: Buffer.alloc(80 << 20, 'x') })),
    says: /too-big|space/i,
    flags: ['--memory-limit', String(64 << 20)],
  },
  'that is a broken gzip': {
    make: bytes(Buffer.from('1f8b0800000000000003ffffffffffffffff', 'hex')),
    says: /gzip|compress|inflate|invalid|data/i,
  },
};

// A shared seed takes nothing of the upper: only a copy can be too big for it.
containerdSuite('seeds that are refused', { seed: 'copy' }, (host) => {
  let outside = '';
  beforeAll(() => {
    outside = readFileSync('/etc/passwd', 'utf8');
  });

  const names = Object.keys(cases);
  for (const name of names) {
    siltTest(`a seed ${name}`, async () => {
      const { make, says, flags = [] } = cases[name]!;
      const path = join(host().seeds, `bad-${names.indexOf(name)}.tar`);
      await make(path);
      const id = host().newId();
      const words = host().runWords(id, ['true'], {
        flags: ['--annotation', `dev.gvisor.tar.rootfs.upper=${path}`, ...flags],
      });
      const result = await host().ctr(words, { timeoutMs: 30_000 });
      expect(result.code).toBe(1);
      expect(result.stderr).toContain(path);
      expect(result.stderr).toMatch(says);
      expect(await taskStatus(host(), id)).toBeUndefined();
      await host().ctr(['containers', 'delete', id]);
    });
  }

  test('nothing outside has changed, and a good container still starts', async () => {
    expect(readFileSync('/etc/passwd', 'utf8')).toBe(outside);
    expect(['/escaped', join(host().directory, 'escaped'), '/good'].filter((path) => existsSync(path))).toEqual([]);
    expect((await host().run(['echo', 'fine'])).stdout.toString()).toBe('fine\n');
  });
});
