/**
 * A real kubelet without an API server: it runs the pods whose manifests lie in a directory ("static pods"), on a private containerd,
 * with directories and cgroups of its own. Debian has no package of it, so it is the one of this machine, if there is one.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Containerd } from '../containerd';
import { gunzipSync } from 'node:zlib';
import { waitFor } from '../deadline';
import { findProgram } from '../peers';
import { CriClient } from './client';
import type { PodObject, PodStats } from './kubelet-objects';
import { KubeletServer } from './kubelet-server';

/** The kubelet of this machine: `SILT_TEST_KUBELET`, or the one on PATH. */
export function findKubelet(): string | undefined {
  return process.env['SILT_TEST_KUBELET'] ?? findProgram('kubelet');
}

/** What the kubelet sets on its node when it starts (pkg/util/sysctl); put back at the end. */
const tunables = [
  'vm/overcommit_memory',
  'vm/panic_on_oom',
  'kernel/panic',
  'kernel/panic_on_oops',
  'kernel/keys/root_maxkeys',
  'kernel/keys/root_maxbytes',
];

interface Sandbox {
  readonly id: string;
  readonly state: string;
  readonly metadata: { readonly uid: string };
}

export class KubeletProcess {
  readonly directory: string;
  readonly #manifests: string;
  readonly #node: string;
  readonly #tunables = new Map(tunables.map((name) => [name, readFileSync(join('/proc/sys', name), 'utf8')]));
  #child: ChildProcess | undefined;
  #server = new KubeletServer(0);

  constructor(
    readonly program: string,
    readonly containerd: Containerd,
  ) {
    this.directory = join(containerd.directory, 'kubelet');
    this.#manifests = join(this.directory, 'manifests');
    this.#node = containerd.mark.toLowerCase();
    for (const name of ['manifests', 'pki', 'plugins', 'logs'])
      mkdirSync(join(this.directory, name), { recursive: true });
  }

  /** The cgroup below which its pods are. */
  get cgroup(): string {
    return `/${this.containerd.mark}`;
  }

  get logPath(): string {
    return join(this.directory, 'kubelet.log');
  }

  /** Starts it and waits until it is healthy. */
  async start(): Promise<void> {
    this.#server = new KubeletServer(await freePort());
    for (const root of cgroupRoots()) mkdirSync(join(root, this.cgroup), { recursive: true });
    const configuration = join(this.directory, 'config.json');
    writeFileSync(configuration, JSON.stringify(this.#configuration()));
    const log = openSync(this.logPath, 'a');
    const words = [
      ...['--config', configuration, '--root-dir', this.directory, '--cert-dir', join(this.directory, 'pki')],
      ...['--hostname-override', this.#node, '--v', '2'],
    ];
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', this.program, ...words], {
      stdio: ['ignore', log, log],
      detached: true,
      env: this.containerd.environment,
    });
    closeSync(log);
    this.#child = child;
    await waitFor(
      'the kubelet to be healthy',
      async () => {
        if (child.exitCode !== null) throw new Error(`the kubelet ended with ${child.exitCode}:\n${this.logTail()}`);
        return (await this.#server.get('/healthz').catch(() => '')) === 'ok';
      },
      { timeoutMs: 60_000, detail: () => this.logTail() },
    );
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    this.#server.close();
    for (const [name, value] of this.#tunables) writeFileSync(join('/proc/sys', name), value);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
    await ended;
    clearTimeout(timer);
  }

  /** Adds a static pod of the namespace `default`. */
  add(name: string, spec: object, annotations: Readonly<Record<string, string>> = {}): void {
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'default', annotations }, spec };
    // The kubelet reads every file that it sees there, but not those that begin with a dot.
    writeFileSync(join(this.#manifests, `.${name}`), JSON.stringify(pod));
    renameSync(join(this.#manifests, `.${name}`), join(this.#manifests, `${name}.json`));
  }

  /** Takes a pod's manifest away, and waits until the kubelet has ended the pod and put its volumes away. */
  async remove(name: string): Promise<void> {
    const { uid } = (await this.pod(name))!.metadata;
    rmSync(join(this.#manifests, `${name}.json`));
    const isGone = async (): Promise<boolean> => {
      const { items } = await this.#cri<{ items: Sandbox[] }>('ListPodSandbox', {});
      const ours = items.filter(({ metadata }) => metadata.uid === uid);
      return ours.every(({ state }) => state === 'SANDBOX_NOTREADY') && !existsSync(join(this.directory, 'pods', uid));
    };
    await waitFor(`the pod ${name} to be gone`, isGone, { timeoutMs: 60_000, detail: () => this.logTail() });
  }

  /** The pod as the kubelet sees it; undefined when it knows none. */
  async pod(name: string): Promise<PodObject | undefined> {
    const { items } = JSON.parse(await this.#server.get('/pods')) as { items: PodObject[] | null };
    return (items ?? []).find(({ metadata }) => metadata.name === this.nameOf(name));
  }

  /** Waits until the pod is as `like` says, and returns it. */
  async until(name: string, what: string, like: (pod: PodObject) => boolean, timeoutMs = 45_000): Promise<PodObject> {
    let last: PodObject | undefined;
    return waitFor(
      `${name} to ${what}`,
      async () => {
        last = await this.pod(name);
        return last !== undefined && like(last) ? last : undefined;
      },
      { timeoutMs, detail: () => `${JSON.stringify(last?.status, undefined, 1)}\n${this.logTail()}` },
    );
  }

  async ready(name: string): Promise<PodObject> {
    return this.until(name, 'be ready', ({ status }) =>
      (status.conditions ?? []).some(({ type, status }) => type === 'Ready' && status === 'True'),
    );
  }

  /** A static pod's name has the node's behind it. */
  nameOf(name: string): string {
    return `${name}-${this.#node}`;
  }

  /** What a shell in a container prints, both streams, by the kubelet's /run. */
  async sh(pod: string, container: string, script: string): Promise<string> {
    // The kubelet takes one string and divides it at blanks.
    const encoded = Buffer.from(script).toString('base64');
    const query = new URLSearchParams({ cmd: `sh -c echo\${IFS}${encoded}|base64\${IFS}-d|sh` }).toString();
    return (await this.#server.call('POST', `/run/default/${this.nameOf(pod)}/${container}?${query}`)).trim();
  }

  /** See {@link KubeletServer.stream}. */
  stream(...call: Parameters<KubeletServer['stream']>): Promise<void> {
    return this.#server.stream(...call);
  }

  async logs(pod: string, container: string, query = ''): Promise<string> {
    return this.#server.get(`/containerLogs/default/${this.nameOf(pod)}/${container}${query}`);
  }

  /** stats/v1alpha1 Summary. */
  async summary(): Promise<{ pods: readonly PodStats[] }> {
    return JSON.parse(await this.#server.get('/stats/summary')) as { pods: readonly PodStats[] };
  }

  /** A directory of the host's for a pod's volumes. */
  scratch(name: string): string {
    const path = join(this.directory, 'scratch', name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  /** The memory cgroup of a container's first process. */
  async cgroupOf(container: string): Promise<string> {
    const lines = readFileSync(`/proc/${await this.#pidOf(container)}/cgroup`, 'latin1')
      .trim()
      .split('\n');
    const line = lines.find((one) => one.split(':')[1] === 'memory') ?? lines.find((one) => one.startsWith('0::'));
    return line!.split(':')[2]!;
  }

  async oomScoreOf(container: string): Promise<number> {
    return Number(readFileSync(`/proc/${await this.#pidOf(container)}/oom_score_adj`, 'latin1'));
  }

  async #pidOf(container: string): Promise<number> {
    const { info } = await this.#cri<{ info: Record<string, string> }>('ContainerStatus', {
      id: container,
      verbose: true,
    });
    return (JSON.parse(info['info'] ?? '{}') as { pid: number }).pid;
  }

  /** The sandbox of a pod that is ready, and the pid of its pause container. */
  async sandboxOf(uid: string): Promise<{ id: string; pid: number }> {
    const { items } = await this.#cri<{ items: Sandbox[] }>('ListPodSandbox', {});
    const { id } = items.find(({ metadata, state }) => metadata.uid === uid && state === 'SANDBOX_READY')!;
    const { info } = await this.#cri<{ info: Record<string, string> }>('PodSandboxStatus', { id, verbose: true });
    return { id, pid: (JSON.parse(info['info'] ?? '{}') as { pid: number }).pid };
  }

  /** A container's log files, rotated ones too, and all their lines, oldest first. */
  logFiles(pod: string, container: string): { names: string[]; lines: string[] } {
    const directories = readdirSync(join(this.directory, 'logs'));
    const directory = directories.find((one) => one.startsWith(`default_${this.nameOf(pod)}_`));
    if (directory === undefined) return { names: [], lines: [] };
    const path = join(this.directory, 'logs', directory, container);
    // 0.log, and 0.log.<time> for what was rotated; some of those compressed.
    const names = readdirSync(path).sort((a, b) => Number(a === '0.log') - Number(b === '0.log') || (a < b ? -1 : 1));
    const text = (name: string): string => {
      const bytes = readFileSync(join(path, name));
      return (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
    };
    return { names, lines: names.map(text).join('').split('\n').filter(Boolean) };
  }

  /** Removes the pods that have ended and that the kubelet would collect in its own time. */
  async sweep(): Promise<void> {
    const { items } = await this.#cri<{ items: Sandbox[] }>('ListPodSandbox', {});
    for (const { id } of items) {
      await this.#cri('StopPodSandbox', { id });
      await this.#cri('RemovePodSandbox', { id });
    }
  }

  /** Removes its cgroups, once it has ended and its pods have. */
  removeCgroups(): void {
    const remove = (path: string): void => {
      for (const entry of readdirSync(path, { withFileTypes: true })) {
        if (entry.isDirectory()) remove(join(path, entry.name));
      }
      rmdirSync(path);
    };
    for (const root of cgroupRoots()) if (existsSync(join(root, this.cgroup))) remove(join(root, this.cgroup));
  }

  async #cri<T extends object>(method: string, fields: object): Promise<T> {
    const client = new CriClient(this.containerd.paths.socket);
    try {
      return await client.call<T>(method, fields);
    } finally {
      client.close();
    }
  }

  logTail(lines = 15): string {
    const text = readFileSync(this.logPath, 'utf8').trim().split('\n');
    return text
      .filter((line) => /^[EWF]\d/.test(line))
      .slice(-lines)
      .join('\n');
  }

  #configuration(): object {
    return {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      staticPodPath: this.#manifests,
      fileCheckFrequency: '500ms',
      syncFrequency: '1s',
      containerLogMaxSize: '8Ki',
      containerLogMonitorInterval: '3s',
      containerRuntimeEndpoint: `unix://${this.containerd.paths.socket}`,
      podLogsDir: join(this.directory, 'logs'),
      volumePluginDir: join(this.directory, 'plugins'),
      address: '127.0.0.1',
      port: this.#server.port,
      healthzPort: 0,
      readOnlyPort: 0,
      authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
      authorization: { mode: 'AlwaysAllow' },
      cgroupDriver: 'cgroupfs',
      cgroupRoot: this.cgroup,
      failCgroupV1: false,
      failSwapOn: false,
      makeIPTablesUtilChains: false,
      evictionHard: { 'memory.available': '1Mi' },
      crashLoopBackOff: { maxContainerRestartPeriod: '1s' },
      featureGates: { KubeletCrashLoopBackOffMax: true },
    };
  }
}

/** Every hierarchy of cgroups v1, or the one of v2. */
function cgroupRoots(): string[] {
  const names = readdirSync('/sys/fs/cgroup', { withFileTypes: true });
  if (names.some(({ name }) => name === 'cgroup.controllers')) return ['/sys/fs/cgroup'];
  return names.filter((entry) => entry.isDirectory()).map(({ name }) => join('/sys/fs/cgroup', name));
}

async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
