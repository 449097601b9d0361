/** Set-uid programs, dpkg and apt-get in a pod with a user namespace: this machine's own Debian is the image, its changes go to memory. */
import { existsSync, readFileSync, statfsSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { containerdSuite, mustRun, SpecBench, shellSpec, siltTest, tarArchive, testIf, type Json } from '../harness';
import { seedFlags } from './overlay';

const OVERLAYFS = 0x794c7630;
const debianTest = testIf(
  existsSync('/usr/bin/apt-get') && statfsSync('/').type !== OVERLAYFS,
  'needs a Debian on a disk, as a layer',
);

containerdSuite('a pod with a user namespace', { userns: 'auto', onlyPeer: 'system' }, (host) => {
  siltTest('runs set-uid programs as their owner, and not with no_new_privs', async () => {
    const seed = join(host().seeds, 'set-uid.tar');
    writeFileSync(
      seed,
      tarArchive([
        { name: './', type: 'directory' },
        { name: './etc/', type: 'directory' },
        { name: './etc/passwd', content: 'root::0:0:root:/root:/bin/sh\nguest:x:1000:1000:guest:/tmp:/bin/sh\n' },
        { name: './srv/', type: 'directory' },
        { name: './srv/busybox', content: readFileSync('/bin/busybox'), mode: 0o4755 },
      ]),
    );
    const script = `su guest -c "id -u; /srv/busybox su root -c 'id -u; touch /root/made'" 2>&1; stat -c %u /root/made`;
    for (const [flags, expected] of [
      [['--allow-new-privs'], /^1000\n0\n0\n$/],
      [[], /^1000\nsu: /],
    ] as const) {
      const { stdout, stderr } = await host().run(['sh', '-c', script], { flags: [...flags, ...seedFlags(seed)] });
      expect(stdout.toString() + stderr).toMatch(expected);
    }
  });

  debianTest('installs packages with dpkg and apt-get, whose files have other owners', async () => {
    const bench = new SpecBench(host());
    const script = [
      'set -e; cd /tmp; mkdir -p p/DEBIAN p/srv/silt-test lists',
      `printf 'Package: silt-test\\nVersion: 1\\nArchitecture: all\\nMaintainer: nobody\\nDescription: a test\\n' > p/DEBIAN/control`,
      `printf '#!/bin/sh\\nset -e\\nchown www-data:tape /srv/silt-test/f\\nchmod 2751 /srv/silt-test\\n' > p/DEBIAN/postinst`,
      'chmod 755 p/DEBIAN/postinst; echo x > p/srv/silt-test/f; chown daemon p/srv/silt-test/f; chmod 4711 p/srv/silt-test/f',
      'dpkg-deb --build p silt-test.deb > /dev/null; dpkg -i silt-test.deb > /dev/null; stat -c "%U:%G %a" /srv/silt-test /srv/silt-test/f',
      'dpkg -P silt-test > /dev/null; test ! -e /srv/silt-test',
      'apt-get -qq -y -o Dir::State::lists=/tmp/lists install ./silt-test.deb > /dev/null 2> err || { cat err; exit 1; }',
      `dpkg-query -W -f '\${Status}\\n' silt-test; stat -c %U /srv/silt-test/f`,
    ];
    const spec = shellSpec(script.join('\n'), (changed) => {
      (changed['root'] as Json)['path'] = relative(bench.directory, '/');
      const process = changed['process'] as Json;
      process['env'] = ['PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'DEBIAN_FRONTEND=noninteractive'];
      const sets = process['capabilities'] as Record<string, string[]>;
      for (const set of Object.values(sets)) set.push('CAP_FSETID', 'CAP_SETFCAP', 'CAP_DAC_READ_SEARCH');
      const tmpfs = { type: 'tmpfs', source: 'tmpfs', options: ['mode=1777'] };
      (changed['mounts'] as Json[]).push({ destination: '/tmp', ...tmpfs }, { destination: '/run', ...tmpfs });
    });
    expect(await bench.output(spec)).toBe(
      ['root:root 2751', 'www-data:tape 711', 'install ok installed', 'www-data'].join('\n'),
    );
    expect(existsSync('/srv/silt-test')).toBe(false);
    await expect(mustRun(['dpkg-query', '-W', 'silt-test'])).rejects.toThrow();
  });
});
