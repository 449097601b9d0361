/** Both services of a shim over either protocol, by a client that does what containerd 2 does for a pod without a pause container. */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client as GrpcClient, credentials } from '@grpc/grpc-js';
import { Client as TtrpcClient } from 'ttrpc';
import { sandboxMethods, sandboxServiceName, taskMethods, taskServiceNames } from '../../proto';
import { binDirectory, type Containerd, containerdSuite, isAlive, mustRun, siltTest, waitFor } from '../harness';

const services = { sandbox: sandboxMethods, task: taskMethods } as const;
const names = { sandbox: sandboxServiceName, task: taskServiceNames[3] } as const;

interface ShimClient {
  readonly call: (service: keyof typeof services, method: string, request: object) => Promise<Answer>;
  readonly close: () => void;
}
type Answer = Record<string, unknown> & { readonly pid: number; readonly exitStatus: number };
type Messages = Record<
  string,
  { request: { encode(m: object): Uint8Array }; response: { decode(b: Buffer): unknown } }
>;

const clients: Record<'ttrpc' | 'grpc', (path: string) => Promise<ShimClient>> = {
  async ttrpc(path) {
    const client = await TtrpcClient.connect(path);
    return {
      call: (service, method, request) => {
        const messages = (services[service] as Record<string, object>)[method];
        return client.call({ service: names[service], method, ...messages } as never, request as never);
      },
      close: () => void client.close(),
    };
  },
  grpc(path) {
    const client = new GrpcClient(`unix:${path}`, credentials.createInsecure());
    const call: ShimClient['call'] = (service, method, request) =>
      new Promise((resolve, reject) => {
        const messages = (services[service] as unknown as Messages)[method]!;
        client.makeUnaryRequest(
          `/${names[service]}/${method}`,
          (message: object) => Buffer.from(messages.request.encode(message)),
          (bytes: Buffer) => messages.response.decode(bytes) as Answer,
          request,
          (error, answer) => (error ? reject(new Error(error.details)) : resolve(answer!)),
        );
      });
    return Promise.resolve({ call, close: () => client.close() });
  },
};

/** A shim that was started as containerd does it; the protocol is the one of its answer. */
async function startShim(
  host: Containerd,
  id: string,
  wanted: string,
): Promise<ShimClient & { readonly path: string }> {
  const bundle = mkdtempSync(join(host.directory, 'bundle-'));
  const flags = ['-namespace', host.namespace, '-address', host.paths.socket, '-publish-binary', host.peer.containerd];
  const env = { ...host.environment, SILT_SHIM_PROTOCOL: wanted };
  const shim = join(binDirectory, 'containerd-shim-silt-v1');
  const { stdout } = await mustRun([shim, ...flags, '-id', id, 'start'], { cwd: bundle, env });
  const { address, protocol } = JSON.parse(stdout.toString()) as { address: string; protocol: 'ttrpc' | 'grpc' };
  expect(protocol).toBe(wanted);
  const path = address.replace('unix://', '');
  return { ...(await clients[protocol](path)), path };
}

/** The bundle of a container that belongs to a pod, with busybox alone. */
function makeBundle(host: Containerd, pod: string, sandbox: number): string {
  const bundle = mkdtempSync(join(host.directory, 'bundle-'));
  mkdirSync(join(bundle, 'rootfs/bin'), { recursive: true });
  copyFileSync('/bin/busybox', join(bundle, 'rootfs/bin/busybox'));
  const joined = ['network', 'ipc', 'uts'].map((type) => {
    return { type, path: `/proc/${sandbox}/ns/${type === 'network' ? 'net' : type}` };
  });
  const spec = {
    ociVersion: '1.1.0',
    process: { cwd: '/', args: ['/bin/busybox', 'sleep', '1000'], user: { uid: 0, gid: 0 } },
    root: { path: 'rootfs' },
    annotations: { 'io.kubernetes.cri.sandbox-id': pod, 'io.kubernetes.cri.container-type': 'container' },
    linux: { cgroupsPath: `/${host.mark}/${pod}`, namespaces: [{ type: 'mount' }, { type: 'pid' }, ...joined] },
  };
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
  return bundle;
}

containerdSuite('the services of a shim', { onlyPeer: 'system' }, (host) => {
  for (const protocol of ['ttrpc', 'grpc'] as const) {
    siltTest(`over ${protocol}: a pod from CreateSandbox to ShutdownSandbox, a container in it`, async () => {
      const sandboxId = host().newId('pod');
      const { call, close, path } = await startShim(host(), sandboxId, protocol);
      await call('sandbox', 'CreateSandbox', { sandboxId });
      await expect(call('sandbox', 'CreateSandbox', { sandboxId })).rejects.toThrow(`${sandboxId} exists already`);
      await expect(call('sandbox', 'SandboxStatus', { sandboxId: 'none' })).rejects.toThrow('there is no sandbox none');
      const { pid: sandbox } = await call('sandbox', 'StartSandbox', { sandboxId });
      expect(isAlive(sandbox)).toBe(true);
      expect(await call('sandbox', 'Platform', { sandboxId })).toMatchObject({ platform: { os: 'linux' } });
      await call('sandbox', 'PingSandbox', { sandboxId });
      expect(await call('sandbox', 'SandboxStatus', { sandboxId, verbose: true })).toMatchObject({
        pid: sandbox,
        state: 'SANDBOX_READY',
      });
      const ended = call('sandbox', 'WaitSandbox', { sandboxId });
      const id = host().newId();
      const { pid } = await call('task', 'Create', { id, bundle: makeBundle(host(), sandboxId, sandbox) });
      await expect(call('task', 'Create', { id, bundle: '/none' })).rejects.toThrow(`container ${id} exists already`);
      expect((await call('task', 'Start', { id })).pid).toBe(pid);
      expect(await call('task', 'Pids', { id })).toMatchObject({ processes: [{ pid }] });
      expect(await call('task', 'State', { id })).toMatchObject({ id, pid, status: 2 });
      expect((await call('task', 'Stats', { id }))['stats']).toBeDefined();
      await call('task', 'Pause', { id });
      await call('task', 'Resume', { id });
      const exit = call('task', 'Wait', { id });
      await call('task', 'Kill', { id, signal: 9 });
      expect((await exit).exitStatus).toBe(137);
      expect(await call('task', 'Delete', { id })).toMatchObject({ pid, exitStatus: 137 });
      await call('sandbox', 'StopSandbox', { sandboxId });
      await ended;
      expect(await call('sandbox', 'SandboxStatus', { sandboxId })).toMatchObject({ state: 'SANDBOX_NOTREADY' });
      await call('sandbox', 'ShutdownSandbox', { sandboxId });
      close();
      await waitFor('the shim’s socket to be gone', () => !existsSync(path));
      expect(isAlive(sandbox)).toBe(false);
    });
  }
});
