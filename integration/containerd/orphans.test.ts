/** Shims that no containerd knows of any more, or not yet: it was killed, or did not wait for them. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import {
  type Containerd,
  containerdSuite,
  isAlive,
  isSilt,
  sandboxPid,
  siltTest,
  sleep,
  testIf,
  waitFor,
} from '../harness';
import { Fifo } from '../harness/fifo';
import { ownerOfSocket } from '../harness/processes';
import { ShimClient } from '../harness/shim-client';

/** Hooks of a container that say that they have begun, and wait for a word. */
class WaitingHooks {
  readonly spec: Record<string, unknown> = {};
  readonly #fifos = new Map<string, Fifo>();

  private constructor(private readonly directory: string) {}

  static async make(directory: string, ...kinds: string[]): Promise<WaitingHooks> {
    const hooks = new WaitingHooks(directory);
    for (const kind of kinds) {
      const fifo = await Fifo.make(directory);
      hooks.#fifos.set(kind, fifo);
      const script = `echo begun >> ${hooks.#path(kind)}; read word < ${fifo.path}`;
      hooks.spec[kind] = [{ path: '/bin/sh', args: ['sh', '-c', script] }];
    }
    return hooks;
  }

  #path(kind: string): string {
    return join(this.directory, kind);
  }

  async begun(kind: string, detail: () => string): Promise<void> {
    await waitFor(`${kind} to begin`, () => existsSync(this.#path(kind)), { detail });
  }

  go(kind: string): void {
    this.#fifos.get(kind)!.write('go\n');
  }

  /** What it has said. */
  read(kind: string): string {
    return readFileSync(this.#path(kind), 'utf8');
  }

  close(): void {
    for (const fifo of this.#fifos.values()) fifo.close();
  }
}

const cri = 'io.kubernetes.cri';
const namespacesOf = (sandbox: number): object[] =>
  ['ipc', 'uts', 'network'].map((type) => ({
    type,
    path: `/proc/${sandbox}/ns/${type === 'network' ? 'net' : type}`,
  }));

/** The bundle of a container with busybox alone: the first of its pod, or one in the pod whose sandbox is given. */
function makeBundle(
  host: Containerd,
  hooks: object = {},
  inside?: { pod: string; sandbox: number },
  cgroup = 'orphan',
): string {
  const bundle = mkdtempSync(join(host.directory, 'bundle-'));
  mkdirSync(join(bundle, 'rootfs/bin'), { recursive: true });
  copyFileSync('/bin/busybox', join(bundle, 'rootfs/bin/busybox'));
  const spec = {
    ociVersion: '1.1.0',
    process: { cwd: '/', args: ['/bin/busybox', 'sleep', '1000'], user: { uid: 0, gid: 0 } },
    root: { path: 'rootfs' },
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
    hooks,
    annotations: inside ? { [`${cri}.sandbox-id`]: inside.pod, [`${cri}.container-type`]: 'container' } : {},
    linux: {
      cgroupsPath: `/${host.mark}/${cgroup}`,
      namespaces: [{ type: 'mount' }, { type: 'pid' }, ...(inside ? namespacesOf(inside.sandbox) : [])],
    },
  };
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
  return bundle;
}

containerdSuite('shims without a containerd', { onlyPeer: 'system' }, (host) => {
  const id = 'orphan';
  const stateOf = (): string => join(host().siltRoot, host().namespace, id);

  /** A Create that stands in its createRuntime hook. */
  const createUpToHook = async (
    client: ShimClient,
    bundle: string,
    hooks: WaitingHooks,
    container = id,
  ): Promise<() => string> => {
    let answer = 'Create has not answered';
    client
      .task('Create', { id: container, bundle })
      .then(({ pid }) => (answer = `pid ${pid}`))
      .catch((error: unknown) => (answer = String(error)));
    await hooks.begun('createRuntime', () => answer);
    expect(existsSync(stateOf())).toBe(true);
    return () => answer;
  };

  siltTest('a Create whose caller goes away is taken back, before any Delete, and the shim ends', async () => {
    const hooks = await WaitingHooks.make(mkdtempSync(join(host().directory, 'hooks-')), 'createRuntime', 'poststop');
    const bundle = makeBundle(host(), hooks.spec);
    const client = await ShimClient.start(host(), id, 'ttrpc', bundle);
    const answer = await createUpToHook(client, bundle, hooks);
    await client.close();
    hooks.go('createRuntime');
    await hooks.begun('poststop', answer);

    // What the next containerd asks of a task that it finds.
    const next = await ShimClient.start(host(), id, 'ttrpc', bundle);
    expect(next.path).toBe(client.path);
    const heard = expect(next.task('Delete', { id })).rejects.toThrow('there is no container orphan in this pod');
    await next.task('Connect', { id });
    hooks.go('poststop');
    await heard;
    await waitFor('all of it to be gone', () => !existsSync(stateOf()) && !existsSync(client.path));
    expect(hooks.read('poststop')).toBe('begun\n');
    await next.close();
    hooks.close();
  });

  siltTest('a shim that is told to end in the middle of a Create takes it back and says so', async () => {
    const hooks = await WaitingHooks.make(mkdtempSync(join(host().directory, 'hooks-')), 'createRuntime', 'poststop');
    const bundle = makeBundle(host(), hooks.spec);
    const client = await ShimClient.start(host(), id, 'ttrpc', bundle);
    const answer = await createUpToHook(client, bundle, hooks);
    const shim = ownerOfSocket(client.path)!;
    const sandbox = sandboxPid(host(), id);
    process.kill(shim, 'SIGTERM');
    await waitFor('the shim to have heard', () => !existsSync(client.path));
    await waitFor('the sandbox to let go', () => !existsSync(`/proc/${sandbox}/ns/mnt`));
    // Whoever has to clean up after a shim that is killed now finds the container's cgroup by it.
    await sleep(500);
    expect(existsSync(join(stateOf(), id, 'container.json'))).toBe(true);
    hooks.go('createRuntime');
    await hooks.begun('poststop', answer);
    // Longer than other calls have at the end of a shim.
    await sleep(2000);
    hooks.go('poststop');
    await waitFor('the shim to end', () => !isAlive(shim), { detail: answer });
    expect(answer()).toBe('Error: cannot create container orphan: its pod orphan is ending');
    expect(hooks.read('poststop')).toBe('begun\n');
    expect(existsSync(stateOf())).toBe(false);
    await client.close();
    hooks.close();
  });

  siltTest(
    'a pod that is stopped in the middle of a Create is stopped at once, and the Create is taken back',
    async () => {
      const hooks = await WaitingHooks.make(mkdtempSync(join(host().directory, 'hooks-')), 'createRuntime', 'poststop');
      const client = await ShimClient.start(host(), id, 'ttrpc');
      const shim = ownerOfSocket(client.path)!;
      await client.sandbox('CreateSandbox', { sandboxId: id });
      const sandbox = (await client.sandbox('StartSandbox', { sandboxId: id })).pid;
      const inner = 'inside';
      const bundle = makeBundle(host(), hooks.spec, { pod: id, sandbox });
      const answer = await createUpToHook(client, bundle, hooks, inner);
      const waited = client.sandbox('WaitSandbox', { sandboxId: id });
      await client.sandbox('StopSandbox', { sandboxId: id });
      await waited;
      expect(await client.sandbox('SandboxStatus', { sandboxId: id })).toMatchObject({ state: 'SANDBOX_NOTREADY' });
      expect(existsSync(`/proc/${sandbox}/ns/mnt`)).toBe(false);
      const shutdown = client.sandbox('ShutdownSandbox', { sandboxId: id });
      await waitFor('the shim to have heard', () => !existsSync(client.path));
      expect(existsSync(join(stateOf(), inner, 'container.json'))).toBe(true);
      hooks.go('createRuntime');
      await hooks.begun('poststop', answer);
      hooks.go('poststop');
      await shutdown;
      await waitFor('the shim to end', () => !isAlive(shim), { detail: answer });
      expect(answer()).toBe(`Error: cannot create container ${inner}: its pod ${id} is ending`);
      expect(existsSync(stateOf())).toBe(false);
      await client.close();
      hooks.close();
    },
  );

  // On v2 nothing keeps a process from dying that a test could do.
  const freezer = '/sys/fs/cgroup/freezer';
  testIf(isSilt && existsSync(join(freezer, 'tasks')), 'needs the freezer of cgroup v1, and silt')(
    'a container that cannot be killed keeps no other from its end, and stays on record until it can',
    async () => {
      const client = await ShimClient.start(host(), id, 'ttrpc');
      const shim = ownerOfSocket(client.path)!;
      await client.sandbox('CreateSandbox', { sandboxId: id });
      const sandbox = (await client.sandbox('StartSandbox', { sandboxId: id })).pid;
      const pids: Record<string, number> = {};
      for (const name of ['free', 'held/stuck']) {
        const bundle = makeBundle(host(), {}, { pod: id, sandbox }, name);
        const request = { id: basename(name) };
        pids[request.id] = (await client.task('Create', { ...request, bundle })).pid;
        await client.task('Start', request);
      }
      // The container's own thaws for its end, but not what is above it.
      const above = join(freezer, host().mark, 'held/freezer.state');
      writeFileSync(above, 'FROZEN');
      try {
        process.kill(shim, 'SIGTERM');
        await waitFor('the free one to end', () => !isAlive(pids['free']!));
        await waitFor('the shim to end', () => !isAlive(shim), { timeoutMs: 30_000 });
        expect(isAlive(pids['stuck']!)).toBe(true);
        expect(existsSync(join(stateOf(), 'stuck/container.json'))).toBe(true);
        expect(existsSync(join(stateOf(), 'free'))).toBe(false);
      } finally {
        writeFileSync(above, 'THAWED');
      }
      await waitFor('the other to end', () => !isAlive(pids['stuck']!));
      await ShimClient.cleanUp(host(), id, host().directory);
      expect(existsSync(stateOf())).toBe(false);
      expect(existsSync(join(freezer, host().mark, 'held/stuck'))).toBe(false);
      await client.close();
      for (const one of readdirSync('/sys/fs/cgroup')) {
        const path = join('/sys/fs/cgroup', one, host().mark, 'held');
        if (existsSync(path)) rmdirSync(path);
      }
    },
    60_000,
  );

  siltTest(
    'a pod that has been cleaned up and is started again is one pod, and stays',
    async () => {
      const bundle = makeBundle(host());
      const first = await ShimClient.start(host(), id, 'ttrpc', bundle);
      await first.close();
      await ShimClient.cleanUp(host(), id, bundle);
      const client = await ShimClient.start(host(), id, 'ttrpc', bundle);
      const { pid } = await client.task('Create', { id, bundle });
      const shim = ownerOfSocket(client.path)!;
      // Longer than a shim waits for somebody to come.
      await sleep(8000);
      expect([stateOf(), join(stateOf(), 'pod.json'), client.path].filter((path) => !existsSync(path))).toEqual([]);
      expect(isAlive(pid)).toBe(true);
      await client.task('Kill', { id, signal: 9, all: true });
      expect(await client.task('Wait', { id })).toMatchObject({ exitStatus: 137 });
      await client.task('Delete', { id });
      await client.task('Shutdown', { id });
      await client.close();
      await waitFor('the shim to end', () => !isAlive(shim));
      expect([stateOf(), client.path].filter((path) => existsSync(path))).toEqual([]);
      rmSync(bundle, { recursive: true });
    },
    40_000,
  );
});
