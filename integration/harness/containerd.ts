/**
 * A private containerd: its own root, state, sockets, configuration and namespace under one temporary directory. It never touches
 * the machine's containerd.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, join } from 'node:path';
import { binDirectory } from './checkout';
import { runCommand, startCommand, type BackgroundCommand, type CommandOptions, type CommandResult } from './command';
import {
  configFormat,
  containerdConfig,
  containerdPaths,
  siltConfig,
  type ContainerdPaths,
  type SiltSettings,
} from './containerd-config';
import { criConfig, type CriSettings } from './cri/config';
import { PodNetwork } from './cri/network';
import { buildPauseImage } from './cri/pause-image';
import { waitFor } from './deadline';
import { buildImage, imageName } from './image';
import type { Ownership } from './leak-check';
import type { Peer } from './peers';
import { clearUp } from './clear-up';
import { Systemd, type SystemdLayout } from './systemd';

export interface ContainerdOptions {
  readonly peer: Peer;
  readonly silt?: SiltSettings;
  /** Runtime of `run`, such as `io.containerd.silt.v1`. */
  readonly runtime: string;
  /** With CRI: the namespace is then k8s.io, and pods have a network of this run's own. */
  readonly cri?: CriSettings;
  /** Starts it beside a systemd of its own, with hierarchies so laid out. */
  readonly systemd?: SystemdLayout;
}

/** How `run` starts a container; further `ctr run` flags go to `flags`. */
export interface RunOptions extends CommandOptions {
  /** Flags of `ctr run`, such as `--detach` or `--annotation a=b`. */
  readonly flags?: readonly string[];
  readonly runtime?: string;
}

const overlayMagic = 0x794c7630;

/** A place for private state that is not itself an overlay, on which no overlay could be mounted. */
export function baseDirectory(): string {
  const candidates = [tmpdir(), '/var/tmp', '/run', '/dev/shm'];
  return candidates.find((path) => statfsSync(path).type !== overlayMagic) ?? tmpdir();
}

export class Containerd {
  readonly directory = mkdtempSync(join(baseDirectory(), 'silt-'));
  /** What cgroup paths of this run carry, after the directory. */
  readonly mark = basename(this.directory).replace(/[^A-Za-z0-9-]/g, '-');
  /** containerd's namespace: this run's own, or the one that CRI uses. */
  readonly namespace: string;
  readonly peer: Peer;
  readonly runtime: string;
  readonly paths: ContainerdPaths = containerdPaths(this.directory);
  /** The directory that silt's configuration allows seeds from. */
  readonly seeds = join(this.directory, 'seeds');
  readonly siltRoot = join(this.directory, 'silt');
  /** Where plugins of NRI connect, when the settings have it. */
  readonly nriSocket = join(this.directory, 'nri.sock');
  private readonly fifos = join(this.directory, 'fifos');
  private readonly logPath = join(this.directory, 'containerd.log');
  private readonly network: PodNetwork | undefined;
  private readonly shimProtocol: string | undefined;
  private readonly kernelVersion: string | undefined;
  private readonly criu: string | undefined;
  /** In a network namespace of its own. */
  private readonly apart: boolean;
  private readonly systemdLayout: SystemdLayout | undefined;
  private ownSystemd: Systemd | undefined;
  private child: ChildProcess | undefined;
  private nextId = 0;

  constructor(options: ContainerdOptions) {
    this.peer = options.peer;
    this.runtime = options.runtime;
    const temporary = join(this.directory, 'tmp');
    for (const path of [this.seeds, this.fifos, temporary]) mkdirSync(path);
    this.namespace = options.cri === undefined ? this.mark : 'k8s.io';
    this.shimProtocol = options.cri?.shimProtocol;
    this.kernelVersion = options.silt?.kernelVersion;
    this.criu = options.silt?.criu;
    this.network = options.cri && new PodNetwork(this.directory, this.mark, options.cri.hostPorts);
    this.systemdLayout = options.systemd;
    this.apart = options.cri?.hostPorts === true;
    const { version } = this.peer;
    const cri =
      options.cri &&
      criConfig(
        configFormat(version),
        { network: this.network?.configurations ?? '', nri: this.directory },
        options.cri,
      );
    writeFileSync(join(this.directory, 'config.toml'), containerdConfig(this.paths, version, cri));
    this.configureSilt(options.silt ?? {});
  }

  /** Environment of containerd, and so of every shim: what makes silt private too. */
  get environment(): NodeJS.ProcessEnv {
    // containerd's CRI, too, wants a CRIU for checkpoints, and looks on PATH.
    const criu = this.criu === undefined ? [] : [dirname(this.criu)];
    const path = [binDirectory, this.peer.directory, ...criu, process.env['PATH'] ?? '', '/usr/sbin', '/usr/bin'];
    return {
      ...process.env,
      PATH: path.join(delimiter),
      TMPDIR: join(this.directory, 'tmp'),
      SILT_ROOT: this.siltRoot,
      SILT_CONFIG: join(this.directory, 'silt.toml'),
      ...(this.shimProtocol === undefined ? {} : { SILT_SHIM_PROTOCOL: this.shimProtocol }),
      ...(this.kernelVersion === undefined ? {} : { SILT_TEST_KERNEL_VERSION: this.kernelVersion }),
    };
  }

  /** The one that it was started beside. */
  get systemd(): Systemd {
    if (this.ownSystemd === undefined) throw new Error('this containerd has no systemd of its own');
    return this.ownSystemd;
  }

  get pid(): number | undefined {
    return this.child?.pid;
  }

  /** What leak checks count as this containerd's. Fifos are no part of it: their client makes them, and leaves them when killed. */
  get ownership(): Ownership {
    return {
      directory: this.directory,
      namespace: this.mark,
      except: () => (this.pid === undefined ? [] : [this.pid]),
      fileRoots: [
        { path: this.paths.state, depth: 6 },
        { path: this.siltRoot, depth: 6 },
        { path: join(this.directory, 'tmp'), depth: 2 },
        { path: join(this.paths.root, 'io.containerd.snapshotter.v1.overlayfs/snapshots'), depth: 1 },
        { path: '/run/containerd/s', depth: 1 },
        { path: '/run/silt', depth: 3 },
      ],
      // V8's compile cache: one file per bundle and Node.
      keptDirectories: [join(this.siltRoot, 'cache'), join(this.siltRoot, 'criu-logs'), '/run/silt/cache'],
    };
  }

  /** Writes silt's configuration anew; shims that start from now on read it. */
  configureSilt(settings: SiltSettings): void {
    writeFileSync(join(this.directory, 'silt.toml'), siltConfig(this.seeds, settings));
  }

  /** Starts it and waits until it answers. */
  async start(): Promise<void> {
    if (this.systemdLayout !== undefined)
      this.ownSystemd ??= await Systemd.start(`${this.mark}-systemd`, this.systemdLayout);
    const log = openSync(this.logPath, 'a');
    // setpriv: containerd must not outlive a test runner that is killed. A session of its own: Ctrl-C reaches only us.
    const words = [
      'setpriv',
      '--pdeathsig',
      'KILL',
      this.peer.containerd,
      '--config',
      join(this.directory, 'config.toml'),
    ];
    const apart = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh'];
    const placed = this.ownSystemd?.words(words) ?? words;
    const [program, ...args] = this.apart ? [...apart, ...placed] : placed;
    const child = spawn(program!, args, { stdio: ['ignore', log, log], detached: true, env: this.environment });
    closeSync(log);
    this.child = child;
    let failure: Error | undefined;
    child.on('error', (error) => (failure = error));
    await waitFor(
      `${this.peer.containerd} to answer`,
      () => {
        if (failure !== undefined) throw failure;
        if (child.exitCode !== null) throw new Error(`containerd ended with ${child.exitCode}:\n${this.logTail()}`);
        return this.answers();
      },
      { timeoutMs: 30_000, detail: () => this.logTail() },
    );
  }

  private answers(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect(this.paths.socket);
      socket.on('connect', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
  }

  /** Ends containerd as SIGTERM does (containers run on) or as a crash does. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const child = this.child;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await ended;
    clearTimeout(timer);
    this.child = undefined;
  }

  async restart(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    await this.stop(signal);
    await this.start();
  }

  /** Words of a ctr command against this containerd and namespace. */
  ctrWords(args: readonly string[]): string[] {
    return [this.peer.ctr, '--address', this.paths.socket, '--namespace', this.namespace, ...args];
  }

  /** Runs ctr to its end; its exit status is the caller's to look at. */
  async ctr(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return runCommand(this.ctrWords(args), { env: this.environment, ...options });
  }

  /** Runs ctr to its end and throws, with what it printed and the end of containerd's log, when it failed. */
  async mustCtr(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    const result = await this.ctr(args, options);
    if (result.code === 0) return result;
    throw new Error(
      `ctr ${args.join(' ')}: exit status ${result.code}: ${result.stderr.trim()} ${result.stdout.toString().slice(-500)}`,
    );
  }

  /** Starts ctr in the background, with an open stdin when asked for. */
  startCtr(args: readonly string[], options: CommandOptions & { keepStdinOpen?: boolean } = {}): BackgroundCommand {
    return startCommand(this.ctrWords(args), { env: this.environment, ...options });
  }

  /** A container or exec id that was not used before in this run. */
  newId(prefix = 'c'): string {
    this.nextId += 1;
    return `${prefix}${this.nextId}`;
  }

  /** Words of `ctr run` for the test image. */
  runWords(id: string, command: readonly string[], options: RunOptions = {}): string[] {
    const flags = [
      '--fifo-dir',
      this.fifos,
      '--snapshotter',
      'overlayfs',
      '--runtime',
      options.runtime ?? this.runtime,
    ];
    return ['run', ...flags, ...(options.flags ?? []), imageName, id, ...command];
  }

  /** `ctr run --rm`: the container's exit status, output and errors. */
  async run(command: readonly string[], options: RunOptions = {}): Promise<CommandResult> {
    return this.ctr(
      this.runWords(this.newId(), command, { ...options, flags: ['--rm', ...(options.flags ?? [])] }),
      options,
    );
  }

  /** Starts a container in the background (`--detach`, its streams at /dev/null) and returns its id. */
  async startContainer(command: readonly string[] = ['sleep', '1000'], options: RunOptions = {}): Promise<string> {
    const id = this.newId();
    await this.mustCtr(
      this.runWords(id, command, { ...options, flags: ['--detach', '--null-io', ...(options.flags ?? [])] }),
      options,
    );
    return id;
  }

  /** Words of `ctr tasks exec`. */
  execWords(id: string, command: readonly string[], flags: readonly string[] = []): string[] {
    return ['tasks', 'exec', '--fifo-dir', this.fifos, '--exec-id', this.newId('x'), ...flags, id, ...command];
  }

  async exec(
    id: string,
    command: readonly string[],
    options: CommandOptions & { flags?: readonly string[] } = {},
  ): Promise<CommandResult> {
    return this.ctr(this.execWords(id, command, options.flags), options);
  }

  /** Kills, deletes and forgets a container, whatever state it is in. */
  async remove(id: string): Promise<void> {
    await this.ctr(['tasks', 'delete', '--force', id]);
    await this.mustCtr(['containers', 'delete', id]);
  }

  async importImages(): Promise<void> {
    await this.importImage(await buildImage());
    if (this.network !== undefined) await this.importImage(await buildPauseImage());
  }

  private async importImage(archive: Buffer): Promise<void> {
    const path = join(this.directory, 'image.tar');
    writeFileSync(path, archive);
    const local = this.peer.version.startsWith('1.6') ? [] : ['--local'];
    await this.mustCtr(['images', 'import', ...local, '--snapshotter', 'overlayfs', path]);
    rmSync(path);
  }

  /** Has containerd remove now what nothing refers to any more; it would otherwise wait for further changes. */
  async collectGarbage(): Promise<void> {
    await this.mustCtr(['leases', 'create', '--id', 'collect']);
    await this.mustCtr(['leases', 'delete', '--sync', 'collect']);
  }

  /** Directory of a task's bundle. */
  bundle(id: string): string {
    return join(this.paths.state, 'io.containerd.runtime.v2.task', this.namespace, id);
  }

  /** All that it and its shims have logged. */
  log(): string {
    return existsSync(this.logPath) ? readFileSync(this.logPath, 'utf8') : '';
  }

  /** The last lines of containerd's log that are not about its everyday work. */
  logTail(lines = 12): string {
    const text = this.log().trim().split('\n');
    return text
      .filter((line) => !/level=(debug|info)/.test(line))
      .slice(-lines)
      .join('\n');
  }

  /** Ends everything that is left of this containerd, containers first, and deletes its directory. */
  async destroy(): Promise<void> {
    await this.stop();
    await this.ownSystemd?.stop();
    await clearUp(this.ownership);
    await this.network?.remove();
    if (process.env['SILT_TEST_KEEP'] === undefined) rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A private containerd that answers and has the test image. The caller destroys it. */
export async function startContainerd(options: ContainerdOptions): Promise<Containerd> {
  const containerd = new Containerd(options);
  try {
    await containerd.start();
    await containerd.importImages();
  } catch (error) {
    await containerd.destroy();
    throw error;
  }
  return containerd;
}
