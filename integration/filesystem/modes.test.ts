/** In every overlay mode a container starts from a seed, shared or copied, and its snapshot is what another one starts from. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { containerdSuite, describeTree, readTar, siltTest, tarArchive, type Containerd } from '../harness';
import { overlayFlags, seedEntries, seedFlags, snapshot } from './overlay';

const MODES = ['root:memory', 'all:memory', 'root:self', 'all:self', 'root:dir=', 'all:dir=', 'none'];

/** A change of each kind to what the seed has and what the image has, and new things; and to a volume. */
const change = [
  'echo changed >> /srv/data; rm /etc/motd; echo more > /lower/replaced/more; rm -r /lower/kept /lower/to-delete',
  'mkdir /opt; echo made > /opt/made; chown 7:8 /opt/made; chmod 2751 /opt/made; ln /opt/made /srv/same; ln -s nowhere /opt/link',
  'touch -d @1234567890 /opt/made /srv/data /srv /opt; echo of-volume > /volume/file',
].join('; ');

const look = [
  'cat /srv/data /lower/replaced/* /opt/made',
  'stat -c "%u:%g %a %h %Y" /srv/data /opt/made; stat -c "%u:%g %a %Y" /srv /opt; readlink /opt/link; [ /opt/made -ef /srv/same ] && echo same',
  'ls -A /lower /srv; ls /etc/group /etc/motd 2>&1',
].join('; ');

const seen = [
  ...['seeded', 'changed', 'more', 'only this is here', 'made'],
  ...['1000:2000 640 1 1234567890', '7:8 2751 2 1234567890', '0:0 755 1234567890', '0:0 755 1234567890'],
  ...['nowhere', 'same', '/lower:', 'replaced', '', '/srv:', 'data', 'same'],
  ...['group', 'motd'].map((name) => `ls: /etc/${name}: No such file or directory`),
].map((line) => `${line}\n`);

async function shell(host: Containerd, id: string, script: string): Promise<string> {
  const { stdout, stderr } = await host.exec(id, ['sh', '-c', script]);
  return stdout.toString() + stderr;
}

for (const userns of ['none', 'auto'] as const) {
  containerdSuite(`overlay modes, user namespaces ${userns}`, { userns, onlyPeer: 'system' }, (host) => {
    /** The same changes give the same archive, whatever the upper lies on. */
    let expected: object | undefined;
    let volume: string;
    let filestores: string;
    beforeAll(() => {
      [volume, filestores] = [join(host().directory, 'volume'), join(host().directory, 'filestores')];
      for (const path of [volume, filestores]) mkdirSync(path);
    });

    afterEach(() => rmSync(join(volume, 'file'), { force: true }));

    for (const mode of MODES)
      for (const how of ['share', 'copy'] as const)
        siltTest(`${mode}: a seed (${how}), changes, a snapshot, and a start from that`, async () => {
          host().configureSilt({ userns, seed: how });
          const flags = [
            ...overlayFlags(mode.endsWith('dir=') ? `${mode}${filestores},size=64m` : mode),
            ...['--mount', `type=bind,src=${volume},dst=/volume,options=rbind:rw`],
          ];
          const seed = join(host().seeds, 'seed.tar');
          writeFileSync(seed, tarArchive(seedEntries));
          const first = await host().startContainer(undefined, { flags: [...flags, ...seedFlags(seed)] });
          expect(await shell(host(), first, change)).toBe('');
          expect(await shell(host(), first, look)).toBe(seen.join(''));
          const one = await snapshot(host(), first, 'one.tar');
          // The container's own files, and those of a volume that has an overlay, reach nobody else.
          expect(readdirSync(volume)).toEqual(mode.startsWith('all') ? [] : ['file']);
          expect(readdirSync(filestores)).toEqual([]);
          const second = await host().startContainer(undefined, { flags: [...flags, ...seedFlags(one.path)] });
          expect(await shell(host(), second, look)).toBe(seen.join(''));
          const two = await snapshot(host(), second, 'two.tar');
          const [before, after] = [one, two].map(({ path }) => describeTree(readTar(readFileSync(path))));
          expect(after).toEqual(before);
          const timeless = after!.map((line) => line.replace(/"mtime":"(\d+)[^"]*"/, (all, seconds) => (Number(seconds) < 1_750_000_000 ? all : 'now'))); // prettier-ignore
          expect(timeless).toEqual((expected ??= timeless));
          for (const id of [first, second]) await host().remove(id);
        });
  });
}
