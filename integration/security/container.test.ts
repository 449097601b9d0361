/** What an attacker who is root in an ordinary container finds, with the capabilities that engines grant and no user namespace. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { containerdSuite, siltTest, taskPid } from '../harness';

// Without user namespaces, where its root has more of the host.
containerdSuite('an attacker who owns a container', { onlyPeer: 'system', userns: 'none' }, (host) => {
  const attack = async (script: string): Promise<string> => {
    const { stdout, stderr } = await host().run(['sh', '-c', script]);
    return `${stdout.toString()}${stderr}`;
  };

  siltTest('is given three fds, and no process of silt’s is in its sight', async () => {
    const id = await host().startContainer();
    const pid = await taskPid(host(), id);
    expect(readdirSync(`/proc/${pid}/fd`)).toEqual(['0', '1', '2']);
    expect(await attack('ls /proc | grep "^[0-9]" | wc -l; readlink /proc/1/exe')).toMatch(/^[234]\n\/bin\/busybox\n$/);
    await host().remove(id);
  });

  siltTest('has none of the host’s mounts, and its root has nothing above it', async () => {
    const id = await host().startContainer();
    const pid = await taskPid(host(), id);
    const mounts = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').trim().split('\n');
    const places = mounts.map((line) => line.split(' ')[4]);
    expect(places[0]).toBe('/');
    expect(places.filter((place) => !/^\/($|proc|dev|sys|run)/.test(place!))).toEqual([]);
    expect(readlinkSync(`/proc/${pid}/root`)).toBe('/');
    expect(await attack('cd ../../../..; ls -di . /; ls')).not.toMatch(/silt-/);
    await host().remove(id);
  });

  siltTest('can make device nodes, but not open those that it was not given', async () => {
    // /dev/mem, a disk, the console's kernel log.
    const script =
      'mknod /tmp/mem c 1 1; mknod /tmp/disk b 254 0; mknod /tmp/kmsg c 1 11; cat /tmp/mem /tmp/disk /tmp/kmsg';
    const output = await attack(script);
    expect(output.match(/Operation not permitted/g)).toHaveLength(3);
    expect(await attack('mknod /tmp/null c 1 3 && echo fine > /tmp/null && echo fine')).toBe('fine\n');
  });

  siltTest('cannot change the host’s kernel by its files', async () => {
    const files = [
      '/proc/sys/kernel/core_pattern',
      '/proc/sys/vm/drop_caches',
      '/proc/sysrq-trigger',
      '/proc/irq/default_smp_affinity',
      '/sys/kernel/uevent_helper',
      '/sys/kernel/mm/transparent_hugepage/enabled',
    ];
    const script = `for f in ${files.join(' ')}; do [ -e $f ] && { echo x > $f; } 2> /dev/null && echo WROTE $f; done; echo tried`;
    expect(await attack(script)).toBe('tried\n');
  });

  siltTest('cannot read the host’s memory or what its kernel says', async () => {
    expect(
      await attack(
        'cat /proc/kcore /proc/timer_list /proc/keys | wc -c; ls /sys/firmware /proc/acpi 2>/dev/null | grep -v : | wc -w',
      ),
    ).toMatch(/^0\n0\n/);
    expect(await attack('dmesg')).toMatch(/not permitted/i);
  });

  siltTest('cannot take the masks away, mount, or make a cgroup of its own', async () => {
    const script =
      'umount /proc/kcore; umount /proc; mount -o remount,rw /proc/sys; mkdir /tmp/c; mount -t cgroup -o devices c /tmp/c';
    const output = await attack(script);
    expect(output.match(/not permitted|permission denied|Operation not permitted/gi)?.length).toBe(4);
  });
});
