/** Containers that start from one archive share a layer that was made of it once. */
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  containerdSuite,
  readTar,
  runCommand,
  siltProgram,
  siltTest,
  tarArchive,
  waitFor,
  type Containerd,
  type ReadEntry,
  type TarEntry,
} from '../harness';

const annotation = 'dev.gvisor.tar.rootfs.upper';
const opaque = { 'SCHILY.xattr.trusted.overlay.opaque': 'y' };

const seed: TarEntry[] = [
  { name: './', type: 'directory', mode: 0o751, mtime: 1_111_111_111 },
  { name: './etc/', type: 'directory' },
  { name: './etc/motd', content: 'from the seed\n' },
  { name: './etc/group', type: 'char', mode: 0, device: { major: 0, minor: 0 } },
  { name: './lower/', type: 'directory' },
  { name: './lower/replaced/', type: 'directory', pax: opaque },
  { name: './lower/replaced/of-seed', content: 'x' },
  { name: './srv/', type: 'directory', pax: opaque },
  { name: './srv/gone', content: 'will be deleted\n' },
  { name: './srv/kept', content: 'kept\n', uid: 1000, gid: 2000, mode: 0o640 },
  { name: './srv/linked', type: 'hardlink', linkname: './srv/kept' },
  { name: './srv/tool', content: '#!/bin/sh\necho tool\n', mode: 0o4755 },
  { name: './srv/directory/', type: 'directory', mode: 0o700 },
  { name: './srv/directory/inner/', type: 'directory' },
  { name: './srv/directory/inner/file', content: 'deep\n' },
];

/** Changes of every kind to what the seed has, what the image has, and what is new. */
const changes = [
  'rm /srv/gone /etc/motd /lower/to-delete',
  'echo more >> /srv/kept',
  'chmod 711 /srv/directory',
  'rm -r /srv/directory/inner && mkdir /srv/directory/inner && echo new > /srv/directory/inner/new',
  'rm -r /lower/replaced && mkdir /lower/replaced && echo r > /lower/replaced/r',
  'mkdir -p /srv/new/new /opt/new && echo 1 > /srv/new/new/1 && echo 2 > /opt/new/2',
  'rm /srv/tool && mkdir /srv/tool',
  'echo group > /etc/group',
  'touch /srv/there && rm /srv/there && mkdir /srv/there && rmdir /srv/there',
  'ln -s kept /srv/symlink && mkfifo /srv/fifo && chown 7:8 /srv/symlink -h',
].join(' && ');

const layersOf = (host: Containerd): string => join(host.directory, 'layers');

function layers(host: Containerd): string[] {
  return readdirSync(layersOf(host)).filter((name) => !name.includes('.'));
}

function writeSeed(host: Containerd, name: string, entries: readonly TarEntry[]): string {
  const path = join(host.seeds, name);
  writeFileSync(path, tarArchive(entries));
  return path;
}

function start(host: Containerd, path: string): Promise<string> {
  return host.startContainer(['sleep', '1000'], { flags: ['--annotation', `${annotation}=${path}`] });
}

async function snapshot(host: Containerd, id: string): Promise<ReadEntry[]> {
  const path = join(host.seeds, `${id}.tar`);
  const words = ['--root', join(host.siltRoot, host.namespace), 'tar', 'rootfs-upper', '--file', path, id];
  const result = await runCommand([siltProgram, ...words], { env: host.environment });
  expect(result).toMatchObject({ code: 0, stderr: '' });
  return readTar(readFileSync(path));
}

/** What an entry is, but for the times of what the changes touched. */
function plain(entries: readonly ReadEntry[]): object[] {
  return entries.map(({ mtime, content, ...rest }) => {
    return { ...rest, content: content.toString(), mtime: Number(mtime) < 1_750_000_000 ? mtime : 'now' };
  });
}

for (const userns of ['none', 'auto'] as const) {
  containerdSuite(`shared seeds, userns ${userns}`, { userns, onlyPeer: 'system' }, (host) => {
    siltTest('are unpacked once, and nobody sees what another changes', async () => {
      const path = writeSeed(host(), 'once.tar', seed);
      const [first, second] = [await start(host(), path), await start(host(), path)];
      const [layer] = layers(host()) as [string];
      expect(layers(host())).toEqual([layer]);
      expect(readdirSync(join(layersOf(host()), layer, 'users'))).toHaveLength(2);
      const look =
        'cat /etc/motd; stat -c "%u %g %a %h" /srv/kept; stat -c "%a %Y" /; /srv/tool; ls -A /lower/replaced; echo changed > /etc/motd';
      for (const id of [first, second]) {
        const result = await host().exec(id, ['sh', '-c', look]);
        expect(result.stdout.toString()).toBe('from the seed\n1000 2000 640 2\n751 1111111111\ntool\nof-seed\n');
      }
      const stored = statSync(join(layersOf(host()), layer, 'fs/srv/kept'));
      expect({ uid: stored.uid, gid: stored.gid }).toEqual({ uid: 1000, gid: 2000 });
      expect(readFileSync(join(layersOf(host()), layer, 'fs/etc/motd'), 'utf8')).toBe('from the seed\n');
      for (const id of [first, second]) await host().remove(id);
      expect(readdirSync(join(layersOf(host()), layer, 'users'))).toEqual([]);
    });

    siltTest('give the same snapshot as a copy does', async () => {
      const path = writeSeed(host(), 'same.tar', seed);
      const taken: Record<string, object[]> = {};
      for (const how of ['share', 'copy'] as const) {
        host().configureSilt({ userns, seed: how });
        const before = layers(host()).length;
        const id = await start(host(), path);
        expect(layers(host()).length - before).toBe(how === 'share' ? 1 : 0);
        taken[`${how} unchanged`] = plain(await snapshot(host(), id));
        expect(await host().exec(id, ['sh', '-c', changes])).toMatchObject({ code: 0, stderr: '' });
        taken[how] = plain(await snapshot(host(), id));
        await host().remove(id);
      }
      host().configureSilt({ userns });
      expect(taken['share unchanged']).toEqual(taken['copy unchanged']);
      // Writing to a file that a lower layer has separates it from its other names: see docs/architecture.md.
      const names = (list: object[]): object[] =>
        list.filter((entry) => !/srv\/(kept|linked)$/.test((entry as ReadEntry).name));
      expect(names(taken['share']!)).toEqual(names(taken['copy']!));
      expect(taken['share']!.length).toBe(taken['copy']!.length);
    });

    siltTest('are made anew when the archive is another, even of the same size', async () => {
      // A time that can be put back exactly.
      const write = (name: string, content: string): string => {
        const path = writeSeed(host(), name, [{ name: './srv/data', content }]);
        utimesSync(path, 1_000_000_000, 1_000_000_000);
        return path;
      };
      const path = write('changing.tar', 'old');
      const show = async (): Promise<string> => {
        const flags = ['--annotation', `${annotation}=${path}`];
        return (await host().run(['cat', '/srv/data'], { flags })).stdout.toString();
      };
      expect(await show()).toBe('old');
      write('changing.tar', 'new');
      expect(await show()).toBe('new');
      expect(await show()).toBe('new');
      // Another file under its name, as mv and rsync leave it, while a container still lies on the old one's layer.
      const old = await start(host(), path);
      renameSync(write('aside.tar', 'mv!'), path);
      expect(await show()).toBe('mv!');
      expect((await host().exec(old, ['cat', '/srv/data'])).stdout.toString()).toBe('new');
      await host().remove(old);
    });
  });
}

containerdSuite(
  'seeds that are known by their contents',
  { more: 'seed-identity = "digest"', onlyPeer: 'system' },
  (host) => {
    siltTest('share a layer under any name and time, and have another when the contents are', async () => {
      const show = async (path: string): Promise<string> => {
        const flags = ['--annotation', `${annotation}=${path}`];
        return (await host().run(['cat', '/srv/data'], { flags })).stdout.toString();
      };
      const write = (name: string, content: string): string =>
        writeSeed(host(), name, [{ name: './srv/data', content }]);
      const path = write('one.tar', 'first');
      expect(await show(path)).toBe('first');
      const [layer] = layers(host());
      expect(layer).toBeDefined();
      expect(await show(write('two.tar', 'first'))).toBe('first');
      utimesSync(path, 5, 5);
      expect(await show(path)).toBe('first');
      expect(layers(host())).toEqual([layer]);
      write('one.tar', 'other');
      utimesSync(path, 5, 5);
      expect(await show(path)).toBe('other');
      expect(layers(host())).toHaveLength(2);
    });
  },
);

containerdSuite('a cache of seeds that is too small', { seedLayersSize: '64k', onlyPeer: 'system' }, (host) => {
  siltTest('drops what was used longest ago, but nothing that is used', async () => {
    const content = Buffer.alloc(25 << 10, 'x');
    const paths = ['a', 'b', 'c'].map((name) =>
      writeSeed(host(), `${name}.tar`, [{ name: './srv/data', content: Buffer.concat([content, Buffer.from(name)]) }]),
    );
    const used = await start(host(), paths[0]!);
    const [layer] = layers(host());
    const flags = (path: string): string[] => ['--annotation', `${annotation}=${path}`];
    for (const path of paths.slice(1))
      expect(await host().run(['tail', '-c', '1', '/srv/data'], { flags: flags(path) })).toMatchObject({ code: 0 });
    expect(layers(host())).toContain(layer);
    await waitFor('the oldest layer to be dropped', () => layers(host()).length <= 2);
    expect((await host().exec(used, ['tail', '-c', '1', '/srv/data'])).stdout.toString()).toBe('a');
    await host().remove(used);
  });

  siltTest('drops them in the order of their last use', async () => {
    const content = Buffer.alloc(25 << 10, 'x');
    const run = async (name: string): Promise<string> => {
      const path = join(host().seeds, `order-${name}.tar`);
      const { code } = await host().run(['true'], { flags: ['--annotation', `${annotation}=${path}`] });
      expect(code).toBe(0);
      return path;
    };
    const names = ['d', 'e', 'f'];
    for (const name of names)
      writeSeed(host(), `order-${name}.tar`, [{ name: './srv/data', content: Buffer.concat([content, Buffer.from(name)]) }]); // prettier-ignore
    /** The last byte of each layer's file; one may be dropped at this moment. */
    const holding = (): string => {
      const found = layers(host()).map((layer) => {
        const path = join(layersOf(host()), layer, 'fs/srv/data');
        try {
          return readFileSync(path, 'utf8').slice(-1);
        } catch {
          return '';
        }
      });
      return found.sort().join('');
    };
    await run('d');
    await run('e');
    // Used again, though made first.
    await run('d');
    await run('f');
    await waitFor('the layer used longest ago to be dropped', () => holding() === 'df', { detail: holding });
  });

  siltTest('copies what it has no room for', async () => {
    const path = writeSeed(host(), 'large.tar', [{ name: './srv/data', content: Buffer.alloc(100 << 10, 'l') }]);
    const result = await host().run(['wc', '-c', '/srv/data'], { flags: ['--annotation', `${annotation}=${path}`] });
    expect(result.stdout.toString()).toBe('102400 /srv/data\n');
    expect(readdirSync(layersOf(host())).filter((name) => name.endsWith('.new'))).toEqual([]);
  });
});

containerdSuite('what a killed maker of a layer left', { onlyPeer: 'system' }, (host) => {
  siltTest('is not served, and is cleared up', async () => {
    const path = writeSeed(host(), 'whole.tar', seed);
    await host().remove(await start(host(), path));
    const [key] = layers(host()) as [string];
    // As if it had been killed: a half-made one without its notes, nobody having it locked.
    const half = join(layersOf(host()), `${'0'.repeat(40)}.new`);
    mkdirSync(join(half, 'fs'), { recursive: true });
    writeFileSync(join(half, 'fs', 'half'), '');
    const other = writeSeed(host(), 'other.tar', [...seed, { name: './srv/other', content: 'other' }]);
    await host().remove(await start(host(), other));
    await waitFor('the half-made layer to be deleted', () =>
      readdirSync(layersOf(host())).every((name) => !name.includes('.')),
    );
    expect(layers(host())).toContain(key);
  });
});
