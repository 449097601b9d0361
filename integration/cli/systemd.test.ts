/** `--systemd-cgroup`: systemd makes the cgroup, as a unit. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type BackgroundCommand,
  childrenOf,
  commandLineSuite,
  mustRun,
  Runtime,
  siltProgram,
  sleep,
  Systemd,
  SYSTEMD_LAYOUTS,
  waitFor,
  whyNoSystemd,
} from '../harness';

for (const layout of SYSTEMD_LAYOUTS) {
  const reason = whyNoSystemd(layout);
  const skipped = reason === undefined ? '' : ` [skipped: ${reason}]`;

  commandLineSuite(`cgroups by systemd, ${layout}${skipped}`, (host) => {
    if (reason !== undefined) {
      test.skip(`need it${skipped}`, () => undefined);
      return;
    }
    let systemd: Systemd;
    let silt: Runtime;
    let runc: Runtime;

    beforeAll(async () => {
      systemd = await Systemd.start(`${host().mark}-systemd`, layout);
      const beside = (name: string, program: string): string => systemd.wrapper(join(host().directory, name), program);
      silt = new Runtime(beside('silt-beside-systemd', siltProgram), host().silt.root, host().environment);
      runc = new Runtime(beside('runc-beside-systemd', 'runc'), host().runc.root, host().environment);
    }, 60_000);

    afterAll(async () => {
      await systemd.stop();
    }, 60_000);

    const run = async (id: string, changes: object, annotations = {}): Promise<ReturnType<Runtime['run']>> => {
      const bundle = host().sleeper({ annotations, linux: { cgroupsPath: `test-pods.slice:box:${id}`, ...changes } });
      return silt.run([
        '--systemd-cgroup',
        'run',
        '--detach',
        '--pid-file',
        join(bundle, 'pid'),
        '--bundle',
        bundle,
        id,
      ]);
    };

    /** systemd forgets a unit in its own time. */
    const gone = (id: string): Promise<true> =>
      waitFor(`systemd to forget the unit of ${id}`, async () => {
        const { LoadState } = await systemd.show(`box-${id}.scope`, ['LoadState']);
        return LoadState === 'not-found' ? true : undefined;
      });

    test('a container is a scope below its slice, until it is deleted', async () => {
      const id = host().newId();
      const bundle = host().sleeper({
        annotations: { 'org.systemd.property.TimeoutStopSec': '5' },
        linux: { cgroupsPath: `test-pods.slice:box:${id}` },
      });
      const pidFile = join(bundle, 'pid');
      await silt.must(['--systemd-cgroup', 'run', '--detach', '--pid-file', pidFile, '--bundle', bundle, id]);
      expect(await systemd.show(`box-${id}.scope`, ['Slice', 'Delegate', 'ActiveState', 'TimeoutStopUSec'])).toEqual({
        Slice: 'test-pods.slice',
        Delegate: 'yes',
        ActiveState: 'active',
        TimeoutStopUSec: '5s',
      });
      const { pid } = JSON.parse(await silt.must(['state', id])) as { pid: number };
      expect(pid).toBe(Number(readFileSync(pidFile, 'utf8')));
      await silt.must(['delete', '--force', id]);
      await gone(id);
    });

    test('one that ends by itself ends its scope, and can be deleted', async () => {
      const id = host().newId();
      expect(await run(id, {})).toMatchObject({ code: 0 });
      await silt.must(['kill', id, 'KILL']);
      await waitFor('its end', async () => ((await silt.status(id)) === 'stopped' ? true : undefined));
      await silt.must(['delete', id]);
      await gone(id);
    });

    test('a container that cannot be created leaves no unit', async () => {
      const id = host().newId();
      const refused = await run(id, {}, { 'org.systemd.property.Nonsense': 'true' });
      expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('SYSTEMD_FAILED')]);
      await gone(id);
      const other = host().newId();
      const { code, stderr } = await run(other, { resources: { unified: { 'no.such': '1' } } });
      expect([code, stderr]).toEqual([1, expect.stringContaining('no.such')]);
      await gone(other);
    });

    test('a path of another form is refused, and so is a host without systemd', async () => {
      const path = await run(host().newId(), { cgroupsPath: '/elsewhere' });
      expect([path.code, path.stderr]).toEqual([1, expect.stringContaining('slice:prefix:name')]);
      if (existsSync('/run/systemd/system')) return;
      const bundle = host().sleeper({ linux: { cgroupsPath: 'test.slice:box:none' } });
      const without = await host().silt.run(['--systemd-cgroup', 'run', '--bundle', bundle, host().newId()]);
      expect([without.code, without.stderr]).toEqual([1, expect.stringContaining('systemd not running on this host')]);
    });

    // What follows needs controllers, which the unified hierarchy of a machine with v1 has not.
    if (layout !== 'hybrid') return;

    const LIMITS = {
      memory: { limit: 64 << 20 },
      pids: { limit: 20 },
      cpu: { quota: 50_000, period: 50_000, shares: 2048, cpus: '0' },
      devices: [
        { allow: false, access: 'rwm' },
        { allow: true, type: 'c', major: 10, minor: 229, access: 'rw' },
        { allow: true, type: 'c', minor: 99, access: 'r' },
      ],
    };
    const PROPERTIES =
      'MemoryLimit TasksMax CPUShares CPUQuotaPerSecUSec CPUQuotaPeriodUSec AllowedCPUs DevicePolicy Slice';
    const FILES =
      'memory/memory.limit_in_bytes pids/pids.max cpu/cpu.shares cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpuset/cpuset.cpus';
    const limited = (id: string, resources: object = LIMITS): string =>
      host().sleeper({
        mounts: [{ destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro'] }],
        linux: { cgroupsPath: `test-pods.slice:box:${id}`, resources },
      });
    const start = (runtime: Runtime, id: string, bundle: string): Promise<string> =>
      runtime.must(['--systemd-cgroup', 'run', '--detach', '--pid-file', join(bundle, 'pid'), '--bundle', bundle, id]);
    /** What the container finds of its limits, and its table of devices. */
    const inside = async (runtime: Runtime, id: string): Promise<{ limits: string; devices: readonly string[] }> => {
      const cat = async (files: string): Promise<string> =>
        runtime.must(['exec', id, 'sh', '-c', `cd /sys/fs/cgroup && cat ${files}`]);
      const devices = (await cat('devices/devices.list')).trim().split('\n').sort();
      return { limits: (await cat(FILES)).trim().split('\n').join(' '), devices };
    };

    test('limits are in the files and systemd knows them, as with runc', async () => {
      const [ours, theirs] = [host().newId(), host().newId()];
      await start(silt, ours, limited(ours));
      await start(runc, theirs, limited(theirs));
      const found = await inside(silt, ours);
      expect(found.limits).toBe('67108864 20 2048 50000 50000 0');
      expect(found.devices).toEqual(expect.arrayContaining(['c 10:229 rw', 'c *:99 r', 'c 1:3 rwm']));
      expect(found).toEqual(await inside(runc, theirs));
      const known = await systemd.show(`box-${ours}.scope`, PROPERTIES.split(' '));
      expect(known).toEqual(await systemd.show(`box-${theirs}.scope`, PROPERTIES.split(' ')));
      expect(known).toMatchObject({
        DevicePolicy: 'strict',
        MemoryLimit: '67108864',
        TasksMax: '20',
        AllowedCPUs: '0',
      });
      await silt.must(['delete', '--force', ours]);
      await runc.must(['delete', '--force', theirs]);
      await gone(ours);
    });

    test('the container is in its scope in every hierarchy, and so is an exec', async () => {
      const id = host().newId();
      await start(silt, id, limited(id));
      await silt.must(['update', '--memory', '50M', id]);
      for (const words of [
        ['cat', '/proc/1/cgroup'],
        ['cat', '/proc/self/cgroup'],
      ]) {
        const places = (await silt.must(['exec', id, ...words]))
          .trim()
          .split('\n')
          .map((line) => line.replace(/^.*:/, ''));
        expect(new Set(places)).toEqual(new Set([`/test.slice/test-pods.slice/box-${id}.scope`]));
      }
      await silt.must(['delete', '--force', id]);
    });

    test('an update is told to systemd; that and a reload leave the devices as they were', async () => {
      const id = host().newId();
      await start(silt, id, limited(id));
      const { devices } = await inside(silt, id);
      await silt.must(['update', '--memory', '50M', '--cpu-quota', '20000', '--pids-limit', '7', id]);
      const changed = { limits: '52428800 7 2048 20000 50000 0', devices };
      expect(await inside(silt, id)).toEqual(changed);
      const known = { MemoryLimit: '52428800', TasksMax: '7', CPUQuotaPerSecUSec: '400ms', CPUQuotaPeriodUSec: '50ms' };
      expect(await systemd.show(`box-${id}.scope`, Object.keys(known))).toEqual(known);
      await systemd.reload();
      // One number in every major systemd cannot say: after a reload that is denied, as with runc.
      expect(await inside(silt, id)).toEqual({ ...changed, devices: devices.filter((rule) => rule !== 'c *:99 r') });
      expect(await silt.status(id)).toBe('running');
      await silt.must(['delete', '--force', id]);
    });

    /** A file of its scope, as systemd sees it; `value` is written to it first. */
    const file = async (id: string, controller: string, name: string, value?: string): Promise<string> => {
      const path = `/sys/fs/cgroup/${controller}/test.slice/test-pods.slice/box-${id}.scope`;
      if (value !== undefined)
        await mustRun(systemd.words(['sh', '-c', 'echo "$0" > "$1"', value, `${path}/devices.${name}`]));
      const read = await mustRun(
        systemd.words(['cat', `${path}/${controller}.${value === undefined ? name : 'list'}`]),
      );
      return read.stdout.toString().trim();
    };
    const freezes = (id: string, wanted: string): Promise<true> =>
      waitFor(`${id} to be ${wanted}`, async () =>
        (await file(id, 'freezer', 'state')) === wanted ? true : undefined,
      );
    /** An update that waits for systemd until `body` is through. */
    const midUpdate = async (id: string, body: (update: BackgroundCommand) => Promise<void>): Promise<void> => {
      process.kill(systemd.pid, 'SIGSTOP');
      const update = silt.start(['update', '--memory', '50M', id]);
      try {
        await freezes(id, 'FROZEN');
        await body(update);
      } finally {
        process.kill(systemd.pid, 'SIGCONT');
        await update.ended;
      }
    };

    test('a container that is paused before or during an update stays paused', async () => {
      const id = host().newId();
      await start(silt, id, limited(id));
      let pause: Promise<string> | undefined;
      await midUpdate(id, async () => {
        pause = silt.must(['pause', id]);
        await sleep(300);
      });
      await pause;
      expect([await silt.status(id), await file(id, 'freezer', 'state')]).toEqual(['paused', 'FROZEN']);
      await silt.must(['update', '--memory', '60M', id]);
      expect([await silt.status(id), await file(id, 'freezer', 'state')]).toEqual(['paused', 'FROZEN']);
      await silt.must(['resume', id]);
      expect((await inside(silt, id)).limits).toMatch(/^62914560 /);
      await silt.must(['delete', '--force', id]);
    });

    test('an update that is killed lets the container run on', async () => {
      const id = host().newId();
      await start(silt, id, limited(id));
      await midUpdate(id, async (update) => {
        for (const child of childrenOf(update.child.pid!)) process.kill(child, 'SIGKILL');
        expect((await update.ended).code).not.toBe(0);
        await freezes(id, 'THAWED');
      });
      const { devices } = await inside(silt, id);
      await silt.must(['update', '--memory', '60M', id]);
      expect(await inside(silt, id)).toEqual({ limits: '62914560 20 2048 50000 50000 0', devices });
      await silt.must(['delete', '--force', id]);
    });

    test('two updates at once are made one after the other', async () => {
      const id = host().newId();
      await start(silt, id, limited(id));
      const { devices } = await inside(silt, id);
      let second: Promise<string> | undefined;
      await midUpdate(id, async () => {
        second = silt.must(['update', '--memory', '60M', id]);
        await sleep(300);
      });
      await second;
      expect(await inside(silt, id)).toEqual({ limits: '62914560 20 2048 50000 50000 0', devices });
      expect(await file(id, 'freezer', 'state')).toBe('THAWED');
      await silt.must(['delete', '--force', id]);
    });

    test('an update writes the devices that the container was given, not those that it finds while systemd writes them', async () => {
      const id = host().newId();
      await start(silt, id, limited(id));
      const { devices } = await inside(silt, id);
      const sorted = async (): Promise<string[]> => (await file(id, 'devices', 'list')).split('\n').sort();
      expect(await file(id, 'devices', 'deny', 'c 10:229 rw')).not.toContain('10:229');
      await silt.must(['update', '--memory', '50M', id]);
      expect(await sorted()).toEqual(devices);
      const given = { devices: [LIMITS.devices[0], { allow: true, type: 'c', major: 10, minor: 183, access: 'rw' }] };
      await silt.must(['update', '--resources', '-', id], { stdin: Buffer.from(JSON.stringify(given)) });
      const changed = await sorted();
      expect([changed.includes('c 10:183 rw'), changed.includes('c 10:229 rw')]).toEqual([true, false]);
      await file(id, 'devices', 'deny', 'c 10:183 rw');
      await silt.must(['update', '--memory', '60M', id]);
      expect(await sorted()).toEqual(changed);
      await silt.must(['delete', '--force', id]);
    });

    test('a list of devices that are denied is refused: systemd would not keep it', async () => {
      const id = host().newId();
      const devices = [
        { allow: true, access: 'rwm' },
        { allow: false, type: 'c', major: 1, minor: 11, access: 'rwm' },
      ];
      const { code, stderr } = await run(id, { resources: { devices } });
      expect([code, stderr]).toEqual([1, expect.stringContaining('$.linux.resources.devices: on cgroup v1 systemd')]);
      await gone(id);
    });
  });
}
