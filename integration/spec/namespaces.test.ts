/** `linux.namespaces` of the spec: new ones, those of a path, and those that are not the pod's; the same cases with runc where it has them. */
import { existsSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type BackgroundCommand,
  checkout,
  commandLineSuite,
  mustRun,
  type Runtime,
  runCommand,
  startCommand,
  waitFor,
} from '../harness';

const OWN = ['pid', 'network', 'ipc', 'uts', 'mount'].map((type) => ({ type }));
const KERNEL_NAMES: Readonly<Record<string, string>> = { network: 'net', mount: 'mnt' };
const linkOf = (type: string): string => KERNEL_NAMES[type] ?? type;
/** The usual ones, with this one of a path, or a new one. */
const withOne = (type: string, path?: string): object[] => [
  ...OWN.filter((one) => one.type !== type),
  { type, ...(path === undefined ? {} : { path }) },
];
const source = join(checkout, 'integration/spec/out-of-chroot.c');
const OFFSETS = { monotonic: { secs: 7881, nanosecs: 2718281 }, boottime: { secs: 1337 } };

commandLineSuite('namespaces', (host) => {
  const running: [Runtime, string][] = [];
  const others: BackgroundCommand[] = [];
  afterEach(async () => {
    for (const [runtime, id] of running.splice(0)) await runtime.must(['delete', '--force', id]);
    for (const other of others.splice(0)) await other.stop('SIGKILL');
  });

  const start = async (runtime: Runtime, bundle: string): Promise<{ id: string; pid: number }> => {
    const id = host().newId();
    await runtime.must(['run', '--detach', '--bundle', bundle, id]);
    running.push([runtime, id]);
    return { id, pid: (JSON.parse(await runtime.must(['state', id])) as { pid: number }).pid };
  };
  const namespaceOf = (pid: number | string, type: string): string => readlinkSync(`/proc/${pid}/ns/${linkOf(type)}`);
  /** A process in a new namespace of this kind; not of silt's. */
  const unshared = async (type: string): Promise<number> => {
    const other = startCommand(['unshare', `--${type === 'network' ? 'net' : type}`, 'sleep', '1000']);
    others.push(other);
    const pid = other.child.pid!;
    await waitFor(`a new ${type} namespace`, () =>
      namespaceOf(pid, type) !== namespaceOf('self', type) ? true : undefined,
    );
    return pid;
  };

  test.each(['network', 'ipc', 'uts', 'mount', 'cgroup'])(
    'a %s namespace of a path is the container’s, as with runc',
    async (type) => {
      for (const runtime of [host().silt, host().runc]) {
        const path = `/proc/${await unshared(type)}/ns/${linkOf(type)}`;
        const expected = readlinkSync(path);
        const { pid } = await start(runtime, host().sleeper({ namespaces: withOne(type, path) }));
        expect(namespaceOf(pid, type)).toBe(expected);
      }
    },
  );

  test('a time namespace has the offsets of the spec, for what is executed in it too', async () => {
    const changes = { namespaces: [...OWN, { type: 'time' }], linux: { timeOffsets: OFFSETS } };
    const { id, pid } = await start(host().silt, host().sleeper(changes));
    expect(namespaceOf(pid, 'time')).not.toBe(namespaceOf('self', 'time'));
    const offsets = await host().silt.must(['exec', id, 'cat', '/proc/self/timens_offsets']);
    expect(offsets.trim().split(/\s+/)).toEqual(['monotonic', '7881', '2718281', 'boottime', '1337', '0']);

    const joining = host().sleeper({ namespaces: [...OWN, { type: 'time', path: `/proc/${pid}/ns/time` }] });
    const joined = await start(host().silt, joining);
    expect(namespaceOf(joined.pid, 'time')).toBe(namespaceOf(pid, 'time'));
  });

  test('without offsets a time namespace has the host’s clocks', async () => {
    const bundle = host().bundle(['cat', '/proc/self/timens_offsets'], { namespaces: [...OWN, { type: 'time' }] });
    expect((await host().silt.must(['run', '--bundle', bundle, host().newId()])).trim().split(/\s+/)).toEqual([
      ...['monotonic', '0', '0', 'boottime', '0', '0'],
    ]);
  });

  const refusal = async (runtime: Runtime, bundle: string): Promise<string> => {
    const { code, stderr } = await runtime.run(['run', '--bundle', bundle, host().newId()]);
    expect(code).toBe(1);
    return stderr;
  };

  test.each([
    ['without a time namespace', OWN, 'needs a time namespace'],
    ['with one that is joined', [...OWN, { type: 'time', path: '/proc/self/ns/time' }], 'which is to be joined'],
  ])('offsets %s are refused', async (_, namespaces, words) => {
    const bundle = host().bundle(['true'], { namespaces, linux: { timeOffsets: OFFSETS } });
    expect(await refusal(host().silt, bundle)).toContain(words);
  });

  test('a path of another kind of namespace is refused by both, and by its JSON path', async () => {
    const path = '/proc/self/ns/ipc';
    for (const type of ['network', 'pid', 'cgroup']) {
      const bundle = host().bundle(['true'], { namespaces: withOne(type, path) });
      const { length } = withOne(type, path);
      expect(await refusal(host().silt, bundle)).toContain(
        `$.linux.namespaces[${length - 1}].path: ${path} is not a ${type} namespace, but ipc:[`,
      );
      await refusal(host().runc, bundle);
    }
  });

  describe.each(['auto', 'none'])('without a mount namespace, userns = %s', (userns) => {
    const namespaces = [...OWN.filter(({ type }) => type !== 'mount'), { type: 'cgroup' }];
    const spec = (script: string, changes: object = {}): string => {
      const volume = join(host().directory, 'volume');
      mkdirSync(volume, { recursive: true });
      writeFileSync(join(volume, 'f'), 'of-the-host');
      const mounts = [
        { destination: '/tmp', type: 'tmpfs', source: 'tmpfs' },
        { destination: '/mnt', type: 'bind', source: volume, options: ['bind'] },
      ];
      const linux = { maskedPaths: ['/proc/keys'], readonlyPaths: ['/proc/sys'] };
      return host().bundle(['sh', '-c', script], { namespaces, mounts, linux, ...changes });
    };
    const silt = (args: readonly string[]): Promise<string> => host().silt.must([`--userns=${userns}`, ...args]);
    const hostMounts = (): string[] =>
      readFileSync('/proc/self/mountinfo', 'latin1')
        .split('\n')
        .filter((line) => line.includes(host().mark));

    test('a container is in the host’s, sees its own root filesystem and mounts, and the host none of them', async () => {
      const before = hostMounts();
      const script = `readlink /proc/self/ns/mnt; ls /; cat /mnt/f; echo; echo x > /tmp/x; cat /proc/keys; echo 1 > /proc/sys/kernel/panic`;
      const id = host().newId();
      await silt(['run', '--detach', '--bundle', spec(`(${script}) > /mnt/out 2>&1; exec sleep 1000`), id]);
      running.push([host().silt, id]);
      const file = join(host().directory, 'volume/out');
      const said = await waitFor('its words', () => {
        const text = existsSync(file) ? readFileSync(file, 'latin1') : '';
        return text.includes('Read-only') ? text : undefined;
      });
      const [namespace, ...rest] = said.split('\n');
      expect(namespace).toBe(readlinkSync('/proc/self/ns/mnt'));
      expect(rest.slice(0, 10)).toEqual([
        'bin',
        'dev',
        'etc',
        'mnt',
        'proc',
        'root',
        'sys',
        'tmp',
        'of-the-host',
        expect.stringContaining('/proc/sys/kernel/panic'),
      ]);
      expect(hostMounts()).toEqual(before);

      // What is executed in it has that root too, and nobody gets above it.
      const inside = 'ls /; cat /tmp/x; readlink /proc/self/ns/mnt; cd /; cd ../../..; pwd; ls ..';
      const [files, x, ns, where, above] = [/^bin\n.*tmp$/s, 'x', namespace, '/', /^bin\n.*tmp\n$/s];
      const seen = await silt(['exec', id, 'sh', '-c', inside]);
      const parts = /^(bin\n[^]*?tmp)\n(.*)\n(.*)\n(.*)\n([^]*)$/.exec(seen)!.slice(1);
      expect(parts[0]).toMatch(files);
      expect(parts.slice(1, 4)).toEqual([x, ns, where]);
      expect(parts[4]).toMatch(above);

      const archive = join(host().directory, `${id}.tar`);
      await silt(['exec', id, 'sh', '-c', 'echo kept > /etc/kept']);
      await silt(['tar', 'rootfs-upper', '--file', archive, id]);
      expect((await runCommand(['tar', '-xOf', archive, './etc/kept'])).stdout.toString()).toBe('kept\n');
    });

    test('who leaves the chroot finds nothing above it', async () => {
      await mustRun(['gcc', '-static', '-O1', source, '-o', join(host().rootfs, 'bin/out-of-chroot')]);
      const capabilities = Object.fromEntries(
        ['bounding', 'effective', 'permitted'].map((set) => [set, ['CAP_SYS_CHROOT', 'CAP_DAC_OVERRIDE']]),
      );
      const said = await silt([
        'run',
        '--bundle',
        spec('out-of-chroot', { process: { capabilities } }),
        host().newId(),
      ]);
      expect(said.trim().split('\n').sort()).toEqual(['bin', 'dev', 'etc', 'mnt', 'proc', 'root', 'sys', 'tmp']);
    });

    test('nor who asks for a namespace, with and without the baseline filter; with CAP_SYS_ADMIN that leads out', async () => {
      const program = join(host().rootfs, 'bin/out-of-chroot');
      await mustRun(['gcc', '-static', '-O1', source, '-o', program]);
      const capabilities = Object.fromEntries(
        ['bounding', 'effective', 'permitted'].map((set) => [set, ['CAP_SYS_CHROOT', 'CAP_SETFCAP', 'CAP_SETUID']]),
      );
      const config = join(host().directory, 'no-baseline.toml');
      writeFileSync(config, `userns = "${userns}"\nbaseline = "none"\n`);
      for (const env of [host().environment, { ...host().environment, SILT_CONFIG: config }]) {
        const bundle = spec('out-of-chroot setns; true', { process: { capabilities } });
        const words = [`--userns=${userns}`, 'run', '--bundle', bundle, host().newId()];
        const said = (await host().silt.must(words, { env })).trim().split('\n');
        expect(said.slice(0, 3)).toEqual([
          'a user namespace: Operation not permitted',
          'a copy of the mount namespace: Operation not permitted',
          'its root: Operation not permitted',
        ]);
        expect(said.slice(3).sort()).toEqual(['bin', 'dev', 'etc', 'mnt', 'proc', 'root', 'sys', 'tmp']);
      }
      // The same program as root of the host, in a chroot without any runtime.
      const { stdout } = await mustRun(['chroot', host().rootfs, '/bin/out-of-chroot', 'setns']);
      expect(stdout.toString()).toContain('its root: done\n');
      expect(stdout.toString().split('\n')).toContain('usr');
    });

    test('CAP_SYS_ADMIN, which leads out, is refused by name: of a container, of what is executed in it', async () => {
      const at = (set: string): string => `$.process.capabilities.${set}: CAP_SYS_ADMIN leads out of the root`;
      const capabilities = { inheritable: ['CAP_SYS_ADMIN'] };
      const bundle = spec('true', { process: { capabilities } });
      expect(await refusal(host().silt, bundle)).toContain(at('inheritable'));

      const id = host().newId();
      await silt(['run', '--detach', '--bundle', spec('exec sleep 1000 > /dev/null 2>&1'), id]);
      running.push([host().silt, id]);
      const exec = [`--userns=${userns}`, 'exec', '--cap', 'CAP_SYS_ADMIN', id, 'true'];
      const { code, stderr } = await host().silt.run(exec);
      expect([code, stderr.includes(at('bounding'))]).toEqual([255, true]);
    });

    test('unbindable mounts are there', async () => {
      const tmpfs = (destination: string, ...options: string[]): object => ({ destination, type: 'tmpfs', source: 'tmpfs', options }); // prettier-ignore
      const mounts = [tmpfs('/tmp', 'unbindable', 'size=4k'), tmpfs('/mnt', 'runbindable', 'size=8k')];
      const bundle = spec('busybox stat -f -c %b /tmp /mnt', { mounts });
      expect(await silt(['run', '--bundle', bundle, host().newId()])).toBe('1\n2\n');
    });

    test('hooks that would not see its root are refused by name', async () => {
      for (const kind of ['prestart', 'createRuntime', 'createContainer']) {
        const bundle = spec('true', { hooks: { [kind]: [{ path: '/bin/true' }] } });
        expect(await refusal(host().silt, bundle)).toContain(`$.hooks.${kind}: without a mount namespace`);
      }
    });

    test('hooks of the container see its root', async () => {
      const hooks = { startContainer: [{ path: '/bin/sh', args: ['sh', '-c', 'ls / > /tmp/seen'] }] };
      const said = await silt(['run', '--bundle', spec('cat /tmp/seen', { hooks }), host().newId()]);
      expect(said.trim().split('\n')).toEqual(['bin', 'dev', 'etc', 'mnt', 'proc', 'root', 'sys', 'tmp']);
    });
  });

  test('a propagation of the root without a mount namespace is refused', async () => {
    const bundle = host().bundle(['true'], { namespaces: OWN.slice(0, 4), linux: { rootfsPropagation: 'shared' } });
    expect(await refusal(host().silt, bundle)).toContain('$.linux.rootfsPropagation: needs a mount namespace');
  });

  test('the mount namespace of the host is refused', async () => {
    const bundle = host().bundle(['true'], { namespaces: withOne('mount', '/proc/self/ns/mnt') });
    expect(await refusal(host().silt, bundle)).toContain('is the mount namespace of the host');
  });

  describe('of a container that comes to a pod', () => {
    const annotations = (pod: string): Record<string, string> => ({
      'io.kubernetes.cri.container-type': 'container',
      'io.kubernetes.cri.sandbox-id': pod,
    });

    test('a namespace that is not the pod’s is refused by its JSON path, of every kind', async () => {
      const pod = await start(host().silt, host().sleeper());
      const others = [...OWN, { type: 'cgroup' }, { type: 'time' }];
      const stranger = await start(host().silt, host().sleeper({ namespaces: others }));
      for (const type of ['network', 'ipc', 'uts', 'pid', 'user', 'mount', 'cgroup', 'time']) {
        const path = `/proc/${stranger.pid}/ns/${linkOf(type)}`;
        const namespaces = withOne(type, path);
        const bundle = host().bundle(['true'], { annotations: annotations(pod.id), namespaces });
        expect(await refusal(host().silt, bundle)).toContain(
          `$.linux.namespaces[${namespaces.length - 1}].path: ${path} is not a ${type} namespace of the pod ${pod.id}`,
        );
      }
    });

    test('those of the pod and of its other containers are taken', async () => {
      const pod = await start(host().silt, host().sleeper());
      const namespaces = ['network', 'ipc', 'uts', 'pid', 'user'].map((type) => ({
        type,
        path: `/proc/${pod.pid}/ns/${linkOf(type)}`,
      }));
      const bundle = host().sleeper({
        annotations: annotations(pod.id),
        namespaces: [...namespaces, { type: 'mount' }],
      });
      const { pid } = await start(host().silt, bundle);
      for (const { type } of namespaces) expect(namespaceOf(pid, type)).toBe(namespaceOf(pod.pid, type));
    });
  });
});
