/** Pods as a kubelet runs them: its calls in its order, its cgroups and log files. */
import { mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Containerd } from '../containerd';
import { waitFor } from '../deadline';
import { imageName } from '../image';
import { CriClient, type CriMessage } from './client';
import { pauseImageName } from './pause-image';

export type NamespaceMode = 'POD' | 'CONTAINER' | 'NODE' | 'TARGET';

export interface PodOptions {
  readonly name?: string;
  /** The runtime handler; `silt` or `runc` after the suite's runtime unless told. */
  readonly handler?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly network?: NamespaceMode;
  readonly pid?: NamespaceMode;
  readonly ipc?: NamespaceMode;
  /** Fields of LinuxPodSandboxConfig and of its security context. */
  readonly linux?: object;
  readonly security?: object;
  /** Further fields of PodSandboxConfig. */
  readonly more?: object;
}

export interface ContainerOptions {
  readonly name?: string;
  readonly attempt?: number;
  readonly mounts?: readonly object[];
  readonly env?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** The test image unless told; also the archive of a checkpoint. */
  readonly image?: string;
  /** Fields of LinuxContainerResources and LinuxContainerSecurityContext. */
  readonly resources?: object;
  readonly security?: object;
  /** Further fields of ContainerConfig. */
  readonly more?: object;
}

export interface ExecResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ContainerStatus extends CriMessage {
  readonly state: string;
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
}

export class Kubelet {
  readonly client: CriClient;
  #pods = 0;

  constructor(
    readonly containerd: Containerd,
    private readonly handler: string,
  ) {
    this.client = new CriClient(containerd.paths.socket);
  }

  /** Waits until containerd's CRI serves and knows the images that were imported. */
  async ready(): Promise<void> {
    for (const image of [imageName, pauseImageName]) {
      await waitFor(
        `CRI to know ${image}`,
        async () => {
          try {
            return (await this.client.call('ImageStatus', { image: { image } }))['image'] !== null;
          } catch {
            return false;
          }
        },
        { timeoutMs: 30_000, detail: () => this.containerd.logTail() },
      );
    }
  }

  /** containerd is killed, and serves CRI again after what is done in between. */
  async crashContainerd(meanwhile: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    await this.containerd.stop('SIGKILL');
    await meanwhile();
    await this.containerd.start();
    await this.ready();
  }

  /** RunPodSandbox. */
  async runPod(options: PodOptions = {}): Promise<TestPod> {
    this.#pods += 1;
    const name = options.name ?? `pod${this.#pods}`;
    const uid = `${this.containerd.mark}-${name}`;
    const { network = 'POD', pid = 'CONTAINER', ipc = 'POD' } = options;
    const config = {
      metadata: { name, uid, namespace: 'tests', attempt: 0 },
      hostname: network === 'NODE' ? '' : name,
      logDirectory: join(this.containerd.directory, 'logs', name),
      annotations: options.annotations ?? {},
      labels: {
        'io.kubernetes.pod.name': name,
        'io.kubernetes.pod.namespace': 'tests',
        'io.kubernetes.pod.uid': uid,
      },
      ...options.more,
      linux: {
        cgroupParent: `/${this.containerd.mark}/${name}`,
        securityContext: { namespaceOptions: { network, pid, ipc, ...namespaceOptions(options) }, ...options.security },
        ...options.linux,
      },
    };
    mkdirSync(config.logDirectory, { recursive: true });
    const handler = options.handler ?? this.handler;
    const { podSandboxId } = await this.client.call<{ podSandboxId: string }>('RunPodSandbox', {
      config,
      runtimeHandler: handler,
    });
    return new TestPod(this, podSandboxId, config);
  }

  /** Stops and removes every pod of this name that containerd lists. */
  async removePodsNamed(name: string): Promise<void> {
    const { items } = await this.client.call<{ items: { id: string; metadata: { name: string } }[] }>('ListPodSandbox');
    for (const { id } of items.filter(({ metadata }) => metadata.name === name)) {
      await this.client.call('StopPodSandbox', { id });
      await this.client.call('RemovePodSandbox', { id });
    }
  }

  /** A pod for one use. It is removed at the end, whatever comes. */
  async withPod<T>(options: PodOptions, use: (pod: TestPod) => Promise<T>): Promise<T> {
    const pod = await this.runPod(options);
    try {
      return await use(pod);
    } finally {
      await pod.remove();
    }
  }

  /** The cgroup directories of a pod are the kubelet's to remove; on cgroup v1 there is one per hierarchy. */
  removeCgroup(path: string): void {
    const roots = ['', ...readdirSync('/sys/fs/cgroup')].map((name) => join('/sys/fs/cgroup', name));
    for (const root of roots) {
      try {
        rmdirSync(join(root, path));
      } catch {
        // Not there, or not empty: the leak check says so.
      }
    }
  }

  close(): void {
    this.client.close();
  }
}

interface PodConfig {
  readonly metadata: { readonly name: string };
  readonly logDirectory: string;
  readonly linux: { readonly cgroupParent: string };
}

export class TestPod {
  #containers = 0;

  constructor(
    readonly kubelet: Kubelet,
    readonly id: string,
    readonly config: PodConfig,
  ) {}

  get client(): CriClient {
    return this.kubelet.client;
  }

  get logDirectory(): string {
    return this.config.logDirectory;
  }

  /** CreateContainer of the test image. Returns its id. */
  async create(command: readonly string[], options: ContainerOptions = {}): Promise<string> {
    this.#containers += 1;
    const { name = `c${this.#containers}`, attempt = 0 } = options;
    const config = {
      metadata: { name, attempt },
      image: { image: options.image ?? imageName },
      command,
      envs: Object.entries(options.env ?? {}).map(([key, value]) => ({ key, value })),
      mounts: options.mounts ?? [],
      labels: { 'io.kubernetes.container.name': name },
      annotations: options.annotations ?? {},
      logPath: `${name}_${attempt}.log`,
      ...options.more,
      linux: {
        resources: options.resources ?? {},
        securityContext: {
          namespaceOptions: (this.config.linux as { securityContext?: { namespaceOptions?: object } }).securityContext
            ?.namespaceOptions,
          ...options.security,
        },
      },
    };
    const { containerId } = await this.client.call<{ containerId: string }>('CreateContainer', {
      podSandboxId: this.id,
      config,
      sandboxConfig: this.config,
    });
    return containerId;
  }

  async start(container: string): Promise<void> {
    await this.client.call('StartContainer', { id: container });
  }

  /** Creates and starts. */
  async run(command: readonly string[] = ['sleep', '1000'], options: ContainerOptions = {}): Promise<string> {
    const id = await this.create(command, options);
    await this.start(id);
    return id;
  }

  /** Runs an init container to its end, as a kubelet does before the others. Returns its exit code. */
  async runToEnd(command: readonly string[], options: ContainerOptions = {}): Promise<ContainerStatus> {
    return this.exited(await this.run(command, options));
  }

  async exec(container: string, cmd: readonly string[], timeout = 20): Promise<ExecResult> {
    const answer = await this.client.call<{ stdout: Buffer; stderr: Buffer; exitCode: number }>('ExecSync', {
      id: container,
      cmd,
      timeout,
    });
    return { code: answer.exitCode, stdout: answer.stdout.toString(), stderr: answer.stderr.toString() };
  }

  /** Stdout of `sh -c`, which must succeed. */
  async sh(container: string, script: string): Promise<string> {
    const { code, stdout, stderr } = await this.exec(container, ['sh', '-c', script]);
    if (code !== 0) throw new Error(`${script}: exit status ${code}: ${stderr}`);
    return stdout.trim();
  }

  async status(container: string): Promise<ContainerStatus> {
    return (await this.client.call<{ status: ContainerStatus }>('ContainerStatus', { id: container })).status;
  }

  /** The pid of a container's first process. */
  async pid(container: string): Promise<number> {
    const { info } = await this.client.call<{ info: Record<string, string> }>('ContainerStatus', {
      id: container,
      verbose: true,
    });
    return (JSON.parse(info['info'] ?? '{}') as { pid: number }).pid;
  }

  /** The status of a container once it has ended. */
  async exited(container: string): Promise<ContainerStatus> {
    return waitFor(`${container} to end`, async () => {
      const status = await this.status(container);
      return status.state === 'CONTAINER_EXITED' ? status : undefined;
    });
  }

  /** `SANDBOX_READY` or `SANDBOX_NOTREADY`, and the pod's address. */
  async podStatus(): Promise<{ state: string; ip: string; info: Record<string, unknown> }> {
    const { status, info } = await this.client.call<{
      status: { state: string; network: { ip: string } | null };
      info: Record<string, string>;
    }>('PodSandboxStatus', { id: this.id, verbose: true });
    return {
      state: status.state,
      ip: status.network?.ip ?? '',
      info: JSON.parse(info['info'] ?? '{}') as Record<string, unknown>,
    };
  }

  async stopContainer(container: string, timeout = 0): Promise<void> {
    await this.client.call('StopContainer', { id: container, timeout });
  }

  async removeContainer(container: string): Promise<void> {
    await this.client.call('RemoveContainer', { id: container });
  }

  async stop(): Promise<void> {
    await this.client.call('StopPodSandbox', { id: this.id });
  }

  /** containerd crashes and finds the pod again: it is ready, a container of it runs on, and a new one joins. */
  async survivesCrash(container: string): Promise<void> {
    const name = await this.sh(container, 'hostname');
    await this.kubelet.crashContainerd();
    await waitFor('the pod to be ready', async () => (await this.podStatus()).state === 'SANDBOX_READY');
    for (const one of [container, await this.run()]) {
      const seen = await this.sh(one, 'hostname');
      if (seen !== name) throw new Error(`${one} is in ${seen}, not in ${name}`);
    }
  }

  /** Stops and removes the pod with all of its containers, and its cgroup. */
  async remove(): Promise<void> {
    await this.stop();
    await this.client.call('RemovePodSandbox', { id: this.id });
    this.kubelet.removeCgroup(this.config.linux.cgroupParent);
  }
}

function namespaceOptions({ security }: PodOptions): object {
  return (security as { namespaceOptions?: object } | undefined)?.namespaceOptions ?? {};
}
