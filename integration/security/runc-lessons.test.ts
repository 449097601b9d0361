/** What runc's published vulnerabilities taught, tried on silt. docs/security.md lists them by number. */
import { closeSync, existsSync, mkdirSync, openSync, rmdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadNative } from '../../native';
import { Kernel, ProgramBuilder } from '../../syscall';
import { containerdSuite, type Json, sandboxPid, shellSpec, siltTest, SpecBench } from '../harness';

/** fcntl(2), Linux 3.17. */
const [F_GET_SEALS, F_SEAL_WRITE] = [1034, 8];

for (const userns of ['none', 'auto'] as const) {
  containerdSuite(`runc’s lessons, user namespaces ${userns}`, { onlyPeer: 'system', userns }, (host) => {
    let bench: SpecBench;
    beforeAll(() => {
      bench = new SpecBench(host());
    });

    siltTest('CVE-2019-5736: what runs silt’s processes cannot be written, not even by host root', async () => {
      const id = await host().startContainer();
      const path = `/proc/${sandboxPid(host(), id)}/exe`;
      expect(() => openSync(path, 'r+')).toThrow(/ETXTBSY|EPERM/);
      const fd = openSync(path, 'r');
      const p = new ProgramBuilder();
      const seals = p.slot('seals');
      p.call('fcntl', [fd, F_GET_SEALS, 0], { out: seals });
      expect(new Kernel(loadNative(), -1).run(p.build()).get(seals) & F_SEAL_WRITE).toBe(F_SEAL_WRITE);
      closeSync(fd);
      await host().remove(id);
    });

    siltTest('CVE-2019-5736: a container whose program is /proc/self/exe runs nothing of the host', async () => {
      const spec = shellSpec('', (it) => {
        (it['process'] as Json)['args'] = ['/proc/self/exe', 'init'];
      });
      const { code, stdout } = await bench.run(spec);
      expect(code).not.toBe(0);
      expect(stdout.toString()).toBe('');
    });

    siltTest('CVE-2024-21626: no fd of the host is there for the working directory to lead through', async () => {
      for (const fd of [3, 5, 7, 8]) {
        const spec = shellSpec('ls ../../../../../ | tr "\\n" " "', (it) => {
          (it['process'] as Json)['cwd'] = `/proc/self/fd/${fd}`;
        });
        const { code, stdout } = await bench.run(spec);
        // Refused, or made in the container's own tree.
        if (code === 0) expect(stdout.toString()).not.toMatch(/boot|home|opt/);
      }
      const spec = shellSpec('ls /proc/self/fd');
      expect((await bench.output(spec)).split('\n').map(Number)).toEqual([0, 1, 2, 3]);
    });

    siltTest(
      'CVE-2021-30465: a mount below a volume goes where its symlinks lead inside, not on the host',
      async () => {
        const volume = join(bench.directory, `volume-${userns}`);
        const outside = join(bench.directory, `outside-${userns}`);
        for (const directory of [volume, outside]) mkdirSync(directory, { mode: 0o755 });
        symlinkSync(outside, join(volume, 'link'));
        symlinkSync('/', join(volume, 'root'));
        const spec = (destination: string): Json =>
          shellSpec('grep -c " /vol" /proc/mounts; echo done', (it) => {
            (it['mounts'] as Json[]).push(
              { destination: '/vol', type: 'bind', source: volume, options: ['rbind', 'rw'] },
              { destination, type: 'tmpfs', source: 'tmpfs' },
            );
          });
        for (const destination of ['/vol/link/made', '/vol/root/etc'])
          expect((await bench.run(spec(destination))).stdout.toString()).toMatch(/^(\d+\ndone\n)?$/);
        expect(existsSync(join(outside, 'made'))).toBe(false);
      },
    );

    siltTest(
      'CVE-2019-19921, CVE-2023-27561: /proc that is a symlink of the image is masked all the same',
      async () => {
        const rootfs = bench.makeRootfs(`linked-${userns}`);
        mkdirSync(join(rootfs, 'elsewhere'));
        rmdirSync(join(rootfs, 'proc'));
        symlinkSync('/elsewhere', join(rootfs, 'proc'));
        const spec = shellSpec('cat /proc/kcore | wc -c; echo x > /proc/sys/kernel/core_pattern || echo kept', (it) => {
          (it['root'] as Json)['path'] = `linked-${userns}`;
          Object.assign(it['linux'] as Json, { maskedPaths: ['/proc/kcore'], readonlyPaths: ['/proc/sys'] });
        });
        const { code, stdout } = await bench.run(spec);
        if (code === 0) expect(stdout.toString()).toBe('0\nkept\n');
      },
    );

    siltTest('CVE-2025-31133: a /dev/null of the image covers nothing', async () => {
      // /dev is the image's own here, and its null is another file.
      const rootfs = bench.makeRootfs(`null-${userns}`);
      writeFileSync(join(rootfs, 'dev/null'), 'mine');
      const spec = shellSpec('cat /proc/timer_list | wc -c; stat -c %t:%T /proc/timer_list', (it) => {
        (it['root'] as Json)['path'] = `null-${userns}`;
        it['mounts'] = (it['mounts'] as Json[]).filter(({ destination }) => !/^\/dev/.test(destination as string));
        Object.assign(it['linux'] as Json, { maskedPaths: ['/proc/timer_list'] });
      });
      expect(await bench.output(spec)).toBe('0\n1:3');
    });

    siltTest(
      'CVE-2025-52881: what silt writes below /proc goes there, whatever the image put in its place',
      async () => {
        const rootfs = bench.makeRootfs(`fake-${userns}`);
        mkdirSync(join(rootfs, 'proc/sys/net/ipv4'), { recursive: true });
        writeFileSync(join(rootfs, 'proc/sys/net/ipv4/ip_default_ttl'), 'untouched');
        const spec = shellSpec('cat /proc/sys/net/ipv4/ip_default_ttl', (it) => {
          (it['root'] as Json)['path'] = `fake-${userns}`;
          Object.assign(it['linux'] as Json, { sysctl: { 'net.ipv4.ip_default_ttl': '77' } });
        });
        expect(await bench.output(spec)).toBe('77');
      },
    );
  });
}
