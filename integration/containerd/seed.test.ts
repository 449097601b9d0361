/** A container's root filesystem that starts from a tar: `ctr run --annotation dev.gvisor.tar.rootfs.upper=PATH`. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import {
  containerdSuite,
  mustRun,
  runtime,
  siltTest,
  tarArchive,
  taskStatus,
  type CommandResult,
  type Containerd,
  type TarEntry,
} from '../harness';

const annotation = 'dev.gvisor.tar.rootfs.upper';
const opaque = { 'SCHILY.xattr.trusted.overlay.opaque': 'y' };

/** What gVisor would write for: a new file, one changed, two deleted, one directory replaced, one made. */
const changes: TarEntry[] = [
  { name: './', type: 'directory' },
  { name: './etc/', type: 'directory' },
  { name: './etc/motd', content: 'from the seed\n' },
  { name: './etc/group', type: 'char', mode: 0, device: { major: 0, minor: 0 } },
  { name: './lower/', type: 'directory' },
  // Every whiteout after the first is a hard link to it, across directories.
  { name: './lower/to-delete', type: 'hardlink', linkname: './etc/group', mode: 0 },
  { name: './lower/replaced/', type: 'directory', pax: opaque, mode: 0o750 },
  { name: './lower/replaced/new', content: 'only this is here\n' },
  { name: './srv/', type: 'directory', pax: opaque },
  { name: './srv/data', content: 'seeded\n', uid: 1000, gid: 2000, mode: 0o640, mtime: 1_234_567_890 },
  { name: './srv/same', type: 'hardlink', linkname: './srv/data' },
  { name: './srv/link', type: 'symlink', linkname: '../etc/motd', mode: 0o777 },
  { name: './srv/pipe', type: 'fifo' },
  { name: './srv/tool', content: '#!/bin/sh\necho tool\n', mode: 0o6755 },
];

/** Runs a shell script in a container that starts from the file. */
function runSeeded(host: Containerd, path: string, script: string, flags: string[] = []): Promise<CommandResult> {
  return host.run(['sh', '-c', script], { flags: ['--annotation', `${annotation}=${path}`, ...flags] });
}

/** Writes an archive to where seeds may lie. */
function writeSeed(host: Containerd, name: string, bytes: Buffer): string {
  const path = join(host.seeds, name);
  writeFileSync(path, bytes);
  return path;
}

containerdSuite('seeds', {}, (host) => {
  siltTest('shows files, deletions and replaced directories as the archive says', async () => {
    const path = writeSeed(host(), 'changes.tar', tarArchive(changes));
    const script = [
      'cat /etc/motd /srv/data /srv/link /lower/replaced/new',
      'ls -1 /lower /lower/replaced',
      'test -e /etc/group || echo no group',
      'stat -c "%u %g %a %Y %h" /srv/data',
      'stat -c "%i" /srv/same /srv/data | uniq | wc -l',
      'stat -c "%a %F" /srv/tool /srv/pipe /lower/replaced',
      '/srv/tool',
    ].join('; ');
    const result = await runSeeded(host(), path, script);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(result.stdout.toString().split('\n')).toEqual([
      'from the seed',
      'seeded',
      'from the seed',
      'only this is here',
      '/lower:',
      'kept',
      'replaced',
      '',
      '/lower/replaced:',
      'new',
      'no group',
      '1000 2000 640 1234567890 2',
      '1',
      '6755 regular file',
      '644 fifo',
      '750 directory',
      'tool',
      '',
    ]);
  });

  for (const how of ['share', 'copy'] as const)
    siltTest(
      `shows nothing of deletions in directories that nobody else has, which go as others do (${how})`,
      async () => {
        host().configureSilt({ seed: how });
        const path = writeSeed(
          host(),
          `nothing-deleted-${how}.tar`,
          tarArchive([
            { name: './', type: 'directory' },
            { name: './srv/', type: 'directory' },
            { name: './srv/new/', type: 'directory' },
            { name: './srv/new/gone', type: 'char', mode: 0, device: { major: 0, minor: 0 } },
            { name: './srv/opaque/', type: 'directory', pax: opaque },
            { name: './srv/opaque/gone', type: 'hardlink', linkname: './srv/new/gone', mode: 0 },
          ]),
        );
        const result = await runSeeded(host(), path, 'ls -AR /srv; rm -r /srv/new /srv/opaque && ls -A /srv');
        expect(result).toMatchObject({ code: 0, stderr: '' });
        expect(result.stdout.toString()).toBe('/srv:\nnew\nopaque\n\n/srv/new:\n\n/srv/opaque:\n');
        host().configureSilt({});
      },
    );

  siltTest('leaves the archive alone, and each container has its own copy', async () => {
    const path = writeSeed(host(), 'shared.tar', tarArchive(changes));
    const change = 'cat /srv/data; echo changed > /srv/data';
    for (let round = 0; round < 2; round++) {
      expect((await runSeeded(host(), path, change)).stdout.toString()).toBe('seeded\n');
    }
    expect((await host().run(['cat', '/etc/motd'])).stdout.toString()).toBe('second layer\n');
  });

  siltTest('loads what GNU tar and gzip write, names without ./ and all', async () => {
    const tree = join(host().seeds, 'tree');
    const long = `deep/${'d'.repeat(120)}/${'e'.repeat(120)}`;
    mkdirSync(join(tree, long), { recursive: true });
    writeFileSync(join(tree, long, 'f'.repeat(255)), 'long names\n');
    const zeros = Buffer.alloc(3_000_000);
    zeros.write('sparse', 2_900_000);
    writeFileSync(join(tree, 'holes'), zeros);
    const script = `cat /${long}/f*; wc -c < /holes; tail -c 100000 /holes | head -c 6`;
    const formats: [string, string[]][] = [
      ['gnu.tar', ['--format=gnu', '--sparse']],
      ['pax.tar', ['--format=pax', '--sparse']],
      ['packed.tar.gz', ['--gzip']],
    ];
    for (const [name, flags] of formats) {
      const path = join(host().seeds, name);
      await mustRun(['tar', ...flags, '--owner=0', '--group=0', '-C', tree, '-cf', path, 'deep', 'holes']);
      const result = await runSeeded(host(), path, script);
      expect({ name, output: result.stdout.toString() + result.stderr }).toEqual({
        name,
        output: 'long names\n3000000\nsparse',
      });
    }
  });

  siltTest('loads a gzip file by its content, whatever its name', async () => {
    const path = writeSeed(host(), 'no-suffix', gzipSync(tarArchive(changes)));
    expect((await runSeeded(host(), path, 'cat /etc/motd')).stdout.toString()).toBe('from the seed\n');
  });

  siltTest('takes names that are not UTF-8 as they are', async () => {
    const name = Buffer.concat([Buffer.from('./srv/'), Buffer.from([0xff, 0xfe, 0x80])]);
    const path = writeSeed(
      host(),
      'bytes.tar',
      tarArchive([...changes, { name, content: 'odd name\n', pax: { path: name } }]),
    );
    expect((await runSeeded(host(), path, "cat /srv/$(printf '\\377\\376\\200')")).stdout.toString()).toBe(
      'odd name\n',
    );
  });

  siltTest('loads many small files', async () => {
    const files = Array.from({ length: 5000 }, (_, index): TarEntry => ({
      name: `./srv/file-${index}`,
      content: `${index}\n`,
    }));
    const path = writeSeed(host(), 'many.tar', tarArchive([{ name: './srv/', type: 'directory' }, ...files]));
    const result = await runSeeded(host(), path, 'ls /srv | wc -l; cat /srv/file-4999');
    expect(result.stdout.toString()).toBe('5000\n4999\n');
  });

  siltTest('is charged to the container, and may be as big as its upper', async () => {
    const path = writeSeed(host(), 'big.tar', tarArchive([{ name: './big', content: Buffer.alloc(20 << 20, 'x') }]));
    const result = await runSeeded(host(), path, 'wc -c < /big', ['--memory-limit', String(128 << 20)]);
    expect(result.stdout.toString()).toBe(`${20 << 20}\n`);
  });

  siltTest('refuses a path outside of the directories that the operator allows', async () => {
    const outside = join(host().directory, 'outside.tar');
    writeFileSync(outside, tarArchive(changes));
    mkdirSync(join(host().seeds, 'inner'), { recursive: true });
    symlinkSync(host().directory, join(host().seeds, 'way-out'));
    for (const path of [
      outside,
      `${host().seeds}/../outside.tar`,
      join(host().seeds, 'way-out', 'outside.tar'),
      'changes.tar',
    ]) {
      const id = host().newId();
      const flags = ['--annotation', `${annotation}=${path}`];
      const result = await host().ctr(host().runWords(id, ['true'], { flags }));
      expect(result.code).toBe(1);
      expect(result.stderr).toContain(path);
      expect(await taskStatus(host(), id)).toBeUndefined();
      await host().ctr(['containers', 'delete', id]);
    }
  });

  siltTest('refuses every seed when the operator has not allowed annotations', async () => {
    const path = writeSeed(host(), 'refused.tar', tarArchive(changes));
    host().configureSilt({ allowSeeds: false });
    try {
      const result = await runSeeded(host(), path, 'true');
      expect(result.code).toBe(1);
      expect(result.stderr).toContain('allow-rootfs-tar-annotation');
    } finally {
      host().configureSilt({});
    }
  });

  siltTest('takes the annotation that names the container in a pod whose annotations reach all', async () => {
    const path = writeSeed(host(), 'named.tar', tarArchive(changes));
    const flags = (name: string): string[] => [
      ...['--annotation', `${annotation}.web=${path}`],
      ...['--annotation', `io.kubernetes.cri.container-name=${name}`],
    ];
    const cat = async (name: string): Promise<string> => {
      return (await host().run(['cat', '/etc/motd'], { flags: flags(name) })).stdout.toString();
    };
    expect(await cat('web')).toBe('from the seed\n');
    expect(await cat('database')).toBe('second layer\n');
  });

  test('containers of this runtime start without the annotation', async () => {
    expect(runtime).not.toBe('');
    expect((await host().run(['cat', '/etc/motd'])).stdout.toString()).toBe('second layer\n');
  });
});
