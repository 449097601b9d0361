/** Shims that no containerd knows of any more, or not yet: it was killed, or did not wait for them. */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Containerd, containerdSuite, isAlive, siltTest, sleep, waitFor } from '../harness';
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

/** The bundle of a container with busybox alone. */
function makeBundle(host: Containerd, hooks: object = {}): string {
  const bundle = mkdtempSync(join(host.directory, 'bundle-'));
  mkdirSync(join(bundle, 'rootfs/bin'), { recursive: true });
  copyFileSync('/bin/busybox', join(bundle, 'rootfs/bin/busybox'));
  const spec = {
    ociVersion: '1.1.0',
    process: { cwd: '/', args: ['/bin/busybox', 'sleep', '1000'], user: { uid: 0, gid: 0 } },
    root: { path: 'rootfs' },
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
    hooks,
    linux: { cgroupsPath: `/${host.mark}/orphan`, namespaces: [{ type: 'mount' }, { type: 'pid' }] },
  };
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
  return bundle;
}

containerdSuite('shims without a containerd', { onlyPeer: 'system' }, (host) => {
  const id = 'orphan';
  const stateOf = (): string => join(host().siltRoot, host().namespace, id);

  /** A Create that stands in its createRuntime hook. */
  const createUpToHook = async (client: ShimClient, bundle: string, hooks: WaitingHooks): Promise<() => string> => {
    let answer = 'Create has not answered';
    client
      .task('Create', { id, bundle })
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
    process.kill(shim, 'SIGTERM');
    await waitFor('the shim to have heard', () => !existsSync(client.path));
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
