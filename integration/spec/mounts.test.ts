/** `mounts` of the spec, looked at from inside. */
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'; // prettier-ignore
import { join } from 'node:path';
import { containerdSuite, type Json, mustRun, shellSpec, siltTest, SpecBench } from '../harness';

containerdSuite('mounts', { onlyPeer: 'system', besideRunc: true }, (host) => {
  let bench: SpecBench;
  beforeAll(() => {
    bench = new SpecBench(host());
    writeFileSync(join(bench.directory, 'resolv.conf'), 'nameserver 192.0.2.1\n');
  });

  /** What a script prints in a container with a bind mount of a file of the host. */
  const withFileAt = async (destination: string, script: string, rootfs: string): Promise<string> =>
    bench.output(
      shellSpec(script, (spec) => {
        (spec['root'] as Json)['path'] = rootfs;
        const source = join(bench.directory, 'resolv.conf');
        (spec['mounts'] as Json[]).push({ destination, type: 'bind', source, options: ['bind', 'ro'] });
      }),
    );

  test('a file is mounted where a symlink of the image leads that has no target', async () => {
    const rootfs = bench.makeRootfs('systemd');
    symlinkSync('/run/systemd/resolve/stub-resolv.conf', join(rootfs, 'etc/resolv.conf'));
    const script = 'cat /etc/resolv.conf; readlink /etc/resolv.conf';
    expect(await withFileAt('/etc/resolv.conf', script, 'systemd')).toBe(
      'nameserver 192.0.2.1\n/run/systemd/resolve/stub-resolv.conf',
    );
  });

  test('a symlink of the image that would climb out stays inside', async () => {
    const rootfs = bench.makeRootfs('climbing');
    const outside = join(bench.directory, 'outside');
    mkdirSync(outside);
    symlinkSync(`../../../../../../../../..${outside}`, join(rootfs, 'mnt/out'));
    expect(await withFileAt('/mnt/out/file', `cat ${outside}/file`, 'climbing')).toBe('nameserver 192.0.2.1');
    expect(existsSync(join(outside, 'file'))).toBe(false);
  });

  siltTest('missing directories on the way to a mount are made, in the container only', async () => {
    const rootfs = bench.makeRootfs('missing');
    expect(await withFileAt('/a/b/c', 'cat /a/b/c', 'missing')).toBe('nameserver 192.0.2.1');
    expect(existsSync(join(rootfs, 'a'))).toBe(false);
  });

  /** What a script prints in a container with these mounts, and some of `linux`. */
  const withMounts = async (script: string, mounts: Json[], linux: Json = {}): Promise<string> => {
    const spec = shellSpec(script, (it) => {
      (it['mounts'] as Json[]).push(...mounts);
      Object.assign(it['linux'] as Json, linux);
    });
    const { code, stdout, stderr } = await bench.commandRun(spec);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return stdout.toString().trimEnd();
  };
  const optionsOf = (path: string): string =>
    `grep ' ${path} ' /proc/self/mountinfo | tail -n 1 | cut -d' ' -f6 | tr ',' '\\n' | sort | tr '\\n' ' '`;

  test('the flags of a mount, and their opposites', async () => {
    const mounts = [
      ['nosuid', 'noexec', 'nodev', 'ro', 'noatime'],
      ['nosuid', 'suid', 'ro', 'rw', 'strictatime'],
    ].map((options, i) => ({ destination: `/mnt/${i}`, type: 'tmpfs', source: 'tmpfs', options }));
    const spec = shellSpec(`${optionsOf('/mnt/0')}; echo; ${optionsOf('/mnt/1')}`, (it) => {
      (it['mounts'] as Json[]).push(...mounts);
    });
    const [first, second] = (await bench.output(spec)).split('\n').map((line) => line.trim().split(' '));
    expect(first).toEqual(['noatime', 'nodev', 'noexec', 'nosuid', 'ro']);
    expect(second).toContain('rw');
    expect(second).not.toContain('nosuid');
  });

  test('acl and noacl are taken everywhere, by filesystems that know no such parameter too', async () => {
    const mounts = ['tmpfs', 'tmpfs', 'proc', 'sysfs', 'mqueue', 'devpts'].map((type, i) => ({
      destination: `/mnt/${i}`,
      type,
      source: type,
      options: [i === 0 ? 'noacl' : 'acl', ...(i === 1 ? ['size=64k'] : [])],
    }));
    const bind = { destination: '/mnt/b', type: 'bind', source: bench.directory, options: ['bind', 'noacl'] };
    const remount = { destination: '/mnt/0', type: 'tmpfs', source: 'tmpfs', options: ['remount', 'acl', 'nosuid'] };
    expect(await withMounts(`${optionsOf('/mnt/0')}; grep -c ' /mnt/' /proc/self/mountinfo`, [...mounts, bind, remount])).toMatch(/nosuid.* 7$/); // prettier-ignore
  });

  test('a filesystem that is read-only has the mounts and the devices that come below it', async () => {
    const spec = shellSpec(`${optionsOf('/dev')}; ls -d /dev/pts/ptmx /dev/fd /dev/null; touch /dev/new`, (it) => {
      const dev = (it['mounts'] as Json[]).find(({ destination }) => destination === '/dev')!;
      dev['options'] = [...(dev['options'] as string[]), 'ro'];
      const devices = [{ path: '/dev/null', type: 'c', major: 1, minor: 3 }];
      // By the command line runc allows no device that is not named here.
      Object.assign(it['linux'] as Json, { devices, resources: { devices: [{ allow: true, access: 'rwm' }] } });
    });
    const { code, stdout, stderr } = await bench.commandRun(spec);
    expect(stdout.toString()).toContain(' ro /dev/fd\n/dev/null\n/dev/pts/ptmx\n');
    expect([code, stderr.trim()]).toEqual([1, 'touch: /dev/new: Read-only file system']);
  });

  test('symlinks on a mount with nosymfollow are not followed', async () => {
    const mount = { destination: '/mnt', type: 'tmpfs', source: 'tmpfs', options: ['nosymfollow'] };
    expect(await withMounts('ln -s /etc/passwd /mnt/l; cat /mnt/l 2>&1 | grep -o "Symbolic link loop\\|loop\\|Too many"', [mount])).not.toBe(''); // prettier-ignore
  });

  test('recursive flags reach the mounts below a volume, the plain ones do not', async () => {
    const volume = join(bench.directory, 'tree');
    mkdirSync(join(volume, 'sub'), { recursive: true });
    await mustRun(['mount', '-t', 'tmpfs', 'tmpfs', join(volume, 'sub')]);
    try {
      const bind = (destination: string, ...options: string[]): Json => ({
        destination,
        type: 'bind',
        source: volume,
        options: ['rbind', ...options],
      });
      const mounts = [bind('/mnt/r', 'rro', 'rnosuid', 'rnoexec', 'rnodev'), bind('/mnt/p', 'ro', 'nosuid')];
      const [r, p, top] = (
        await withMounts(
          `${optionsOf('/mnt/r/sub')}; echo; ${optionsOf('/mnt/p/sub')}; echo; ${optionsOf('/mnt/p')}`,
          mounts,
        )
      ).split('\n');
      expect(r!.trim().split(' ')).toEqual(expect.arrayContaining(['nodev', 'noexec', 'nosuid', 'ro']));
      expect(p!.trim().split(' ')).toContain('rw');
      expect(top!.trim().split(' ')).toEqual(expect.arrayContaining(['nosuid', 'ro']));
    } finally {
      await mustRun(['umount', join(volume, 'sub')]);
    }
  });

  // As with runc from 1.2 on; in 1.1 a flag such as `rw`, which is what a mount is anyway, takes away none of the host’s.
  siltTest('a volume with flags has these alone, one without those of the host', async () => {
    const volume = join(bench.directory, 'strict');
    mkdirSync(volume);
    await mustRun(['mount', '-t', 'tmpfs', '-o', 'ro,nosuid,noexec', 'tmpfs', volume]);
    try {
      const bind = (destination: string, ...options: string[]): Json => ({
        destination,
        type: 'bind',
        source: volume,
        options: ['rbind', 'rprivate', ...options],
      });
      const script = ['/mnt/none', '/mnt/rw', '/mnt/nodev'].map(optionsOf).join('; echo; ');
      const mounts = [bind('/mnt/none'), bind('/mnt/rw', 'rw'), bind('/mnt/nodev', 'nodev')];
      const found = (await withMounts(script, mounts)).split('\n').map((line) => line.trim().split(' '));
      const flags = found.map((options) => options.filter((option) => /^(ro|rw|no)/.test(option)));
      expect(flags).toEqual([['noexec', 'nosuid', 'ro'], ['rw'], ['nodev', 'rw']]);
    } finally {
      await mustRun(['umount', volume]);
    }
  });

  test('a volume that is shared is so in a user namespace of the container, too', async () => {
    const volume = { destination: '/mnt', type: 'bind', source: bench.directory, options: ['rbind', 'rshared'] };
    const script = `awk '$5 == "/mnt"' /proc/self/mountinfo`;
    expect(await withMounts(script, [volume])).toMatch(/ shared:\d+ /);
    // One that a later mount hides is not there to be shared, and not what is missed.
    const cover = { destination: '/mnt', type: 'tmpfs', source: 'tmpfs' };
    expect(await withMounts('ls -A /mnt', [{ ...volume, destination: '/mnt/x' }, cover])).toBe('');
    // Nor one that is hidden through a symlink of the image: by nothing at its place, or by a directory.
    const image = bench.makeRootfs('leads-elsewhere');
    mkdirSync(join(image, 'mnt/x'));
    symlinkSync('/mnt', join(image, 'link'));
    const elsewhere = { ...cover, destination: '/link' };
    const inside = { destination: '/mnt/x/y', type: 'tmpfs', source: 'tmpfs' };
    for (const [later, found] of [
      [[elsewhere], ''],
      [[elsewhere, inside], 'x'],
    ] as const) {
      const spec = shellSpec('ls -A /mnt', (it) => {
        (it['root'] as Json)['path'] = 'leads-elsewhere';
        (it['mounts'] as Json[]).push({ ...volume, destination: '/mnt/x' }, ...later);
      });
      expect(await bench.output(spec)).toBe(found);
    }
  });

  siltTest('what earlier mounts have put into the container is mounted elsewhere in it', async () => {
    for (const name of ['outer', 'inner']) {
      mkdirSync(join(bench.directory, name, 'x'), { recursive: true });
      writeFileSync(join(bench.directory, name, 'x', 'file'), name);
    }
    const bind = (source: string, destination: string): Json => ({
      source,
      destination,
      type: 'bind',
      options: ['rbind'],
    });
    const mounts = [
      bind(join(bench.directory, 'outer'), '/mnt'),
      bind(join(bench.directory, 'inner'), '/mnt/x'),
      // As runc takes them: by the paths on the host that lead there.
      bind(join(bench.rootfs, 'mnt'), join(bench.rootfs, 'again')),
    ];
    expect(await withMounts('cat /again/x/x/file; ls /', mounts)).toMatch(/^inner/);
    expect(existsSync(join(bench.rootfs, 'again'))).toBe(false);
  });

  test('a remount changes what an earlier mount has set', async () => {
    const mounts = [
      { destination: '/mnt', type: 'tmpfs', source: 'tmpfs', options: ['size=1m', 'nosuid'] },
      { destination: '/mnt', type: 'tmpfs', source: 'tmpfs', options: ['remount', 'size=2m', 'nosuid', 'ro'] },
    ];
    const spec = shellSpec(
      "touch /mnt/x 2>&1 | grep -o 'Read-only'; df -k /mnt | tail -n 1 | tr -s ' ' | cut -d' ' -f2",
      (it) => {
        // prettier-ignore
        (it['mounts'] as Json[]).push(...mounts);
      },
    );
    expect(await bench.output(spec)).toBe('Read-only\n2048');
  });

  test('a remount of what is no mount is refused', async () => {
    const spec = shellSpec('true', (it) => {
      (it['mounts'] as Json[]).push({ destination: '/tmp', options: ['bind', 'remount', 'ro'] });
    });
    const { code, stderr } = await bench.commandRun(spec);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/mounting other options on \/tmp \(gofer\): mount_setattr: EINVAL|to rootfs at .*invalid argument/); // prettier-ignore
  });

  describe('a tmpfs over a directory of the image', () => {
    const rootfsWith = (): void => {
      const rootfs = bench.rootfs;
      mkdirSync(join(rootfs, 'etc/deep'), { recursive: true });
      writeFileSync(join(rootfs, 'etc/deep/file'), 'of the image\n');
      chmodSync(join(rootfs, 'etc/deep/file'), 0o4755);
      chownSync(join(rootfs, 'etc/deep/file'), 7, 8);
      chmodSync(join(rootfs, 'etc/deep/file'), 0o4755);
      if (!existsSync(join(rootfs, 'etc/link'))) symlinkSync('deep/file', join(rootfs, 'etc/link'));
      chmodSync(join(rootfs, 'etc'), 0o1751);
    };
    const script =
      'stat -c "%a %u:%g" /etc /etc/deep/file; cat /etc/link; echo new > /etc/deep/file; stat -f -c %T /etc';

    test('starts with a copy of it with tmpcopyup', async () => {
      rootfsWith();
      const spec = shellSpec(script, (it) => {
        const tmpfs = { destination: '/etc', type: 'tmpfs', source: 'tmpfs', options: ['nodev', 'tmpcopyup'] };
        (it['mounts'] as Json[]).push(tmpfs);
      });
      expect(await bench.output(spec)).toBe('1751 0:0\n4755 7:8\nof the image\ntmpfs');
      expect(readFileSync(join(bench.rootfs, 'etc/deep/file'), 'utf8')).toBe('of the image\n');
    });

    siltTest('in a user namespace too', async () => {
      rootfsWith();
      const ranges = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
      const mount = { destination: '/etc', type: 'tmpfs', source: 'tmpfs', options: ['nodev', 'tmpcopyup'] };
      const namespaces = ['pid', 'mount', 'ipc', 'uts', 'network', 'user'].map((type) => ({ type }));
      expect(await withMounts(script, [mount], { namespaces, uidMappings: ranges, gidMappings: ranges })).toBe(
        '1751 0:0\n4755 7:8\nof the image\ntmpfs',
      );
    });

    // runc 1.1 gives it the mode of the directory even when told.
    siltTest('has its mode unless it is told', async () => {
      rootfsWith();
      const spec = shellSpec('stat -c %a /etc /mnt; ls /etc', (it) => {
        const tmpfs = (destination: string, ...options: string[]): Json => ({ destination, type: 'tmpfs', source: 'tmpfs', options }); // prettier-ignore
        (it['mounts'] as Json[]).push(tmpfs('/etc'), tmpfs('/mnt', 'mode=711'));
      });
      expect(await bench.output(spec)).toBe('1751\n711');
    });

    test('that has no room for it is refused with the file’s name', async () => {
      rootfsWith();
      writeFileSync(join(bench.rootfs, 'etc/deep/large'), Buffer.alloc(100_000));
      const spec = shellSpec('true', (it) => {
        const options = ['tmpcopyup', 'size=64k'];
        (it['mounts'] as Json[]).push({ destination: '/etc', type: 'tmpfs', source: 'tmpfs', options });
      });
      const { stderr } = await bench.commandRun(spec);
      expect(stderr).toMatch(
        /cannot copy \/etc\/(deep of the image into its tmpfs|large of the image).*ENOSPC|deep\/large: no space left/,
      );
      rmSync(join(bench.rootfs, 'etc/deep/large'));
    });
  });

  describe('id mappings of a mount', () => {
    const userns = ['pid', 'mount', 'ipc', 'uts', 'network', 'user'].map((type) => ({ type }));
    const ofPod = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    const ids = 'stat -c %u:%g /mnt/zero /mnt/five';
    const volume = (uidMappings: Json[] | undefined, ...options: string[]): Json => {
      const source = join(bench.directory, 'owned');
      mkdirSync(source, { recursive: true });
      for (const [name, owner] of [
        ['zero', 0],
        ['five', 5],
      ] as const) {
        // prettier-ignore
        writeFileSync(join(source, name), '');
        chownSync(join(source, name), owner, owner);
      }
      const mappings = uidMappings ? { uidMappings, gidMappings: uidMappings } : {};
      return { destination: '/mnt', type: 'bind', source, options: ['rbind', ...options], ...mappings };
    };
    const inUserns = { namespaces: userns, uidMappings: ofPod, gidMappings: ofPod };

    siltTest('the pod’s, as containerd gives them to each mount', async () => {
      expect(await withMounts(ids, [volume(ofPod, 'ridmap')], inUserns)).toBe('0:0\n5:5');
      expect(await withMounts(ids, [volume(undefined, 'idmap')], inUserns)).toBe('0:0\n5:5');
    });

    siltTest('others than the pod’s', async () => {
      const swapped = [{ containerID: 0, hostID: 100_005, size: 1 }, { containerID: 5, hostID: 100_000, size: 1 }]; // prettier-ignore
      expect(await withMounts(ids, [volume(swapped, 'idmap')], inUserns)).toBe('5:5\n0:0');
    });

    siltTest('of a spec without a user namespace, whether silt chooses one or not', async () => {
      const one = [{ containerID: 0, hostID: 7, size: 1 }, { containerID: 5, hostID: 8, size: 1 }]; // prettier-ignore
      expect(await withMounts(ids, [volume(one, 'idmap')])).toBe('7:7\n8:8');
      const hostIpc = ['pid', 'mount', 'uts', 'network'].map((type) => ({ type }));
      expect(await withMounts(ids, [volume(one, 'idmap')], { namespaces: hostIpc })).toBe('7:7\n8:8');
    });

    siltTest('whose ids no user namespace of silt’s has: then there is none', async () => {
      const beyond = [{ containerID: 0, hostID: 70_000, size: 6 }];
      const script = `${ids}; cat /proc/self/uid_map`;
      const [zero, five, map] = (await withMounts(script, [volume(beyond, 'idmap')])).split('\n');
      expect([zero, five, map!.trim().split(/\s+/)]).toEqual(['70000:70000', '70005:70005', ['0', '0', '4294967295']]);
    });

    siltTest('none, in a user namespace of the spec: the files are whose they are', async () => {
      expect(await withMounts(ids, [volume(undefined)], inUserns)).toBe('65534:65534\n65534:65534');
    });
  });
});
