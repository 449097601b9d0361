/** `silt` as people and engines call it, beside another runtime of the same command line, with bundles of busybox. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { siltProgram } from './checkout';
import { clearUp } from './clear-up';
import { runCommand, startCommand, type BackgroundCommand, type CommandOptions, type CommandResult } from './command';
import { baseDirectory } from './containerd';
import { takeInventory, waitForNoLeaks, type Inventory, type Ownership } from './leak-check';

/** What a bundle's config.json has besides the usual. */
export interface BundleChanges {
  readonly process?: object;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly namespaces?: readonly object[];
  readonly hooks?: object;
  /** Another root filesystem than that of busybox. */
  readonly rootfs?: string;
  /** Mounts besides the usual. */
  readonly mounts?: readonly object[];
  /** Members of `linux`. */
  readonly linux?: object;
}

const NAMESPACES = ['pid', 'network', 'ipc', 'uts', 'mount'].map((type) => ({ type }));
const CAPABILITIES = ['CAP_CHOWN', 'CAP_KILL', 'CAP_SETUID', 'CAP_SETGID'];
const EVERYWHERE = '/sys/fs/cgroup';

/** A runtime with a state directory of its own. */
export class Runtime {
  constructor(
    readonly program: string,
    readonly root: string,
    readonly environment: NodeJS.ProcessEnv,
  ) {}

  words(args: readonly string[]): string[] {
    return [this.program, '--root', this.root, ...args];
  }

  /** A container that goes on when the command has ended has its streams: those of create and `--detach` are no pipes. */
  async run(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    const command = { env: this.environment, timeoutMs: 30_000, ...options };
    if (args[0] !== 'create' && !args.includes('--detach')) return runCommand(this.words(args), command);
    const errors = `${this.root}.stderr`;
    const result = await runCommand(
      ['sh', '-c', 'exec "$@" > /dev/null 2> "$0"', errors, ...this.words(args)],
      command,
    );
    return { ...result, stderr: readFileSync(errors, 'utf8') };
  }

  async must(args: readonly string[], options: CommandOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(args, options);
    if (code !== 0) throw new Error(`${this.words(args).join(' ')}: exit status ${code}: ${stderr}`);
    return stdout.toString();
  }

  start(args: readonly string[], options: CommandOptions & { keepStdinOpen?: boolean } = {}): BackgroundCommand {
    return startCommand(this.words(args), { env: this.environment, ...options });
  }

  async status(id: string): Promise<string> {
    return (JSON.parse(await this.must(['state', id])) as { status: string }).status;
  }
}

export class CommandLine {
  readonly directory = mkdtempSync(join(baseDirectory(), 'silt-'));
  readonly mark = basename(this.directory);
  readonly environment: NodeJS.ProcessEnv = {
    ...process.env,
    SILT_ROOT: join(this.directory, 'host'),
    SILT_CONFIG: join(this.directory, 'silt.toml'),
  };
  readonly silt = new Runtime(siltProgram, join(this.directory, 'silt'), this.environment);
  /** The runtime whose command line silt's is. */
  readonly runc = new Runtime('runc', join(this.directory, 'runc'), this.environment);
  readonly rootfs = join(this.directory, 'rootfs');
  private next = 0;

  constructor() {
    const bin = join(this.rootfs, 'bin');
    for (const name of ['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'tmp'])
      mkdirSync(join(this.rootfs, name), { recursive: true });
    const busybox = ['/bin/busybox', '/usr/bin/busybox'].find((path) => existsSync(path));
    if (busybox === undefined) throw new Error('no busybox on this machine: install the Debian package busybox-static');
    copyFileSync(busybox, join(bin, 'busybox'));
    for (const name of [
      'cat',
      'echo',
      'env',
      'false',
      'grep',
      'id',
      'kill',
      'ls',
      'mkdir',
      'pwd',
      'readlink',
      'sh',
      'sleep',
      'stty',
      'true',
      'tty',
    ])
      symlinkSync('busybox', join(bin, name));
    writeFileSync(join(this.rootfs, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nguest:x:1000:1000::/tmp:/bin/sh\n');
  }

  /** An id that was not used before in this run. */
  newId(): string {
    this.next += 1;
    return `c${this.next}`;
  }

  /** Makes a bundle that runs these words in a container; returns its directory. */
  bundle(args: readonly string[], changes: BundleChanges = {}): string {
    this.next += 1;
    const directory = join(this.directory, `bundle${this.next}`);
    mkdirSync(directory);
    const process = {
      user: { uid: 0, gid: 0 },
      args,
      env: ['PATH=/bin'],
      cwd: '/',
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
      ...changes.process,
    };
    const spec = {
      ociVersion: '1.0.2',
      process,
      root: { path: changes.rootfs ?? this.rootfs },
      mounts: [
        { destination: '/proc', type: 'proc', source: 'proc' },
        { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
        {
          destination: '/dev/pts',
          type: 'devpts',
          source: 'devpts',
          options: ['newinstance', 'ptmxmode=0666', 'mode=0620'],
        },
        ...(changes.mounts ?? []),
      ],
      annotations: changes.annotations,
      hooks: changes.hooks,
      linux: {
        cgroupsPath: `/${this.mark}/c${this.next}`,
        namespaces: changes.namespaces ?? NAMESPACES,
        ...changes.linux,
      },
    };
    writeFileSync(join(directory, 'config.json'), JSON.stringify(spec));
    return directory;
  }

  /** A bundle whose process lives until it is killed. */
  sleeper(changes: BundleChanges = {}): string {
    return this.bundle(['sleep', '1000'], changes);
  }

  get ownership(): Ownership {
    return {
      directory: this.directory,
      namespace: this.mark,
      except: () => [],
      fileRoots: [
        { path: this.silt.root, depth: 6 },
        { path: join(this.directory, 'host'), depth: 3 },
      ],
      keptDirectories: [join(this.directory, 'host/cache'), join(this.directory, 'host/criu-logs')],
    };
  }

  async destroy(): Promise<void> {
    await clearUp(this.ownership);
    for (const path of [EVERYWHERE, ...hierarchies()]) {
      try {
        rmdirSync(join(path, this.mark));
      } catch {
        // Not there, or not empty: the leak check has said so.
      }
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function hierarchies(): string[] {
  return ['blkio', 'cpu', 'cpuacct', 'cpu,cpuacct', 'cpuset', 'devices', 'freezer', 'hugetlb', 'memory', 'net_cls', 'net_cls,net_prio', 'net_prio', 'perf_event', 'pids', 'rdma', 'misc', 'systemd', 'unified'].map((name) => join(EVERYWHERE, name)); // prettier-ignore
}

/**
 * Declares a group of tests of the command line, ended by a test that nothing is left. They know no containerd: they run with the
 * machine's own and not with each of the others.
 */
export function commandLineSuite(name: string, define: (host: () => CommandLine) => void): void {
  const peer = process.env['SILT_TEST_PEER'] ?? 'system';
  const declare = peer === 'system' ? describe : describe.skip;
  declare(peer === 'system' ? name : `${name} [skipped: the same with every containerd]`, () => {
    let host: CommandLine | undefined;
    let before: Inventory | undefined;
    const get = (): CommandLine => {
      if (host === undefined) throw new Error('the suite has not been started');
      return host;
    };

    beforeAll(async () => {
      host = new CommandLine();
      // What only a first container makes, such as the cgroup above all, is no leak.
      for (const runtime of [host.silt, host.runc])
        await runtime.must(['run', '--bundle', host.bundle(['true']), 'first']);
      before = takeInventory(host.ownership);
    }, 60_000);

    afterAll(async () => {
      await host?.destroy();
    }, 60_000);

    describe('of silt', () => define(get));

    test('leaves nothing behind', async () => {
      expect(await waitForNoLeaks(before!, get().ownership)).toEqual([]);
    }, 30_000);
  });
}
