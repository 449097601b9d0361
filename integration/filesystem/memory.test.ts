/** `--overlay2=root:memory`, the default: its size, and who pays for it; and what the host changes in a volume is seen at once. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { containerdSuite, shimPid, siltTest, tarArchive, type Containerd } from '../harness';
import { engineUpper, overlayFlags, seedFlags, snapshot } from './overlay';

const MIB = 1 << 20;

async function shell(host: Containerd, id: string, script: string): Promise<string> {
  const { stdout, stderr } = await host.exec(id, ['sh', '-c', script]);
  return stdout.toString() + stderr;
}

/** What the container's memory cgroup has, in bytes: what `kubectl top` shows, but for the page cache of disks. */
async function charged(host: Containerd, id: string): Promise<number> {
  const metrics = (await host.mustCtr(['tasks', 'metrics', '--format', 'json', id])).stdout.toString();
  const { memory } = JSON.parse(metrics) as { memory: { usage: { usage?: number } | number } };
  return typeof memory.usage === 'number' ? memory.usage : (memory.usage.usage ?? 0);
}

for (const userns of ['none', 'auto'] as const) {
  containerdSuite(
    `overlay2=root:memory, user namespaces ${userns}`,
    { userns, seed: 'copy', onlyPeer: 'system' },
    (host) => {
      siltTest('is full when its size is reached, and says so', async () => {
        const id = await host().startContainer(undefined, { flags: overlayFlags('root:memory,size=8m') });
        expect(await shell(host(), id, 'dd if=/dev/zero of=/big bs=1M count=20')).toContain('No space left');
        expect(await shell(host(), id, 'rm /big; echo again > /small; cat /small')).toBe('again\n');
        await host().remove(id);
      });

      siltTest('is half the memory limit, so that a full one is not the OOM killer', async () => {
        const id = await host().startContainer(undefined, { flags: ['--memory-limit', String(64 * MIB)] });
        expect(await shell(host(), id, 'dd if=/dev/zero of=/big bs=1M count=60')).toContain('No space left');
        const size = Number(await shell(host(), id, 'wc -c < /big'));
        expect(size).toBeGreaterThan(30 * MIB);
        expect(size).toBeLessThanOrEqual(32 * MIB);
        await host().remove(id);
      });

      siltTest('so it is with many files without contents', async () => {
        const id = await host().startContainer(undefined, { flags: ['--memory-limit', String(64 * MIB)] });
        const script =
          'mkdir /many; cd /many; for i in $(seq 1000 1099); do seq ${i}000 ${i}999 | xargs touch || break; done';
        expect(await shell(host(), id, script)).toContain('No space left');
        expect(Number(await shell(host(), id, 'ls /many | wc -l'))).toBeGreaterThan(7000);
        expect(await shell(host(), id, 'rm -r /many; echo again > /small; cat /small')).toBe('again\n');
        await host().remove(id);
      });

      siltTest('what is written is charged to the container, also what its seed wrote', async () => {
        const seed = join(host().seeds, `charged-${userns}.tar`);
        writeFileSync(seed, tarArchive([{ name: './seeded', content: Buffer.alloc(20 * MIB, 'x') }]));
        const id = await host().startContainer(undefined, { flags: seedFlags(seed) });
        const before = await charged(host(), id);
        expect(before).toBeGreaterThan(20 * MIB);
        await shell(host(), id, 'dd if=/dev/zero of=/big bs=1M count=10');
        expect(await charged(host(), id)).toBeGreaterThan(before + 9 * MIB);
        // And not to the shim.
        expect(
          Number(/RssShmem:\s+(\d+)/.exec(readFileSync(`/proc/${shimPid(host(), id)}/status`, 'latin1'))?.[1]),
        ).toBeLessThan(1024);
        await host().remove(id);
      });

      for (const access of ['exclusive', 'shared'])
        siltTest(`with file-access-mounts=${access} a volume’s changes are seen at once, on both sides`, async () => {
          const volume = join(host().directory, `volume-${access}`);
          mkdirSync(volume);
          writeFileSync(join(volume, 'file'), 'one\n');
          const flags = [
            '--mount',
            `type=bind,src=${volume},dst=/volume,options=rbind:rw`,
            '--annotation',
            `dev.gvisor.flag.file-access-mounts=${access}`,
          ];
          const id = await host().startContainer(undefined, { flags });
          expect(await shell(host(), id, 'cat /volume/file; ls /volume/later')).toContain('one\n');
          writeFileSync(join(volume, 'file'), 'two\n');
          writeFileSync(join(volume, 'later'), 'three\n');
          expect(await shell(host(), id, 'cat /volume/file /volume/later; echo four > /volume/file')).toBe(
            'two\nthree\n',
          );
          expect(readFileSync(join(volume, 'file'), 'utf8')).toBe('four\n');
          await host().remove(id);
        });

      for (const access of ['exclusive', 'shared'])
        siltTest(`with file-access=${access} the root under an overlay is the container’s own`, async () => {
          const id = await host().startContainer(undefined, {
            flags: ['--annotation', `dev.gvisor.flag.file-access=${access}`],
          });
          const upper = await engineUpper(host(), id);
          await shell(host(), id, 'echo changed > /etc/motd; rm /lower/to-delete; echo new > /root/new');
          expect(readdirSync(upper)).toEqual([]);
          // What appears there while it runs is not promised to be seen, and does not come over what it has written.
          mkdirSync(join(upper, 'root'));
          writeFileSync(join(upper, 'root/new'), 'of the host\n');
          expect(await shell(host(), id, 'cat /etc/motd /root/new; ls /lower')).toBe('changed\nnew\nkept\nreplaced\n');
          expect((await snapshot(host(), id, `own-${access}.tar`)).names).toEqual(
            ['', 'etc', 'etc/motd', 'lower', 'lower/to-delete', 'root', 'root/new'].sort(),
          );
          await host().remove(id);
        });
    },
  );
}
