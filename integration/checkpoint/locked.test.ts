/** What was taken from a container is taken from the restored one: its masks, its read-only mounts, the store of its own changes. */
import { chownSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkpointCommandSuite } from '../harness';

const CAPABILITIES = ['CAP_CHOWN', 'CAP_FOWNER', 'CAP_DAC_OVERRIDE', 'CAP_MKNOD'];
/** In a user namespace the kernel's lock holds against this, too; without one it is the right to mount what one likes. */
const OF_NAMESPACE = ['CAP_SYS_ADMIN'];

/** What root of the container tries. */
const ATTACKS = [
  'umount /secret',
  'umount -l /secret/deep',
  'umount /proc/version',
  'umount /mnt/fixed',
  'umount -l /proc',
  'umount /sealed',
  'mount -o remount,bind,rw /sealed',
  'mount -o remount,bind,rw /mnt/fixed',
  'mount -o remount,bind,rw /proc/sys',
  'mount -o remount,bind,dev /',
  'unshare -m busybox umount /secret',
  'mkdir -p /copy && busybox mount --rbind / /copy && busybox umount /copy/secret',
  'mount -o remount,bind,rw /copy/sealed',
];
/** A directory of the root filesystem on the host, which a layer hides. */
const STORES = '.silt.filestores';
/** Where what is covered would show. */
const SHOWN = 'ls /secret; ls /secret/deep; cat /proc/version | busybox wc -c; cat /mnt/plain/covered/file';

for (const userns of ['none', 'auto'] as const) {
  checkpointCommandSuite(`locked after a restore, userns = "${userns}"`, (host) => {
    let bundle: string;
    let restored: string;
    let before: string[];
    const volume = (name: string): string => join(host().directory, `volume-${name}`);
    const silt = (...args: string[]): Promise<string> =>
      host().silt.must([`--userns=${userns}`, '--overlay2=root:self', ...args]);
    const inside = async (script: string): Promise<string> => {
      const result = await host().silt.run(['exec', restored, 'sh', '-c', script]);
      return result.stdout.toString() + result.stderr;
    };

    /** Each mount's place, flags and type; not what only a restored container has. */
    const mounts = async (id: string): Promise<string[]> => {
      const { pid } = JSON.parse(await silt('state', id)) as { pid: number };
      const lines = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').trim().split('\n');
      const kept = lines.map((line) => line.split(' ')).filter((words) => words[4] !== '/dev/gvisor/spec_environ');
      return kept.map((words) => [words[4], words[5], words[words.indexOf('-') + 1]].join(' '));
    };

    beforeAll(async () => {
      for (const name of ['plain', 'fixed', 'owned']) mkdirSync(volume(name));
      for (const name of ['secret/deep', 'sealed', 'mnt']) mkdirSync(join(host().rootfs, name), { recursive: true });
      writeFileSync(join(host().rootfs, 'secret/deep/file'), 'of the image');
      writeFileSync(join(volume('fixed'), 'file'), 'fixed');
      // Changed over: whose a file is inside is not whose it is on the host.
      for (const [name, owner] of Object.entries({ zero: 5, five: 0 })) {
        writeFileSync(join(volume('owned'), name), '');
        chownSync(join(volume('owned'), name), owner, owner);
      }
      mkdirSync(join(volume('plain'), 'covered'));
      writeFileSync(join(volume('plain'), 'covered/file'), 'of the volume');
      const sets = [...CAPABILITIES, ...(userns === 'auto' ? OF_NAMESPACE : [])];
      const bind = (name: string, options: readonly string[], more: object = {}): object => ({
        destination: `/mnt/${name}`,
        type: 'bind',
        source: volume(name),
        options: ['rbind', ...options],
        ...more,
      });
      const ids = [{ containerID: 0, hostID: 5, size: 1 }, { containerID: 5, hostID: 0, size: 1 }]; // prettier-ignore
      bundle = host().bundle(['sleep', '1000'], {
        process: { capabilities: { bounding: sets, effective: sets, permitted: sets } },
        mounts: [
          bind('plain', ['rw']),
          { destination: '/mnt/plain/covered', type: 'tmpfs', source: 'tmpfs', options: ['ro'] },
          bind('fixed', ['ro']),
          bind('owned', ['rw', 'idmap'], { uidMappings: ids, gidMappings: ids }),
        ],
        linux: { maskedPaths: ['/secret', '/proc/version'], readonlyPaths: ['/sealed', '/proc/sys'] },
      });
      const id = host().newId();
      const image = join(host().directory, 'image');
      await silt('run', '--detach', '--bundle', bundle, id);
      before = await mounts(id);
      await silt('checkpoint', '--image-path', image, id);
      await silt('delete', id);
      restored = host().newId();
      await silt('restore', '--detach', '--bundle', bundle, '--image-path', image, restored);
    }, 60_000);

    afterAll(() => silt('delete', '--force', restored));

    test('it has the mounts that it had, with their flags', async () => {
      expect(await mounts(restored)).toEqual(before);
    });

    test('its root uncovers nothing and makes nothing writable', async () => {
      const shown = await inside(SHOWN);
      expect(shown).toMatch(/^0\n/);
      expect(shown.match(/No such file/g)).toHaveLength(2);
      const script = ATTACKS.map((attack) => `(busybox ${attack}) 2>/dev/null && echo "done: ${attack}"`).join('\n');
      expect(await inside(`${script}\ntrue`)).toBe('');
      expect(await inside(SHOWN)).toBe(shown);
      // It may add mounts of its own.
      expect(await mounts(restored)).toEqual(expect.arrayContaining(before));
      const write = (path: string): string => `(echo x > ${path}) 2>/dev/null && echo wrote ${path}`;
      const writes = ['/sealed/x', '/mnt/fixed/x', '/mnt/plain/covered/x', '/proc/sys/net/ipv4/ip_default_ttl'];
      expect(await inside([...writes.map(write), 'true'].join('\n'))).toBe('');
      expect(readdirSync(volume('fixed'))).toEqual(['file']);
    });

    test('the store of its changes is not in sight, and the image is as it was', async () => {
      expect(readdirSync(join(host().rootfs, STORES))).toHaveLength(1);
      expect(await inside(`echo changed > /etc/made; ls -a / | grep ${STORES}; ls /${STORES} 2>/dev/null`)).toBe('');
      // A directory of its own has the name.
      expect(await inside(`mkdir /${STORES} && ls -A /${STORES}`)).toBe('');
      expect(readdirSync(join(host().rootfs, STORES))).toHaveLength(1);
      expect(readdirSync(join(host().rootfs, 'etc'))).toEqual(['passwd']);
    });

    test('a volume with mappings of its own has them', async () => {
      const script =
        'cd /mnt/owned; busybox stat -c %u:%g zero five; echo > made; busybox chown 5:5 made; echo > rooted';
      expect(await inside(script)).toBe('0:0\n5:5\n');
      const owner = (name: string): number => statSync(join(volume('owned'), name)).uid;
      expect([owner('made'), owner('rooted')]).toEqual([0, 5]);
    });
  });
}
