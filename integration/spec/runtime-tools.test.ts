/**
 * The validation cases of the OCI runtime-tools (opencontainers/runtime-tools, validation/): which of our tests look at what each looks at, and
 * those that nothing else looked at, under silt and under runc.
 */
import { existsSync, mkdirSync, readFileSync, readlinkSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkout, commandLineSuite, type Runtime, waitFor } from '../harness';

/** By the case's name: a file, and words that stand in it. Those in this file are below. */
const CASES: Readonly<Record<string, readonly [string, string]>> = {
  config_updates_without_affect: ['integration/spec/runtime-tools.test.ts', 'a change of config.json'],
  create: ['integration/spec/runtime-tools.test.ts', 'create wants an id'],
  default: ['integration/cli/host-commands.test.ts', 'spec writes what runc does'],
  delete: ['integration/cli/life-cycle.test.ts', 'fails as with runc where a command does not fit the state'],
  delete_only_create_resources: [
    'integration/spec/runtime-tools.test.ts',
    'delete leaves what the container did not make',
  ],
  delete_resources: ['integration/harness/command-line.ts', 'leaves nothing behind'],
  hooks: ['integration/spec/hooks.test.ts', 'all six kinds run in their order'],
  hooks_stdin: ['integration/spec/hooks.test.ts', 'with the container’s state on stdin'],
  hostname: ['integration/spec/fields.test.ts', "name: 'hostname'"],
  kill: ['integration/cli/beside-others.test.ts', 'kill of one that is not there'],
  kill_no_effect: ['integration/spec/runtime-tools.test.ts', 'a signal to one that has stopped'],
  killsig: ['integration/spec/runtime-tools.test.ts', 'each signal reaches the process'],
  linux_cgroups_blkio: ['integration/spec/resources.test.ts', "'blkio'"],
  linux_cgroups_cpus: ['integration/spec/resources.test.ts', "'cpu'"],
  linux_cgroups_devices: ['integration/spec/resources.test.ts', "'devices'"],
  linux_cgroups_hugetlb: ['integration/spec/resources.test.ts', 'hugetlb'],
  linux_cgroups_memory: ['integration/spec/resources.test.ts', "'memory'"],
  linux_cgroups_network: ['integration/spec/resources.test.ts', 'net_prio'],
  linux_cgroups_pids: ['integration/spec/resources.test.ts', "'pids'"],
  ...Object.fromEntries(
    ['blkio', 'cpus', 'devices', 'hugetlb', 'memory', 'network', 'pids'].map((name) => [
      `linux_cgroups_relative_${name}`,
      ['integration/spec/resources.test.ts', 'a relative path'] as const,
    ]),
  ),
  linux_devices: ['integration/spec/fields.test.ts', "name: 'linux.devices'"],
  linux_masked_paths: ['integration/spec/fields.test.ts', 'linux.maskedPaths'],
  linux_mount_label: ['gofer/mount-label.test.ts', 'label'],
  linux_ns_itype: ['integration/spec/runtime-tools.test.ts', 'namespaces that are not listed are the host’s'],
  linux_ns_nopath: ['integration/spec/runtime-tools.test.ts', 'those without a path are new'],
  linux_ns_path: ['integration/spec/namespaces.test.ts', 'namespace of a path is the container’s'],
  linux_ns_path_type: ['integration/spec/namespaces.test.ts', 'a path of another kind of namespace is refused'],
  linux_process_apparmor_profile: ['integration/spec/fields.test.ts', 'process.apparmorProfile'],
  linux_readonly_paths: ['integration/spec/fields.test.ts', 'linux.readonlyPaths'],
  linux_rootfs_propagation: ['integration/spec/beside-runc.test.ts', 'a root whose propagation is'],
  linux_seccomp: ['integration/spec/seccomp-calls.test.ts', 'each action'],
  linux_sysctl: ['integration/spec/fields.test.ts', 'linux.sysctl'],
  linux_uid_mappings: ['integration/spec/fields.test.ts', 'a user namespace of the spec has its mappings'],
  misc_props: ['integration/spec/runtime-tools.test.ts', 'unknown properties and annotations'],
  mounts: ['integration/spec/mounts.test.ts', 'the flags of a mount'],
  pidfile: ['integration/cli/life-cycle.test.ts', 'wait for the pid in the pid file'],
  poststart: ['integration/spec/hooks.test.ts', "'poststart'"],
  poststart_fail: ['integration/spec/hooks.test.ts', 'hook that fails ends the start'],
  poststop: ['integration/spec/hooks.test.ts', "'poststop'"],
  poststop_fail: ['integration/spec/hooks.test.ts', 'a poststop hook that fails is no failure of the deletion'],
  prestart: ['integration/spec/hooks.test.ts', "'prestart'"],
  prestart_fail: ['integration/spec/hooks.test.ts', 'hook that fails ends the start'],
  process: ['integration/spec/fields.test.ts', 'process.cwd'],
  process_capabilities: ['integration/spec/fields.test.ts', 'process.capabilities'],
  // OCI 1.1 has it otherwise than the case: what is not known is left out, and told.
  process_capabilities_fail: ['oci/capabilities.test.ts', 'unknown names are left out and told'],
  process_oom_score_adj: ['integration/spec/fields.test.ts', 'process.oomScoreAdj'],
  process_rlimits: ['integration/spec/fields.test.ts', 'process.rlimits'],
  process_rlimits_fail: ['integration/spec/runtime-tools.test.ts', 'a limit that is none'],
  process_user: ['integration/spec/fields.test.ts', 'process.user'],
  root_readonly_true: ['integration/spec/fields.test.ts', 'root.readonly'],
  start: ['integration/spec/runtime-tools.test.ts', 'a program runs at start'],
  state: ['integration/cli/life-cycle.test.ts', 'prints the state and lists as runc does'],
};

test('each of the 58 cases has a test', () => {
  expect(Object.keys(CASES)).toHaveLength(58);
  for (const [name, [file, words]] of Object.entries(CASES)) {
    const found = readFileSync(join(checkout, file), 'utf8').split(words).length - 1;
    // Here they stand in the table, too.
    expect([name, found > (file.endsWith('runtime-tools.test.ts') ? 1 : 0)]).toEqual([name, true]);
  }
});

commandLineSuite('cases of the runtime-tools', (host) => {
  const both = (): readonly Runtime[] => [host().silt, host().runc];
  const stopped = (runtime: Runtime, id: string): Promise<unknown> =>
    waitFor(`the end of ${id}`, async () => (await runtime.status(id)) === 'stopped');

  /** A container whose script has a directory of the host at /mnt; its id, bundle and what the script writes to a file there. */
  function scripted(script: string, changes: { process?: object; linux?: object } = {}) {
    const id = host().newId();
    const volume = join(host().directory, `volume-${id}`);
    mkdirSync(volume);
    const mount = { destination: '/mnt', type: 'bind', source: volume, options: ['rbind', 'rw'] };
    const bundle = host().bundle(['sh', '-c', script], { mounts: [mount], ...changes });
    const written = (name: string): string =>
      existsSync(join(volume, name)) ? readFileSync(join(volume, name), 'utf8') : '';
    return { id, bundle, written };
  }
  const change = (bundle: string, more: object): void => {
    const config = join(bundle, 'config.json');
    const spec = JSON.parse(readFileSync(config, 'utf8')) as object;
    writeFileSync(config, JSON.stringify({ ...spec, ...more }));
  };

  test('a change of config.json after the creation has no effect', async () => {
    for (const runtime of both()) {
      const process = { oomScoreAdj: 100, rlimits: [{ type: 'RLIMIT_NOFILE', soft: 321, hard: 321 }] };
      const script = 'cat /proc/self/oom_score_adj > /mnt/out; ulimit -n >> /mnt/out';
      const { id, bundle, written } = scripted(script, { process });
      await runtime.must(['create', '--bundle', bundle, id]);
      writeFileSync(join(bundle, 'config.json'), '{"ociVersion":"1.0.0"}');
      await runtime.must(['start', id]);
      await stopped(runtime, id);
      expect(written('out')).toBe('100\n321\n');
      await runtime.must(['delete', id]);
    }
  });

  test('create wants an id, one that is not taken', async () => {
    for (const runtime of both()) {
      const { id, bundle } = scripted('true');
      expect((await runtime.run(['create', '--bundle', bundle])).code).not.toBe(0);
      await runtime.must(['create', '--bundle', bundle, id]);
      expect(await runtime.status(id)).toBe('created');
      expect((await runtime.run(['create', '--bundle', bundle, id])).code).not.toBe(0);
      expect(await runtime.status(id)).toBe('created');
      await runtime.must(['delete', '--force', id]);
    }
  });

  test('a program runs at start, once, and not before', async () => {
    for (const runtime of both()) {
      const { id, bundle, written } = scripted('echo called >> /mnt/out');
      expect((await runtime.run(['start'])).code).not.toBe(0);
      expect((await runtime.run(['start', id])).code).not.toBe(0);
      await runtime.must(['create', '--bundle', bundle, id]);
      expect(written('out')).toBe('');
      await runtime.must(['start', id]);
      await stopped(runtime, id);
      expect(written('out')).toBe('called\n');
      expect((await runtime.run(['start', id])).code).not.toBe(0);
      expect(written('out')).toBe('called\n');
      await runtime.must(['delete', id]);
      // Without a program there is nothing to start.
      change(bundle, { process: undefined });
      const created = await runtime.run(['create', '--bundle', bundle, id]);
      if (created.code === 0) expect((await runtime.run(['start', id])).code).not.toBe(0);
      await runtime.must(['delete', '--force', id]);
    }
  });

  test('a signal to one that has stopped has no effect on it', async () => {
    for (const runtime of both()) {
      const { id, bundle } = scripted('true');
      await runtime.must(['create', '--bundle', bundle, id]);
      await runtime.must(['start', id]);
      await stopped(runtime, id);
      const before = await runtime.must(['state', id]);
      expect((await runtime.run(['kill', id, 'KILL'])).code).toBe(1);
      expect(await runtime.must(['state', id])).toBe(before);
      await runtime.must(['delete', id]);
    }
  });

  test('each signal reaches the process, by whichever of its names', async () => {
    const names = ['HUP', 'INT', 'QUIT', 'USR1', 'USR2', 'PIPE', 'ALRM', 'TERM', 'CONT', 'WINCH'];
    const given = ['HUP', 'SIGINT', '3', 'usr1', 'SIGUSR2', '13', 'ALRM', 'sigterm', 'CONT', '28'];
    const traps = names.map((name) => `trap 'echo ${name} >> /mnt/out' ${name};`).join(' ');
    for (const runtime of both()) {
      const { id, bundle, written } = scripted(`${traps} echo ready >> /mnt/out; while :; do sleep 0.01; done`);
      await runtime.must(['run', '--detach', '--bundle', bundle, id]);
      await waitFor('it to be ready', () => written('out') !== '');
      for (const [i, signal] of given.entries()) {
        await runtime.must(['kill', id, signal]);
        await waitFor(`the signal ${signal}`, () => written('out').trim().split('\n').length === i + 2);
      }
      expect(written('out').trim().split('\n').slice(1)).toEqual(names);
      await runtime.must(['delete', '--force', id]);
    }
  });

  test('unknown properties and annotations are no error, values that are none are one', async () => {
    for (const runtime of both()) {
      const { id, bundle } = scripted('exit 3');
      change(bundle, { unknown: 'unknown', annotations: { 'org.example.unknown': '' } });
      expect((await runtime.run(['run', '--bundle', bundle, id])).code).toBe(3);
      change(bundle, { ociVersion: 'invalid' });
      // runc does not look at it.
      expect((await runtime.run(['run', '--bundle', bundle, id])).code).toBe(runtime === host().silt ? 1 : 3);
    }
  });

  test('a limit that is none of the kernel’s is an error', async () => {
    for (const runtime of both()) {
      const { id, bundle } = scripted('true', { process: { rlimits: [{ type: 'RLIMIT_TEST', soft: 1, hard: 1 }] } });
      const { code, stderr } = await runtime.run(['run', '--bundle', bundle, id]);
      expect([code, stderr]).toEqual([1, expect.stringContaining('RLIMIT_TEST')]);
    }
  });

  test('delete leaves what the container did not make: a cgroup that it was put into', async () => {
    const pids = existsSync('/sys/fs/cgroup/pids') ? '/sys/fs/cgroup/pids' : '/sys/fs/cgroup';
    for (const runtime of both()) {
      const kept = join(pids, host().mark, 'kept');
      mkdirSync(kept, { recursive: true });
      const { id, bundle } = scripted('true');
      await runtime.must(['create', '--bundle', bundle, id]);
      const { pid } = JSON.parse(await runtime.must(['state', id])) as { pid: number };
      writeFileSync(join(kept, 'cgroup.procs'), `${pid}`);
      await runtime.must(['start', id]);
      await stopped(runtime, id);
      await runtime.must(['delete', id]);
      expect(existsSync(kept)).toBe(true);
      rmdirSync(kept);
    }
  });

  describe('namespaces', () => {
    const KINDS = ['cgroup', 'ipc', 'net', 'pid', 'uts'];
    const linksOf = (pid: number | 'self', kinds: readonly string[]): string[] =>
      kinds.map((kind) => readlinkSync(`/proc/${pid}/ns/${kind}`));
    const linksIn = async (runtime: Runtime, namespaces: object[], kinds: readonly string[]): Promise<string[]> => {
      const id = host().newId();
      await runtime.must(['create', '--bundle', host().sleeper({ namespaces }), id]);
      const { pid } = JSON.parse(await runtime.must(['state', id])) as { pid: number };
      const links = linksOf(pid, kinds);
      await runtime.must(['delete', '--force', id]);
      return links;
    };

    test('namespaces that are not listed are the host’s', async () => {
      // All of the host's: then silt chooses no user namespace either.
      const kinds = [...KINDS, 'user'];
      for (const runtime of both())
        expect(await linksIn(runtime, [{ type: 'mount' }], kinds)).toEqual(linksOf('self', kinds));
    });

    test('those without a path are new', async () => {
      const types = ['cgroup', 'ipc', 'network', 'pid', 'uts', 'mount'].map((type) => ({ type }));
      const own = linksOf('self', [...KINDS, 'mnt']);
      for (const runtime of both())
        expect((await linksIn(runtime, types, [...KINDS, 'mnt'])).filter((link) => own.includes(link))).toEqual([]);
    });
  });
});
