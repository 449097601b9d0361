/**
 * The ways of kernels before 6.15, whose overlayfs takes layers by path only: root filesystems, seeds, snapshots and volumes are as with
 * the newer ones. `make vm-test` runs a kernel that has no others.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { containerdSuite, SpecBench, shellSpec, siltTest, tarArchive, taskPid, type Containerd } from '../harness';
import { overlayFlags, seedEntries, seedFlags, snapshot } from './overlay';

async function shell(host: Containerd, id: string, script: string): Promise<string> {
  const { stdout, stderr } = await host.exec(id, ['sh', '-c', script]);
  return stdout.toString() + stderr;
}

const settings = { userns: 'auto', kernelVersion: '6.1', onlyPeer: 'system' } as const;

containerdSuite('on a kernel before 6.15', settings, (host) => {
  siltTest('the layers of an image lie as they should, and what they were made of is out of sight', async () => {
    const id = await host().startContainer();
    const script = [
      'cat /etc/motd; ls /lower/deleted-by-image /lower/replaced 2>&1',
      'grep -c "silt-layers" /proc/self/mountinfo; ls -A /sys/firmware; cat /proc/keys',
      'grep -o "lowerdir=[^ ,]*,upperdir=[^,]*" /proc/mounts; awk \'$5 == "/"\' /proc/self/mountinfo | wc -l',
      "mount -o remount,dev / 2>&1 | grep -c denied; stat -c %u /; awk '{print ($2 > 0)}' /proc/self/uid_map",
    ];
    expect((await shell(host(), id, script.join('; '))).split('\n')).toEqual([
      'second layer',
      'ls: /lower/deleted-by-image: No such file or directory',
      '/lower/replaced:',
      'from-second-layer',
      '0',
      // Names on a tmpfs that is gone: nothing of the host's paths.
      'lowerdir=0:1:2:3,upperdir=uppers/fs',
      '1',
      '1',
      '0',
      '1',
      '',
    ]);
    expect(readFileSync(`/proc/${await taskPid(host(), id)}/mountinfo`, 'utf8')).not.toContain('silt-layers');
    await host().remove(id);
  });

  siltTest('a seed is shared, merged into a snapshot, and that is a seed again', async () => {
    const path = join(host().seeds, 'older.tar');
    writeFileSync(path, tarArchive(seedEntries));
    const first = await host().startContainer(['sleep', '1000'], { flags: seedFlags(path) });
    const second = await host().startContainer(['sleep', '1000'], { flags: seedFlags(path) });
    for (const id of [first, second])
      expect(await shell(host(), id, 'cat /srv/data; stat -c %u:%g /srv/data; ls /lower/replaced; echo y > /y')).toBe(
        'seeded\n1000:2000\nnew\n',
      );
    const taken = await snapshot(host(), second, 'older-again.tar');
    expect(taken.names).toEqual(
      ['', 'etc', 'etc/group', 'lower', 'lower/replaced', 'lower/replaced/new', 'srv', 'srv/data', 'y'].sort(),
    );
    const third = await host().run(['sh', '-c', 'cat /srv/data /y; ls /etc/group'], { flags: seedFlags(taken.path) });
    expect(third.stdout.toString()).toBe('seeded\ny\n');
    for (const id of [first, second]) await host().remove(id);
  });

  siltTest('in every mode a container writes, and volumes are what they are', async () => {
    const volume = join(host().directory, 'volume');
    mkdirSync(volume);
    writeFileSync(join(volume, 'kept'), 'of the host\n');
    const mounts = ['--mount', `type=bind,src=${volume},dst=/volume,options=rbind:rw`].concat([
      '--mount',
      `type=bind,src=${join(volume, 'kept')},dst=/etc/one,options=bind:rw`,
    ]);
    for (const mode of ['root:self', 'none', 'all:memory']) {
      const flags = [...overlayFlags(mode), ...mounts];
      const id = await host().startContainer(['sleep', '1000'], { flags });
      const seen = await shell(host(), id, `cat /etc/motd /etc/one; echo ${mode} > /volume/kept; echo z > /z; cat /z`);
      expect([mode, seen]).toEqual([mode, `second layer\n${mode === 'all:memory' ? 'none' : 'of the host'}\nz\n`]);
      expect((await snapshot(host(), id, `${mode}.tar`)).names).toContain('z');
      await host().remove(id);
      if (mode === 'root:self') writeFileSync(join(volume, 'kept'), 'of the host\n');
    }
    expect(readFileSync(join(volume, 'kept'), 'utf8')).toBe('none\n');
  });

  siltTest('a tmpfs starts with what it covers of the image, and a link of the image is followed', async () => {
    const bench = new SpecBench(host());
    writeFileSync(join(bench.rootfs, 'etc/own'), 'of the image\n');
    const spec = shellSpec('cat /etc/own; echo more > /etc/new; ls /etc', ({ mounts }) => {
      (mounts as object[]).push({ destination: '/etc', type: 'tmpfs', source: 'tmpfs', options: ['tmpcopyup'] });
    });
    expect(await bench.output(spec)).toBe('of the image\nnew\nown\npasswd');
  });
});
