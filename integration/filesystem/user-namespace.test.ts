/** What programs expect of root works in a pod with a user namespace; the host sees nobody, and volumes keep their owners. */
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  containerdSuite,
  isAlive,
  mustRun,
  shellSpec,
  shimPid,
  siltTest,
  SpecBench,
  tarArchive,
  taskPid,
  waitFor,
  type Containerd,
} from '../harness';
import { seedFlags } from './overlay';

/** Runs a script in a new container; its output and errors. */
async function run(host: Containerd, script: string, flags: string[] = []): Promise<string> {
  const { stdout, stderr } = await host.run(['sh', '-c', script], { flags });
  return stdout.toString() + stderr;
}

async function hostRootOf(host: Containerd, id: string): Promise<number> {
  const [, first = ''] = /^\s*0\s+(\d+)/.exec(readFileSync(`/proc/${await taskPid(host, id)}/uid_map`, 'latin1')) ?? [];
  return Number(first);
}

containerdSuite('user namespaces in full', { userns: 'auto', onlyPeer: 'system' }, (host) => {
  siltTest('no two live pods have an id in common, and ids are given back', async () => {
    const ids = await Promise.all([1, 2, 3].map(() => host().startContainer()));
    const roots = await Promise.all(ids.map((id) => hostRootOf(host(), id)));
    expect(new Set(roots.map((root) => Math.floor(root / 65536))).size).toBe(3);
    const ranges = join(host().siltRoot, 'id-ranges');
    expect(readdirSync(ranges)).toHaveLength(3);
    await Promise.all(ids.map((id) => host().remove(id)));
    expect(existsSync(ranges)).toBe(false);
  });

  siltTest('chown, tar and file capabilities; the root user can become another', async () => {
    const seed = join(host().seeds, 'capable.tar');
    const capability = {
      'SCHILY.xattr.security.capability': Buffer.from('0100000200040000000000000000000000000000', 'hex'),
    };
    const busybox = readFileSync('/bin/busybox');
    writeFileSync(
      seed,
      tarArchive([
        { name: './', type: 'directory' },
        { name: './srv/', type: 'directory', mode: 0o755 },
        { name: './srv/busybox', content: busybox, mode: 0o755, pax: capability },
      ]),
    );
    const script = [
      'cd /tmp; mkdir -p t/a; echo x > t/a/f; chown -R 1000:1000 t; chmod 4755 t/a/f',
      'tar -cf t.tar t; rm -r t; tar -xpf t.tar; stat -c "%u:%g %a" t/a/f',
      'chown 65535:65535 t; stat -c %u t',
      "su guest -c '/srv/busybox grep CapEff /proc/self/status; id -u'",
    ];
    const seen = (await run(host(), script.join('; '), ['--allow-new-privs', ...seedFlags(seed)])).split('\n');
    expect(seen.slice(0, 2)).toEqual(['1000:1000 4755', '65535']);
    // Only cap_net_bind_service, which the file has and the user has not.
    expect(seen.slice(2)).toEqual(['CapEff:\t0000000000000400', '1000', '']);
  });

  siltTest('ports below 1024, ping and sysctls', async () => {
    const script = [
      'ping -c 1 -W 5 127.0.0.1 | grep -c "1 packets received"',
      '(echo hello | timeout 20 nc -l -p 80 > /dev/null) & i=0; until echo | nc -w 1 127.0.0.1 80 2> /dev/null; do i=$((i+1)); [ $i -gt 50 ] && break; done',
      'cat /proc/sys/net/ipv4/ip_local_port_range',
    ];
    expect(await run(host(), script.join('; '))).toMatch(/^1\nhello\n\d+\t\d+\n$/);
  });

  siltTest('devices, tmpfs, sysfs and cgroups are there, with the container’s root as owner', async () => {
    const script = [
      'stat -c "%n %u:%g %t:%T" /dev/null /dev/full /dev/tty /dev/urandom',
      'head -c 2 /dev/urandom | wc -c; echo x > /dev/null; test -d /sys/class/net/lo && echo lo',
      'stat -c "%n %u" /dev/shm /dev/mqueue /dev/pts /run /tmp /; touch /dev/shm/x /run/y && stat -c %u /dev/shm/x /run/y',
      'ls /sys/fs/cgroup > /dev/null && echo cgroups',
    ];
    const seen = await run(host(), script.join('; '));
    expect(seen.split('\n')).toEqual([
      '/dev/null 0:0 1:3',
      '/dev/full 0:0 1:7',
      '/dev/tty 0:0 5:0',
      '/dev/urandom 0:0 1:9',
      '2',
      'lo',
      ...['/dev/shm', '/dev/mqueue', '/dev/pts', '/run', '/tmp', '/'].map((path) => `${path} 0`),
      '0',
      '0',
      'cgroups',
      '',
    ]);
  });

  siltTest(
    'a cgroup that is mounted for writing is the container’s: it makes cgroups in it, and its limits stay the host’s',
    async () => {
      const bench = new SpecBench(host());
      const script = [
        'cd /sys/fs/cgroup; if [ -d pids ]; then cd pids; fi',
        'mkdir own && echo $$ > own/cgroup.procs && grep -c "/own$" /proc/self/cgroup',
        'echo max > pids.max || echo refused',
        'echo $$ > cgroup.procs; rmdir own && echo removed',
        // What is left goes with the container.
        'mkdir -p left/below && echo made',
      ].join('; ');
      const spec = shellSpec(script, (it) => {
        const linux = it['linux'] as { namespaces: object[]; resources: object };
        linux.namespaces.push({ type: 'cgroup' });
        linux.resources = { pids: { limit: 100 } };
        const mounts = it['mounts'] as object[];
        mounts.push({ destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['nosuid', 'noexec', 'nodev', 'rw'] }); // prettier-ignore
      });
      const { stdout, stderr } = await bench.run(spec);
      expect(stdout.toString() + stderr.replace(/.*pids\.max.*\n/, '')).toBe('1\nrefused\nremoved\nmade\n');
    },
  );

  siltTest('volumes have the same owners inside and on the host', async () => {
    const volume = join(host().directory, 'volume');
    mkdirSync(volume);
    writeFileSync(join(volume, 'theirs'), 'x');
    chownSync(join(volume, 'theirs'), 1000, 2000);
    const flags = ['--mount', `type=bind,src=${volume},dst=/mnt,options=rbind:rw`];
    const script = 'stat -c "%u:%g" /mnt /mnt/theirs; echo y > /mnt/mine; chown 33:44 /mnt/mine; mkdir /mnt/sub';
    expect(await run(host(), script, flags)).toBe('0:0\n1000:2000\n');
    expect(statSync(join(volume, 'mine'))).toMatchObject({ uid: 33, gid: 44 });
    expect(statSync(join(volume, 'sub'))).toMatchObject({ uid: 0, gid: 0 });
    // A place to mount in the volume that is not there yet is made as its root's.
    const nested = [...flags, '--mount', `type=bind,src=${volume},dst=/mnt/made/here,options=rbind:rw`];
    expect(await run(host(), 'stat -c %u /mnt/made; ls /mnt/made/here | grep -c mine', nested)).toBe('0\n1\n');
    expect(statSync(join(volume, 'made'))).toMatchObject({ uid: 0 });
  });

  siltTest('a volume whose filesystem cannot be idmapped is named, with the setting', async () => {
    const base = join(host().directory, 'stack');
    for (const name of ['lower', 'upper', 'work', 'merged/sub'].map((one) => join(base, one)))
      mkdirSync(name, { recursive: true });
    const merged = join(base, 'merged');
    await mustRun([
      'mount',
      '-t',
      'overlay',
      'overlay',
      '-o',
      `lowerdir=${base}/lower,upperdir=${base}/upper,workdir=${base}/work`,
      merged,
    ]);
    try {
      for (const [source, at] of [
        [merged, merged],
        [base, merged],
      ]) {
        const flags = ['--mount', `type=bind,src=${source},dst=/mnt,options=rbind:rw`];
        const seen = await run(host(), 'true', flags);
        expect(seen).toContain(
          `${source} cannot be used in a pod with a user namespace: the overlay on ${at} cannot show its files with the pod's owners`,
        );
        expect(seen).toContain('set userns = "none"');
      }
    } finally {
      await mustRun(['umount', merged]);
    }
  });

  siltTest('a privileged container is root of the host, and so is one with the host’s network', async () => {
    for (const flags of [['--privileged'], ['--net-host']]) {
      const id = await host().startContainer(['sleep', '1000'], { flags });
      expect({ flags, root: await hostRootOf(host(), id) }).toEqual({ flags, root: 0 });
      await host().remove(id);
    }
  });
});

// Each pod has a shim of its own, so that one can be killed and the others live on.
containerdSuite(
  'id ranges after a crash',
  { userns: 'auto', more: 'pods-per-shim = 1', onlyPeer: 'system' },
  (host) => {
    siltTest('no live pod has those of another, and what killed pods had is given back', async () => {
      const ids = await Promise.all([1, 2, 3].map(() => host().startContainer()));
      const rangeOf = async (id: string): Promise<number> => Math.floor((await hostRootOf(host(), id)) / 65536);
      const killed = ids[0]!;
      const process1 = await taskPid(host(), killed);
      process.kill(shimPid(host(), killed), 'SIGKILL');
      // While it is still being cleaned up others start.
      const later = await Promise.all([1, 2, 3].map(() => host().startContainer()));
      await waitFor('the killed pod’s process to end', () => !isAlive(process1));
      const live = [...ids.slice(1), ...later];
      const ranges = await Promise.all(live.map(rangeOf));
      expect(new Set(ranges).size).toBe(live.length);
      await host().remove(killed);
      const directory = join(host().siltRoot, 'id-ranges');
      await waitFor('the killed pod’s range to be given back', () => readdirSync(directory).length === live.length, {
        timeoutMs: 60_000,
      });
      const again = await host().startContainer();
      expect(ranges).not.toContain(await rangeOf(again));
      for (const id of [...live, again]) await host().remove(id);
      expect(existsSync(directory)).toBe(false);
    });
  },
);
