/** `linux.resources` and `linux.cgroupsPath` of the spec: what a container finds in its own cgroups, with silt and with runc. */
import { existsSync, readFileSync } from 'node:fs';
import { commandLineSuite, type Runtime, runtimeWith, waitFor, whyNoController } from '../harness';

const ROOT = '/sys/fs/cgroup';
const CGROUPS = { destination: ROOT, type: 'cgroup', source: 'cgroup', options: ['ro'] };
const isMounted = (controller: string): boolean => existsSync(`${ROOT}/${controller}/tasks`);
/** A block device of the machine, as the kernel numbers it. */
const [major, minor] = readFileSync('/proc/partitions', 'latin1').split('\n')[2]!.trim().split(/\s+/).map(Number);

commandLineSuite('cgroups of the spec', (host) => {
  /** What a container finds in these files of its cgroups. */
  const found = async (runtime: Runtime, resources: object, files: readonly string[]): Promise<string[]> => {
    const script = `cd ${ROOT}; for f in ${files.join(' ')}; do cat $f; done`;
    const bundle = host().bundle(['sh', '-c', script], { mounts: [CGROUPS], linux: { resources } });
    return (await runtime.must(['run', '--bundle', bundle, host().newId()])).trim().split('\n');
  };
  const refusal = async (runtime: Runtime, linux: object): Promise<string> => {
    const id = host().newId();
    const { code, stderr } = await runtime.run(['run', '--bundle', host().bundle(['true'], { linux }), id]);
    await runtime.run(['delete', '--force', id]);
    expect(code).toBe(1);
    return stderr;
  };

  const MIB = 2 ** 20;
  test.each<[string, object, Record<string, string>]>([
    [
      'memory',
      { memory: { limit: 64 * MIB, reservation: 32 * MIB, swappiness: 7 } },
      {
        'memory/memory.limit_in_bytes': `${64 * MIB}`,
        'memory/memory.soft_limit_in_bytes': `${32 * MIB}`,
        'memory/memory.swappiness': '7',
      },
    ],
    [
      'cpu',
      { cpu: { shares: 512, quota: 20_000, period: 50_000 } },
      { 'cpu/cpu.shares': '512', 'cpu/cpu.cfs_quota_us': '20000', 'cpu/cpu.cfs_period_us': '50000' },
    ],
    ['cpuset', { cpu: { cpus: '0', mems: '0' } }, { 'cpuset/cpuset.cpus': '0', 'cpuset/cpuset.mems': '0' }],
    ['pids', { pids: { limit: 77 } }, { 'pids/pids.max': '77' }],
    [
      'blkio',
      {
        blockIO: {
          throttleReadBpsDevice: [{ major, minor, rate: 1_048_576 }],
          throttleWriteIOPSDevice: [{ major, minor, rate: 99 }],
        },
      },
      {
        'blkio/blkio.throttle.read_bps_device': `${major}:${minor} 1048576`,
        'blkio/blkio.throttle.write_iops_device': `${major}:${minor} 99`,
      },
    ],
    [
      'devices',
      {
        devices: [
          { allow: false, access: 'rwm' },
          { allow: true, type: 'c', major: 1, minor: 3, access: 'rw' },
        ],
      },
      {},
    ],
  ])('%s: as with runc', async (controller, resources, expected) => {
    if (!isMounted(controller)) throw new Error(`this machine has no cgroup v1 hierarchy with ${controller}`);
    const files = controller === 'devices' ? ['devices/devices.list'] : Object.keys(expected);
    const ofSilt = await found(host().silt, resources, files);
    if (controller === 'devices') expect(ofSilt).toContain('c 1:3 rwm');
    else expect(ofSilt).toEqual(Object.values(expected));
    expect(ofSilt.sort()).toEqual((await found(host().runc, resources, files)).sort());
  });

  describe('a container that may have few processes', () => {
    const limited = (limit: number, script: string): string =>
      host().bundle(['sh', '-c', script], { linux: { resources: { pids: { limit } } } });

    // By hand as with runc 1.1; not here, since threads of Go come and go beneath the limit.
    test.each([1, 2])('starts with a limit of %i, which holds', async (limit) => {
      const script = 'sleep 0 & sleep 0 & sleep 0; wait; true';
      const bundle = limited(limit, `echo begun; ${script}`);
      const { code, stdout, stderr } = await host().silt.run(['run', '--bundle', bundle, host().newId()]);
      expect(stdout.toString()).toBe('begun\n');
      expect(stderr).toContain("can't fork");
      expect(code).not.toBe(0);
    });

    const limitOf = async (runtime: Runtime, limit: number): Promise<string> => {
      const resources = { pids: { limit } };
      const bundle = host().bundle(['cat', `${ROOT}/pids/pids.max`], { mounts: [CGROUPS], linux: { resources } });
      return (await runtime.must(['run', '--bundle', bundle, host().newId()])).trim();
    };

    test('0 is a limit, of 1, as with runc from 1.4 on; this machine’s is older', async () => {
      expect(await limitOf(host().silt, 0)).toBe('1');
    });

    test('-1 is none, as with runc', async () => {
      expect(await limitOf(host().silt, -1)).toBe('max');
      expect(await limitOf(host().runc, -1)).toBe('max');
    });

    test('and so it is with an update', async () => {
      const { silt } = host();
      const id = host().newId();
      await silt.must(['run', '--detach', '--bundle', host().sleeper({ mounts: [CGROUPS] }), id]);
      for (const [limit, expected] of [
        [7, '7'],
        [0, '1'],
        [-1, 'max'],
      ] as const) {
        await silt.must(['update', '--pids-limit', `${limit}`, id]);
        expect(await silt.must(['exec', id, 'cat', `${ROOT}/pids/pids.max`])).toBe(`${expected}\n`);
      }
      await silt.must(['delete', '--force', id]);
    });

    test.each([1, 2])('and %i of them run already: an exec gets in and has no child', async (limit) => {
      const { silt } = host();
      const id = host().newId();
      const cgroupsPath = `/${host().mark}/${id}`;
      const bundle = host().bundle(['sh', '-c', `${'sleep 1000 & '.repeat(limit - 1)}exec sleep 1000`], {
        linux: { cgroupsPath, resources: { pids: { limit } } },
      });
      await silt.must(['run', '--detach', '--bundle', bundle, id]);
      // An exec that comes before would take the place of one of them.
      await waitFor('all processes', () =>
        readFileSync(`${ROOT}/pids${cgroupsPath}/pids.current`, 'latin1').trim() === `${limit}` ? true : undefined,
      );
      expect(await silt.must(['exec', id, 'echo', 'inside'])).toBe('inside\n');
      expect((await silt.run(['exec', id, 'sh', '-c', 'echo a | cat'])).stderr).toContain("can't fork");
      expect(await silt.status(id)).toBe('running');
      await silt.must(['delete', '--force', id]);
    });

    test('has hooks, which have children until it has begun', async () => {
      const hook = { path: '/bin/sh', args: ['sh', '-c', 'true | cat'] };
      const bundle = host().bundle(['true'], {
        linux: { resources: { pids: { limit: 1 } } },
        hooks: {
          createRuntime: [hook],
          createContainer: [hook],
          startContainer: [{ path: '/bin/true' }],
          poststart: [hook],
        },
      });
      await host().silt.must(['run', '--bundle', bundle, host().newId()]);
    });
  });

  test('every hierarchy of the host has the container’s processes, the unified one too, as with runc', async () => {
    const places = async (runtime: Runtime): Promise<string[]> => {
      const id = host().newId();
      const bundle = host().bundle(['sleep', '1000'], { linux: { cgroupsPath: `/${host().mark}/everywhere` } });
      await runtime.must(['run', '--detach', '--bundle', bundle, id]);
      await runtime.must(['exec', '--detach', id, 'sleep', '1000']);
      const { pid } = JSON.parse(await runtime.must(['state', id])) as { pid: number };
      const inside = readFileSync(`/proc/${pid}/cgroup`, 'latin1').trim().split('\n');
      // Both processes are in each.
      const counted = readFileSync(`${ROOT}/memory/${host().mark}/everywhere/cgroup.procs`, 'latin1')
        .trim()
        .split('\n');
      expect(counted).toHaveLength(2);
      for (const one of counted)
        expect(readFileSync(`/proc/${one}/cgroup`, 'latin1').trim().split('\n')).toEqual(inside);
      await runtime.must(['delete', '--force', id]);
      return inside;
    };
    const ofSilt = await places(host().silt);
    const isHere = (line: string): boolean => /^\d+:(name=systemd)?:/.test(line) || isMounted(line.split(':')[1]!);
    expect(ofSilt.filter((line) => isHere(line) && !line.endsWith(`/${host().mark}/everywhere`))).toEqual([]);
    expect(ofSilt).toEqual(await places(host().runc));
  });

  // The machine's runc is older than these.
  test('cpu burst and idle', async () => {
    const burst = { cpu: { quota: 50_000, period: 50_000, burst: 10_000 } };
    expect(await found(host().silt, burst, ['cpu/cpu.cfs_burst_us'])).toEqual(['10000']);
    expect(await found(host().silt, { cpu: { idle: 1 } }, ['cpu/cpu.idle'])).toEqual(['1']);
  });

  // Controllers that this machine may have and has not mounted: both runtimes run where they are.
  for (const [controllers, resources, expected] of [
    [
      ['hugetlb'],
      { hugepageLimits: [{ pageSize: '2MB', limit: 4 * MIB }] },
      { 'hugetlb/hugetlb.2MB.limit_in_bytes': `${4 * MIB}` },
    ],
    [
      ['net_cls', 'net_prio'],
      { network: { classID: 0x100001, priorities: [{ name: 'lo', priority: 5 }] } },
      { 'net_cls/net_cls.classid': '1048577', 'net_prio/net_prio.ifpriomap': 'lo 5' },
    ],
    [['rdma'], { rdma: { none: { hcaHandles: 3 } } }, { 'rdma/rdma.max': 'none hca_handle=3' }],
  ] as const) {
    const why = controllers.map(whyNoController).find((reason) => reason !== undefined);
    (why === undefined ? test : test.skip)(
      `${controllers.join(' and ')}: as with runc${why === undefined ? '' : ` [skipped: ${why}]`}`,
      async () => {
        const where = host().directory;
        const [silt, runc] = [host().silt, host().runc].map((runtime) => runtimeWith(controllers, runtime, where));
        const ofSilt = await found(silt!, resources, Object.keys(expected));
        for (const line of Object.values(expected)) expect(ofSilt).toContain(line);
        expect(ofSilt).toEqual(await found(runc!, resources, Object.keys(expected)));
        // What a program reserves runc counts from 1.1.6 on.
        const reserved = ['hugetlb/hugetlb.2MB.rsvd.limit_in_bytes'];
        if ('hugepageLimits' in resources) expect(await found(silt!, resources, reserved)).toEqual([`${4 * MIB}`]);
      },
    );
  }

  const realtime = existsSync(`${ROOT}/cpu/cpu.rt_runtime_us`);
  (realtime ? test : test.skip)(
    `time for real-time scheduling: as with runc${realtime ? '' : ' [skipped: the kernel has no groups of it]'}`,
    async () => {
      const resources = { cpu: { realtimeRuntime: 9000, realtimePeriod: 500_000 } };
      const script = `cd ${ROOT}/cpu; cat cpu.rt_runtime_us cpu.rt_period_us`;
      const inside = async (runtime: Runtime): Promise<string> => {
        // The cgroup of the run has no such time to give: this one is beside it.
        const cgroupsPath = `/${host().mark}-realtime`;
        const bundle = host().bundle(['sh', '-c', script], { mounts: [CGROUPS], linux: { cgroupsPath, resources } });
        return runtime.must(['run', '--bundle', bundle, host().newId()]);
      };
      expect(await inside(host().silt)).toBe('9000\n500000\n');
      expect(await inside(host().runc)).toBe('9000\n500000\n');
    },
  );

  for (const [controller, field, resources] of [
    ['hugetlb', 'hugepageLimits', { hugepageLimits: [{ pageSize: '2MB', limit: 4 * MIB }] }],
    ['rdma', 'rdma', { rdma: { mlx5_0: { hcaHandles: 3 } } }],
  ] as const) {
    const here = isMounted(controller);
    (here ? test.skip : test)(
      `a limit of ${controller} without its controller is refused by name${here ? ' [skipped: this host has it]' : ''}`,
      async () => {
        const said = await refusal(host().silt, { resources });
        expect(said).toContain(`$.linux.resources.${field}`);
        expect(said).toContain(`needs the cgroup controller ${controller}`);
      },
    );
  }

  test('files of cgroup v2 are refused on a host with controllers on v1, as with runc', async () => {
    const linux = { resources: { unified: { 'memory.high': '1000000' } } };
    expect(await refusal(host().silt, linux)).toContain('$.linux.resources.unified["memory.high"]');
    expect(await refusal(host().runc, linux)).toMatch(/unified.*cgroup v1|cgroup v1.*unified|invalid configuration/);
  });

  test.each<[string, (mark: string) => string, RegExp]>([
    ['an absolute path', (mark) => `/${mark}/absolute`, /^\/[^/]+\/absolute$/],
    ['one that is not in its plainest form', (mark) => `/${mark}/x/../plain/`, /^\/[^/]+\/plain$/],
    ['a relative path', (mark) => `${mark}-relative`, /-relative$/],
  ])('cgroupsPath: %s, as with runc', async (_, pathFor, expected) => {
    const placeWith = async (runtime: Runtime): Promise<string> => {
      const bundle = host().bundle(['cat', '/proc/self/cgroup'], { linux: { cgroupsPath: pathFor(host().mark) } });
      const text = await runtime.must(['run', '--bundle', bundle, host().newId()]);
      return /:memory:(.*)$/m.exec(text)![1]!;
    };
    const ofSilt = await placeWith(host().silt);
    expect(ofSilt).toMatch(expected);
    expect(ofSilt).toBe(await placeWith(host().runc));
  });

  test('cgroupsPath in systemd’s syntax is the place that systemd would give it', async () => {
    const bundle = host().bundle(['cat', '/proc/self/cgroup'], {
      linux: { cgroupsPath: `-.slice:cri:${host().mark}` },
    });
    const text = await host().silt.must(['run', '--bundle', bundle, host().newId()]);
    expect(/:memory:(.*)$/m.exec(text)![1]).toBe(`/cri-${host().mark}.scope`);
  });
});
