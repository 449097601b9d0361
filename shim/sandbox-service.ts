import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../errors';
import type { Spec } from '../oci';
import {
  PodSandboxConfig,
  type SandboxAnswer,
  type SandboxMethod,
  type SandboxRequest,
  timestampOf,
  unpackAny,
} from '../proto';
import { cgroups, type Workshop } from '../sandbox';
import type { CriWishes } from './cri-wishes';
import type { PodKeeper } from './pod-keeper';
import { packMetrics } from './task-answers';
import { type CompletedSpec, sandboxFiles, withSandboxFiles } from './sandbox-files';
import { describeSandbox, type SandboxDescription } from './sandbox-config';

type Handlers = {
  [Name in SandboxMethod]: (request: SandboxRequest<Name>) => Promise<SandboxAnswer<Name>> | SandboxAnswer<Name>;
};

export interface SandboxServiceOptions {
  readonly workshop: Workshop;
  readonly pod: PodKeeper;
  readonly wishes: CriWishes;
  /** Called before the pod is started; may refuse it. */
  readonly onStart: () => void;
  /** Ends every container of the pod. */
  readonly endContainers: () => Promise<void>;
  /** Called by ShutdownSandbox once nothing is left. */
  readonly onShutdown: () => void;
}

interface Sandbox {
  readonly id: string;
  readonly config: PodSandboxConfig | undefined;
  readonly description: SandboxDescription;
  /** Once it has been started. */
  started?: { readonly pid: number; readonly at: Date };
  ended?: { readonly status: number; readonly at: Date };
}

/** containerd's Sandbox service: the pod itself, without a container that holds it. */
export class SandboxService implements Handlers {
  #sandbox: Sandbox | undefined;
  #settleEnd: () => void = () => undefined;
  readonly #end = new Promise<void>((resolve) => {
    this.#settleEnd = resolve;
  });

  constructor(private readonly options: SandboxServiceOptions) {}

  /** Whether there is a sandbox, started or not, that has not been shut down. */
  get active(): boolean {
    return this.#sandbox !== undefined;
  }

  CreateSandbox(request: SandboxRequest<'CreateSandbox'>): SandboxAnswer<'CreateSandbox'> {
    const { sandboxId: id, netnsPath, options } = request;
    if (id !== this.options.pod.id) {
      throw new SiltError('REQUEST_INVALID', `cannot create sandbox ${id}: this is the shim of ${this.options.pod.id}`);
    }
    if (this.#sandbox) throw new SiltError('CONTAINER_EXISTS', `sandbox ${id} exists already`, { id });
    const config = options && unpackAny(PodSandboxConfig, options);
    if (config) {
      const { labels, linux } = config;
      this.options.wishes.learn({ labels, usersMode: linux?.securityContext?.namespaceOptions?.usernsOptions?.mode });
    }
    this.#sandbox = { id, config, description: describeSandbox(config, netnsPath) };
    return {};
  }

  async StartSandbox({ sandboxId }: SandboxRequest<'StartSandbox'>): Promise<SandboxAnswer<'StartSandbox'>> {
    const sandbox = this.#find(sandboxId);
    if (sandbox.started)
      throw new SiltError('WRONG_STATE', `sandbox ${sandboxId} has been started already`, { id: sandboxId });
    this.options.onStart();
    const { spec, sharesPids } = sandbox.description;
    const pod = await this.options.pod.hold(
      spec,
      await this.options.wishes.applyTo(this.options.workshop.config, spec),
    );
    const holder = sharesPids ? await pod.startHolder() : undefined;
    const at = new Date();
    sandbox.started = { pid: (holder ?? pod.sandbox).pid, at };
    void pod.sandbox.exited.then((exit) => this.#ended(sandbox, exit.status));
    // Process 1 of all containers: without it there is no pod.
    void holder?.exited.then(() => pod.close());
    this.#writeFiles(sandbox);
    return { pid: sandbox.started.pid, createdAt: timestampOf(at) };
  }

  Platform({ sandboxId }: SandboxRequest<'Platform'>): SandboxAnswer<'Platform'> {
    this.#find(sandboxId);
    return { platform: { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch, variant: '' } };
  }

  async StopSandbox({ sandboxId }: SandboxRequest<'StopSandbox'>): Promise<SandboxAnswer<'StopSandbox'>> {
    await this.#stop(this.#find(sandboxId));
    return {};
  }

  async WaitSandbox({ sandboxId }: SandboxRequest<'WaitSandbox'>): Promise<SandboxAnswer<'WaitSandbox'>> {
    const sandbox = this.#find(sandboxId);
    await this.#end;
    return { exitStatus: sandbox.ended?.status ?? 0, exitedAt: timestampOf(sandbox.ended?.at ?? new Date()) };
  }

  SandboxStatus({ sandboxId, verbose }: SandboxRequest<'SandboxStatus'>): SandboxAnswer<'SandboxStatus'> {
    const { started, ended, config } = this.#find(sandboxId);
    const ready = started !== undefined && ended === undefined;
    return {
      sandboxId,
      pid: started?.pid ?? 0,
      state: ready ? 'SANDBOX_READY' : 'SANDBOX_NOTREADY',
      info: verbose
        ? { info: JSON.stringify({ pid: started?.pid ?? 0, runtimeType: 'io.containerd.silt.v1', config }) }
        : {},
      ...(started ? { createdAt: timestampOf(started.at) } : {}),
      ...(ended ? { exitedAt: timestampOf(ended.at) } : {}),
    };
  }

  PingSandbox({ sandboxId }: SandboxRequest<'PingSandbox'>): SandboxAnswer<'PingSandbox'> {
    this.#find(sandboxId);
    return {};
  }

  async ShutdownSandbox({ sandboxId }: SandboxRequest<'ShutdownSandbox'>): Promise<SandboxAnswer<'ShutdownSandbox'>> {
    // After a failed CreateSandbox too: then there is only this process to end.
    const sandbox = this.#sandbox;
    if (sandbox && sandbox.id !== sandboxId) this.#find(sandboxId);
    if (sandbox) await this.#stop(sandbox);
    this.#sandbox = undefined;
    this.options.onShutdown();
    return {};
  }

  SandboxMetrics({ sandboxId }: SandboxRequest<'SandboxMetrics'>): SandboxAnswer<'SandboxMetrics'> {
    const { cgroupParent } = this.#find(sandboxId).description;
    const metric = { id: sandboxId, timestamp: timestampOf(new Date()) };
    if (cgroupParent === '') return { metrics: metric };
    const { hierarchies } = this.options.workshop.host;
    const { cgroup } = cgroups.planCgroup({
      id: sandboxId,
      cgroupsPath: cgroupParent,
      resources: undefined,
      hierarchies,
    });
    return { metrics: { ...metric, data: packMetrics(cgroup) } };
  }

  /** A container's spec with what is the pod's: of a pod that is held by a container, as containerd wrote it. */
  complete(spec: Spec): CompletedSpec {
    if (!this.#sandbox) return { spec };
    return withSandboxFiles(spec, Object.keys(filesOf(this.#sandbox)), (name) => this.#filePath(name));
  }

  #filePath(name: string): string {
    return join(this.options.workshop.state.podPath(this.options.pod.id), name);
  }

  #writeFiles(sandbox: Sandbox): void {
    for (const [name, text] of Object.entries(filesOf(sandbox)))
      writeFileSync(this.#filePath(name), text, { mode: 0o644 });
  }

  async #stop(sandbox: Sandbox): Promise<void> {
    await this.options.endContainers();
    await this.options.pod.letGo();
    this.#ended(sandbox, 0);
  }

  #ended(sandbox: Sandbox, status: number): void {
    sandbox.ended ??= { status, at: new Date() };
    this.#settleEnd();
  }

  #find(id: string): Sandbox {
    if (this.#sandbox?.id === id) return this.#sandbox;
    throw new SiltError('CONTAINER_NOT_FOUND', `there is no sandbox ${id} in this shim`, { id });
  }
}

function filesOf({ description, config }: Sandbox): Record<string, string> {
  return sandboxFiles(description.spec.hostname, config);
}
