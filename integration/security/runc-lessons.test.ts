/** What runc's published vulnerabilities taught, tried on silt. docs/security.md lists them by number. */
import { chmodSync, closeSync, cpSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'; // prettier-ignore
import { join } from 'node:path';
import { loadNative } from '../../native';
import { Kernel, ProgramBuilder } from '../../syscall';
import {
  commandLineSuite,
  containerdSuite,
  type Json,
  mustRun,
  sandboxPid,
  shellSpec,
  siltTest,
  SpecBench,
  taskPid,
} from '../harness';

/** fcntl(2), Linux 3.17. */
const [F_GET_SEALS, F_SEAL_WRITE] = [1034, 8];

const RIGHTS = ['CAP_SYS_PTRACE', 'CAP_DAC_OVERRIDE', 'CAP_DAC_READ_SEARCH', 'CAP_KILL', 'CAP_SETUID', 'CAP_SETGID'];

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
        expect((await bench.siltRun(spec)).stderr).toContain(`making the working directory /proc/self/fd/${fd}`);
      }
      const spec = shellSpec('ls /proc/self/fd');
      expect((await bench.output(spec)).split('\n').map(Number)).toEqual([0, 1, 2, 3]);
    });

    siltTest(
      'CVE-2021-30465, CVE-2024-45310: a mount below a volume goes where its symlinks lead inside, and makes nothing on the host',
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
        for (const destination of ['/vol/link/made', '/vol/root/etc']) await bench.run(spec(destination));
        expect(existsSync(join(outside, 'made'))).toBe(false);
      },
    );

    siltTest(
      'CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: /proc that is a symlink of the image is refused',
      async () => {
        const rootfs = bench.makeRootfs(`linked-${userns}`);
        mkdirSync(join(rootfs, 'elsewhere'));
        rmdirSync(join(rootfs, 'proc'));
        symlinkSync('/elsewhere', join(rootfs, 'proc'));
        const spec = shellSpec('cat /proc/kcore | wc -c; echo x > /proc/sys/kernel/core_pattern || echo kept', (it) => {
          (it['root'] as Json)['path'] = `linked-${userns}`;
          Object.assign(it['linux'] as Json, { maskedPaths: ['/proc/kcore'], readonlyPaths: ['/proc/sys'] });
        });
        const { code, stdout, stderr } = await bench.siltRun(spec);
        expect([code === 0, stdout.toString()]).toEqual([false, '']);
        expect(stderr).toContain('filesystem "proc" must be mounted on ordinary directory');
      },
    );

    siltTest('CVE-2019-16884: a volume over /proc is not where silt writes for the kernel', async () => {
      const volume = join(bench.directory, `proc-${userns}`);
      mkdirSync(join(volume, 'self'), { recursive: true });
      writeFileSync(join(volume, 'self/oom_score_adj'), 'untouched');
      const spec = shellSpec('sleep 1000', (it) => {
        (it['process'] as Json)['oomScoreAdj'] = 321;
        const options = ['rbind', 'rw'];
        (it['mounts'] as Json[]).push({ destination: '/proc', type: 'bind', source: volume, options });
      });
      const id = await bench.start(spec);
      expect(readFileSync(`/proc/${await taskPid(host(), id)}/oom_score_adj`, 'utf8')).toBe('321\n');
      expect(readFileSync(join(volume, 'self/oom_score_adj'), 'utf8')).toBe('untouched');
      await host().remove(id);
    });

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

    siltTest('CVE-2026-41579: an image whose /dev leads away has nothing made or removed on the host', async () => {
      const away = join(bench.directory, `away-${userns}`);
      mkdirSync(away, { mode: 0o777 });
      writeFileSync(join(away, 'ptmx'), 'kept');
      const rootfs = bench.makeRootfs(`dev-${userns}`);
      rmSync(join(rootfs, 'dev'), { recursive: true, force: true });
      symlinkSync(away, join(rootfs, 'dev'));
      mkdirSync(join(rootfs, away), { recursive: true });
      const spec = shellSpec('readlink /dev/fd; stat -c %t:%T /dev/zero', (it) => {
        (it['root'] as Json)['path'] = `dev-${userns}`;
        it['mounts'] = (it['mounts'] as Json[]).filter(({ destination }) => !/^\/dev/.test(destination as string));
      });
      expect(await bench.output(spec)).toBe('/proc/self/fd\n1:5');
      expect(readdirSync(away)).toEqual(['ptmx']);
    });

    siltTest('CVE-2025-52881: a volume over /proc takes no sysctl', async () => {
      const volume = join(bench.directory, `sysctl-${userns}`);
      const file = 'sys/net/ipv4/ip_default_ttl';
      mkdirSync(join(volume, 'sys/net/ipv4'), { recursive: true });
      writeFileSync(join(volume, file), 'untouched');
      chmodSync(join(volume, file), 0o666);
      const spec = shellSpec('sleep 1000', (it) => {
        Object.assign(it['linux'] as Json, { sysctl: { 'net.ipv4.ip_default_ttl': '77' } });
        const options = ['rbind', 'rw'];
        (it['mounts'] as Json[]).push({ destination: '/proc', type: 'bind', source: volume, options });
      });
      const id = await bench.start(spec);
      // The kernel shows each reader the sysctls of its own network.
      const words = ['nsenter', '--net', '--target', `${await taskPid(host(), id)}`, 'cat', `/proc/${file}`];
      expect((await mustRun(words)).stdout.toString()).toBe('77\n');
      expect(readFileSync(join(volume, file), 'utf8')).toBe('untouched');
      await host().remove(id);
    });
  });
}

commandLineSuite('runc’s lessons on the command line', (host) => {
  test.each(['none', 'auto'])(
    'CVE-2025-52565, user namespaces %s: an image whose /dev leads away does not choose the terminal',
    async (userns) => {
      // What is at that place of the host somebody may know who writes to it: a volume of another container.
      const away = join(host().directory, `away-${userns}`);
      const secret = join(host().directory, `secret-${userns}`);
      mkdirSync(join(away, 'pts'), { recursive: true });
      writeFileSync(secret, 'of the host');
      chmodSync(secret, 0o600);
      symlinkSync('/dev/pts/ptmx', join(away, 'pts/ptmx'));
      symlinkSync(secret, join(away, 'pts/0'));
      const rootfs = join(host().directory, `linked-${userns}`);
      cpSync(host().rootfs, rootfs, { recursive: true, verbatimSymlinks: true });
      rmSync(join(rootfs, 'dev'), { recursive: true, force: true });
      symlinkSync(away, join(rootfs, 'dev'));
      const bundle = host().bundle(['busybox', 'stat', '-c', '%t:%T', '/dev/console'], {
        rootfs,
        process: { terminal: true },
      });
      const words = [`--userns=${userns}`, 'run', '--bundle', bundle, host().newId()];
      expect((await host().silt.run(words, { stdin: '' })).stdout.toString().trim()).toBe('88:0');
      expect((statSync(secret).mode & 0o777).toString(8)).toBe('600');
    },
  );

  test('CVE-2016-9962: who shares the pid namespace sees nothing of a process before its exec', async () => {
    const [pod, id] = [host().newId(), host().newId()];
    const annotations = (type: string): Record<string, string> => ({
      'io.kubernetes.cri.container-type': type,
      'io.kubernetes.cri.sandbox-id': pod,
    });
    // Root with every right over its siblings.
    const process = { capabilities: { bounding: RIGHTS, effective: RIGHTS, permitted: RIGHTS } };
    const sandbox = host().sleeper({ annotations: annotations('sandbox'), process });
    await host().silt.must(['run', '--detach', '--bundle', sandbox, pod]);
    const { pid } = JSON.parse(await host().silt.must(['state', pod])) as { pid: number };
    const namespaces = ['pid', 'network', 'ipc', 'uts', 'mount'].map((type) =>
      type === 'pid' ? { type, path: `/proc/${pid}/ns/pid` } : { type },
    );
    const member = host().sleeper({ annotations: annotations('container'), namespaces });
    await host().silt.must(['create', '--bundle', member, id]);
    const look = async (): Promise<string> =>
      host().silt.must(['exec', pod, 'sh', '-c', 'for p in /proc/[0-9]*; do ls $p/fd/ 2>&1 ; done']);
    expect(await look()).toContain('Permission denied');
    await host().silt.must(['start', id]);
    expect(await look()).not.toContain('Permission denied');
    for (const one of [id, pod]) await host().silt.must(['delete', '--force', one]);
  });

  test('CVE-2022-29162: what exec --cap gives is not inheritable', async () => {
    const id = host().newId();
    await host().silt.must(['run', '--detach', '--bundle', host().sleeper(), id]);
    const status = await host().silt.must(['exec', '--cap=CAP_NET_RAW', id, 'cat', '/proc/self/status']);
    expect(status).toMatch(/^CapInh:\t0{16}$/m);
    expect(status).toMatch(/^CapBnd:\t0*20e1$/m);
    await host().silt.must(['delete', '--force', id]);
  });

  test('CVE-2024-21626: nor does an fd lead the working directory of an exec out', async () => {
    const id = host().newId();
    await host().silt.must(['run', '--detach', '--bundle', host().sleeper(), id]);
    const inside = await host().silt.must(['exec', id, 'ls', '/']);
    for (let fd = 0; fd <= 12; fd++) {
      const { code, stdout } = await host().silt.run(['exec', '--cwd', `/proc/self/fd/${fd}`, id, 'ls', '../../../..']);
      expect([fd, code === 0, stdout.toString()]).toEqual([fd, false, '']);
    }
    expect(await host().silt.must(['exec', '--cwd', '/proc/self/cwd', id, 'ls'])).toBe(inside);
    await host().silt.must(['delete', '--force', id]);
  });

  test('CVE-2023-25809: without a cgroup namespace, too, the host’s cgroups cannot be written to', async () => {
    const script = 'for at in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $at/made 2>/dev/null && echo $at; done; true';
    const made = async (userns: string, writable: string): Promise<string[]> => {
      const options = [writable, 'nosuid'];
      const mounts = [{ destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options }];
      const bundle = host().bundle(['sh', '-c', script], { mounts });
      const said = await host().silt.must([`--userns=${userns}`, 'run', '--bundle', bundle, host().newId()]);
      return said.split('\n').filter(Boolean);
    };
    expect([await made('auto', 'ro'), await made('none', 'ro')]).toEqual([[], []]);
    // As the host's root it could otherwise, in what is its own alone.
    expect((await made('none', 'rw')).length).toBeGreaterThan(0);
    const own = host().bundle(['sh', '-c', 'cat /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs; true'], {
      mounts: [{ destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro'] }],
    });
    const pids = (await host().silt.must(['--userns=none', 'run', '--bundle', own, host().newId()])).split('\n');
    // Its own two processes, by the numbers of its pid namespace: 0 would be one of the host's.
    expect(new Set(pids.filter(Boolean).map((pid) => Number(pid) > 0 && Number(pid) < 10))).toEqual(new Set([true]));
  });
});
