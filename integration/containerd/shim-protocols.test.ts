/** Every method of both services of a shim over either protocol, by a client that does what containerd 2 does for a pod without a pause container. */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  CgroupV1Metrics,
  CgroupV2Metrics,
  packAny,
  packSpec,
  PodSandboxConfig,
  sandboxMethods,
  taskMethods,
  TaskStatus,
  unpackAny,
  type Any,
} from '../../proto';
import { type Containerd, containerdSuite, findCriu, isAlive, siltTest, waitFor } from '../harness';
import { Fifo } from '../harness/fifo';
import { ShimClient, type ShimProtocol } from '../harness/shim-client';

/** Numbers of gRPC's statuses, which ttrpc has too. */
const status = { notFound: 5, exists: 6, precondition: 9, unimplemented: 12 } as const;
const process = (...args: string[]): object => ({
  cwd: '/',
  args: ['/bin/busybox', ...args],
  user: { uid: 0, gid: 0 },
});

/** The bundle of a container that belongs to a pod, with busybox alone. */
function makeBundle(host: Containerd, pod: string, sandbox: number, cgroup = pod): string {
  const bundle = mkdtempSync(join(host.directory, 'bundle-'));
  mkdirSync(join(bundle, 'rootfs/bin'), { recursive: true });
  copyFileSync('/bin/busybox', join(bundle, 'rootfs/bin/busybox'));
  const joined = ['network', 'ipc', 'uts'].map((type) => {
    return { type, path: `/proc/${sandbox}/ns/${type === 'network' ? 'net' : type}` };
  });
  const spec = {
    ociVersion: '1.1.0',
    process: process('sleep', '1000'),
    root: { path: 'rootfs' },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['newinstance', 'ptmxmode=0666', 'mode=0620'],
      },
    ],
    annotations: { 'io.kubernetes.cri.sandbox-id': pod, 'io.kubernetes.cri.container-type': 'container' },
    linux: { cgroupsPath: `/${host.mark}/${cgroup}`, namespaces: [{ type: 'mount' }, { type: 'pid' }, ...joined] },
  };
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
  return bundle;
}

const criu = findCriu();
const settings = { onlyPeer: 'system', ...('path' in criu ? { criu: criu.path } : {}) } as const;
containerdSuite('the services of a shim', settings, (host) => {
  for (const protocol of ['ttrpc', 'grpc'] as const) describe(`over ${protocol}`, () => servicesOver(protocol, host));
});

function servicesOver(protocol: ShimProtocol, host: () => Containerd): void {
  let shim: ShimClient;
  let sandboxId = '';
  let sandbox = 0;
  let id = '';
  let pid = 0;
  const exec = async (execId: string, request: object, ...args: string[]): Promise<void> => {
    await shim.task('Exec', { id, execId, ...request, spec: packSpec('process', process(...args)) });
  };
  /** Deletes an exec that has ended with this status. */
  const ended = async (execId: string, exitStatus: number): Promise<void> => {
    expect(await shim.task('Wait', { id, execId })).toMatchObject({ exitStatus });
    expect(await shim.task('Delete', { id, execId })).toMatchObject({ exitStatus });
    await expect(shim.task('State', { id, execId })).rejects.toMatchObject({ status: status.notFound });
  };

  siltTest('a pod is made, and is there', async () => {
    sandboxId = host().newId('pod');
    shim = await ShimClient.start(host(), sandboxId, protocol);
    const options = packAny(PodSandboxConfig, { linux: { cgroupParent: `/${host().mark}` } });
    await shim.sandbox('CreateSandbox', { sandboxId, options });
    await expect(shim.sandbox('CreateSandbox', { sandboxId })).rejects.toMatchObject({
      status: status.exists,
      message: `sandbox ${sandboxId} exists already`,
    });
    await expect(shim.sandbox('SandboxStatus', { sandboxId: 'none' })).rejects.toMatchObject({
      status: status.notFound,
      message: 'there is no sandbox none in this shim',
    });
    sandbox = (await shim.sandbox('StartSandbox', { sandboxId })).pid;
    expect(isAlive(sandbox)).toBe(true);
    expect(await shim.sandbox('Platform', { sandboxId })).toMatchObject({ platform: { os: 'linux' } });
    await shim.sandbox('PingSandbox', { sandboxId });
    expect(await shim.sandbox('SandboxStatus', { sandboxId, verbose: true })).toMatchObject({
      pid: sandbox,
      state: 'SANDBOX_READY',
    });
  });

  siltTest('a container is made and runs', async () => {
    id = host().newId();
    pid = (await shim.task('Create', { id, bundle: makeBundle(host(), sandboxId, sandbox) })).pid;
    await expect(shim.task('Create', { id, bundle: '/none' })).rejects.toMatchObject({
      status: status.exists,
      message: `container ${id} exists already`,
    });
    expect((await shim.task('Start', { id })).pid).toBe(pid);
    await expect(shim.task('Start', { id })).rejects.toMatchObject({ status: status.precondition });
    expect(await shim.task('State', { id })).toMatchObject({ id, pid, status: TaskStatus.RUNNING });
    expect(await shim.task('Connect', { id })).toMatchObject({ taskPid: pid });
    await expect(shim.task('State', { id: 'none' })).rejects.toMatchObject({ status: status.notFound });
  });

  siltTest('exec: input to its end, which CloseIO is, and a terminal that is resized', async () => {
    const [input, output] = [await Fifo.make(host().directory), await Fifo.make(host().directory)];
    await exec('reads', { stdin: input.path, stdout: output.path }, 'cat');
    const { pid: reader } = await shim.task('Start', { id, execId: 'reads' });
    expect((await shim.task('Pids', { id }))['processes']).toMatchObject([{ pid }, { pid: reader }]);
    input.write('words\n');
    await waitFor('the words', () => output.read() === 'words\n');
    // The shim holds the fifo, so that writers may come and go.
    input.close();
    expect(await shim.task('State', { id, execId: 'reads' })).toMatchObject({ status: TaskStatus.RUNNING });
    await shim.task('CloseIO', { id, execId: 'reads', stdin: true });
    await ended('reads', 0);
    output.close();

    const [keys, screen] = [await Fifo.make(host().directory), await Fifo.make(host().directory)];
    await exec('types', { terminal: true, stdin: keys.path, stdout: screen.path }, 'sh');
    await shim.task('Start', { id, execId: 'types' });
    await shim.task('ResizePty', { id, execId: 'types', width: 101, height: 33 });
    await waitFor('the terminal to have its size', () => {
      keys.write('/bin/busybox stty size\n');
      return screen.read().includes('33 101');
    });
    keys.write('exit 5\n');
    await ended('types', 5);
    for (const fifo of [keys, screen]) fifo.close();
    await exec('broken', {}, 'true');
    await expect(exec('broken', {}, 'true')).rejects.toMatchObject({ status: status.exists });
    await shim.task('Delete', { id, execId: 'broken' });
  });

  siltTest('limits are changed and told; a container that is paused runs nothing', async () => {
    const limit = 96 << 20;
    await shim.task('Update', { id, resources: packSpec('linuxResources', { memory: { limit } }) });
    const stats = (await shim.task('Stats', { id }))['stats'] as Any;
    const limits = [
      unpackAny(CgroupV1Metrics, stats)?.memory?.usage?.limit,
      unpackAny(CgroupV2Metrics, stats)?.memory?.usageLimit,
    ];
    expect(limits.map(Number)).toContain(limit);
    const { metrics } = (await shim.sandbox('SandboxMetrics', { sandboxId })) as { metrics?: { data?: Any } };
    expect(metrics?.data?.typeUrl).toBe(stats.typeUrl);
    await expect(shim.sandbox('SandboxMetrics', { sandboxId: 'none' })).rejects.toMatchObject({
      status: status.notFound,
    });
    await shim.task('Pause', { id });
    expect(await shim.task('State', { id })).toMatchObject({ status: TaskStatus.PAUSED });
    await expect(exec('late', {}, 'true')).rejects.toMatchObject({ status: status.precondition });
    await shim.task('Resume', { id });
    expect(await shim.task('State', { id })).toMatchObject({ status: TaskStatus.RUNNING });
  });

  siltTest('a checkpoint is made, or refused in words where there is no CRIU', async () => {
    await exec('fills', {}, 'sh', '-c', 'echo saved > /dev/shm/file');
    await shim.task('Start', { id, execId: 'fills' });
    await ended('fills', 0);
    const path = join(mkdtempSync(join(host().directory, 'checkpoint-')), 'image');
    const outcome = await shim.task('Checkpoint', { id, path }).then(
      () => 'made',
      (error: unknown) => (error as Error).message,
    );
    const hasCriu = 'path' in criu;
    expect(outcome).toMatch(hasCriu ? /^made$/ : /CRIU/);
    expect(existsSync(join(path, 'checkpoint.json'))).toBe(hasCriu);
    expect(await shim.task('State', { id })).toMatchObject({ status: TaskStatus.RUNNING });
    if (hasCriu) await goesOn(path);
  });

  /** A container that goes on from it has what was in the pod's shared memory then; for the others that is as it was. */
  const goesOn = async (checkpoint: string): Promise<void> => {
    const restored = host().newId();
    const reads = async (container: string, text: string): Promise<void> => {
      const request = { id: container, execId: 'compares' };
      const spec = packSpec('process', process('grep', '-x', text, '/dev/shm/file'));
      await shim.task('Exec', { ...request, spec });
      await shim.task('Start', request);
      expect(await shim.task('Wait', request)).toMatchObject({ exitStatus: 0 });
      await shim.task('Delete', request);
    };
    await exec('changes', {}, 'sh', '-c', 'echo later > /dev/shm/file');
    await shim.task('Start', { id, execId: 'changes' });
    await ended('changes', 0);
    await shim.task('Create', { id: restored, bundle: makeBundle(host(), sandboxId, sandbox, 'restored'), checkpoint });
    await shim.task('Start', { id: restored });
    await reads(restored, 'saved');
    await reads(id, 'later');
    await shim.task('Kill', { id: restored, signal: 9, all: true });
    await shim.task('Wait', { id: restored });
    await shim.task('Delete', { id: restored });
  };

  siltTest('what no service has is not implemented', async () => {
    // sandbox.proto has the messages of UpdateSandbox, and no method that takes them.
    await expect(shim.call('sandbox', 'UpdateSandbox')).rejects.toMatchObject({ status: status.unimplemented });
    await expect(shim.call('task', 'Fly')).rejects.toMatchObject({ status: status.unimplemented });
    shim.called.delete('UpdateSandbox');
    shim.called.delete('Fly');
  });

  siltTest('container, pod and shim end in turn; nothing of the services is left untried', async () => {
    const podEnd = shim.sandbox('WaitSandbox', { sandboxId });
    const exit = shim.task('Wait', { id });
    await shim.task('Kill', { id, signal: 9 });
    expect((await exit).exitStatus).toBe(137);
    expect(await shim.task('Delete', { id })).toMatchObject({ pid, exitStatus: 137 });
    // Of the Task service's Shutdown nothing comes while there is a pod.
    await shim.task('Shutdown', { id: sandboxId });
    await shim.sandbox('StopSandbox', { sandboxId });
    await podEnd;
    expect(await shim.sandbox('SandboxStatus', { sandboxId })).toMatchObject({ state: 'SANDBOX_NOTREADY' });
    await shim.sandbox('ShutdownSandbox', { sandboxId });
    await shim.close();
    await waitFor('the shim’s socket to be gone', () => !existsSync(shim.path));
    expect(isAlive(sandbox)).toBe(false);
    const methods = [...Object.keys(taskMethods), ...Object.keys(sandboxMethods)];
    expect([...shim.called].sort()).toEqual(methods.sort());
  });
}
