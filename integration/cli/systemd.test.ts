/** `--systemd-cgroup`: systemd makes the cgroup, as a unit. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { commandLineSuite, Runtime, siltProgram, Systemd, waitFor, whyNoSystemd } from '../harness';

const reason = whyNoSystemd();

commandLineSuite(`cgroups by systemd${reason === undefined ? '' : ` [skipped: ${reason}]`}`, (host) => {
  if (reason !== undefined) {
    test.skip(`need it [skipped: ${reason}]`, () => undefined);
    return;
  }
  let systemd: Systemd;
  let silt: Runtime;

  beforeAll(async () => {
    systemd = await Systemd.start(`${host().mark}-systemd`);
    const program = systemd.wrapper(join(host().directory, 'silt-beside-systemd'), siltProgram);
    silt = new Runtime(program, host().silt.root, host().environment);
  }, 60_000);

  afterAll(async () => {
    await systemd.stop();
  }, 60_000);

  const run = async (id: string, changes: object, annotations = {}): Promise<ReturnType<Runtime['run']>> => {
    const bundle = host().sleeper({ annotations, linux: { cgroupsPath: `test-pods.slice:box:${id}`, ...changes } });
    return silt.run(['--systemd-cgroup', 'run', '--detach', '--pid-file', join(bundle, 'pid'), '--bundle', bundle, id]);
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
});
