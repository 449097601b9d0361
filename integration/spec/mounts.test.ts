/** `mounts` of the spec, looked at from inside. */
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { containerdSuite, type Json, shellSpec, siltTest, SpecBench } from '../harness';

containerdSuite('mounts', {}, (host) => {
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
});
