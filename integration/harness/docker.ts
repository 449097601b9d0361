/**
 * A private dockerd with its own containerd: data, state, sockets and configuration under one temporary directory, no rule of
 * iptables. It never touches the machine's Docker.
 */
import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, delimiter, dirname, join } from 'node:path';
import { binDirectory, siltProgram } from './checkout';
import { clearUp } from './clear-up';
import { mustRun, runCommand, startCommand, type BackgroundCommand, type CommandOptions } from './command';
import { baseDirectory } from './containerd';
import { waitFor } from './deadline';
import { takeInventory, waitForNoLeaks, type Inventory, type Ownership } from './leak-check';
import { findDocker, type DockerPrograms } from './docker-peers';
import { isSilt, testIf } from './suite';

export interface DockerOptions {
  readonly programs: DockerPrograms;
  /** Gives it a bridge of its own, which the containers are on that ask for nothing else. */
  readonly bridge?: boolean;
  /** The runtimes of its daemon.json, by name; none unless given. Is told the directory that all of its files are in. */
  readonly runtimes?: (directory: string) => Readonly<Record<string, object>>;
  /** With `docker checkpoint`, which is experimental; the path of CRIU. */
  readonly criu?: string;
}

/** The first container of a daemon on a busy machine takes longer than any other. */
const COMMAND_MS = 60_000;

export class Docker {
  readonly directory = mkdtempSync(join(baseDirectory(), 'silt-docker-'));
  /** The parent of its containers' cgroups. */
  readonly mark = basename(this.directory);
  readonly config = join(this.directory, 'daemon.json');
  readonly execRoot = join(this.directory, 'run');
  readonly host = `unix://${join(this.directory, 'docker.sock')}`;
  readonly #programs: DockerPrograms;
  readonly #bridge: string | undefined;
  #dockerd: BackgroundCommand | undefined;

  constructor(options: DockerOptions) {
    this.#programs = options.programs;
    // At most 15 characters (IFNAMSIZ of netdevice(7)).
    this.#bridge = options.bridge === true ? `sd${this.mark.slice(-6)}` : undefined;
    const { criu } = options;
    const runtimes = options.runtimes?.(this.directory);
    const experimental = criu === undefined ? {} : { experimental: true };
    writeFileSync(this.config, JSON.stringify({ ...(runtimes ? { runtimes } : {}), ...experimental }));
    if (criu !== undefined) writeFileSync(join(this.directory, 'silt.toml'), `criu = ${JSON.stringify(criu)}\n`);
  }

  get environment(): NodeJS.ProcessEnv {
    const { docker, directories } = this.#programs;
    const own = [binDirectory, ...directories, dirname(docker)];
    return {
      ...process.env,
      PATH: [...own, process.env['PATH'] ?? '', '/usr/sbin', '/usr/bin', '/sbin'].join(delimiter),
      DOCKER_HOST: this.host,
      // Nobody's own settings of the client.
      DOCKER_CONFIG: this.directory,
      SILT_ROOT: join(this.directory, 'silt'),
      SILT_CONFIG: join(this.directory, 'silt.toml'),
      // containerd unpacks checkpoints into temporary directories, which it forgets.
      TMPDIR: this.directory,
    };
  }

  /** Starts it, with the image `busybox`: a static busybox and links to it. */
  async start(): Promise<void> {
    if (this.#bridge !== undefined) await makeBridge(this.#bridge);
    const network = [`--bridge=${this.#bridge ?? 'none'}`, '--iptables=false', '--ip6tables=false'];
    const places = ['--data-root', join(this.directory, 'data'), '--exec-root', this.execRoot];
    const own = ['--pidfile', join(this.directory, 'pid'), '--cgroup-parent', `/${this.mark}`];
    const words = [
      this.#programs.dockerd,
      '--config-file',
      this.config,
      '-H',
      this.host,
      ...places,
      ...network,
      ...own,
    ];
    const dockerd = startCommand(words, { env: this.environment });
    this.#dockerd = dockerd;
    const answers = async (): Promise<boolean> => {
      if (!dockerd.running) throw new Error(`dockerd has ended: ${dockerd.stderr.slice(-2000)}`);
      return (await this.docker('info')).code === 0;
    };
    await waitFor('dockerd to answer', answers, { timeoutMs: 60_000, detail: () => dockerd.stderr.slice(-2000) });
    await this.#importImage();
  }

  async #importImage(): Promise<void> {
    const root = join(this.directory, 'image');
    for (const name of ['bin', 'tmp', 'proc', 'dev', 'sys', 'etc', 'root', 'data'])
      mkdirSync(join(root, name), { recursive: true });
    const busybox = ['/bin/busybox', '/usr/bin/busybox'].find((path) => existsSync(path));
    if (busybox === undefined) throw new Error('no busybox on this machine: install the Debian package busybox-static');
    cpSync(busybox, join(root, 'bin', 'busybox'), { dereference: true });
    const applets = (await mustRun([busybox, '--list'])).stdout.toString().trim().split('\n');
    for (const name of applets) if (name !== 'busybox') symlinkSync('busybox', join(root, 'bin', name));
    writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nguest:x:1000:1000::/tmp:/bin/sh\n');
    writeFileSync(join(root, 'etc/group'), 'root:x:0:\nguest:x:1000:\n');
    writeFileSync(join(root, 'data/of-the-image'), 'of the image\n');
    const archive = join(this.directory, 'image.tar');
    await mustRun(['tar', '-C', root, '-cf', archive, '.']);
    await this.must('import', '--change', 'CMD ["sh"]', archive, 'busybox:latest');
  }

  words(args: readonly string[]): string[] {
    return [this.#programs.docker, ...args];
  }

  docker(...args: string[]): ReturnType<typeof runCommand> {
    return runCommand(this.words(args), { env: this.environment, timeoutMs: COMMAND_MS });
  }

  /** Runs docker to its end and returns what it printed; throws with what it said when it failed. */
  async must(...args: string[]): Promise<string> {
    return (await mustRun(this.words(args), { env: this.environment, timeoutMs: COMMAND_MS })).stdout.toString();
  }

  /** `docker run --rm` with the runtime under test: flags, image and command. */
  run(...args: string[]): ReturnType<typeof runCommand> {
    return this.docker('run', '--rm', `--runtime=${dockerRuntime}`, ...args);
  }

  /** Starts a container in the background that does what these shell commands say, by default nothing for long; returns its id. */
  async background(
    flags: readonly string[] = [],
    script = 'exec sleep 1000',
    runtime = dockerRuntime,
  ): Promise<string> {
    const words = ['run', '--detach', `--runtime=${runtime}`, ...flags, 'busybox', 'sh', '-c', script];
    return (await this.must(...words)).trim();
  }

  /** Runs a shell command in a container; returns what it printed. Throws when it failed. */
  async shell(container: string, script: string): Promise<string> {
    return this.must('exec', container, 'sh', '-c', script);
  }

  startDocker(args: readonly string[], options: CommandOptions & { keepStdinOpen?: boolean } = {}): BackgroundCommand {
    return startCommand(this.words(args), { env: this.environment, ...options });
  }

  /** One field of `docker inspect`, as a Go template names it. */
  async inspect(container: string, field: string): Promise<string> {
    return (await this.must('inspect', '--format', `{{${field}}}`, container)).trim();
  }

  get pid(): number {
    return Number(readFileSync(join(this.directory, 'pid'), 'utf8'));
  }

  /** What leak checks count as its own. */
  get ownership(): Ownership {
    return {
      directory: this.directory,
      namespace: this.mark,
      except: () => [this.pid],
      fileRoots: [{ path: join(this.directory, 'silt'), depth: 6 }],
      keptDirectories: [join(this.directory, 'silt', 'cache'), join(this.directory, 'silt', 'criu-logs')],
    };
  }

  async destroy(): Promise<void> {
    const { ownership } = this;
    await this.#dockerd?.stop('SIGTERM');
    await clearUp({ ...ownership, except: () => [] });
    if (this.#bridge !== undefined) await runCommand(['ip', 'link', 'delete', this.#bridge]);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** dockerd wants a bridge of another name than its own to be there, with an address. */
async function makeBridge(name: string): Promise<void> {
  await mustRun(['ip', 'link', 'add', name, 'type', 'bridge']);
  // Several runs may be on one machine; a private range that hardly anything else uses.
  await mustRun(['ip', 'address', 'add', `10.${randomInt(128, 250)}.${randomInt(0, 256)}.1/24`, 'dev', name]);
  await mustRun(['ip', 'link', 'set', name, 'up']);
}

/** Whether this machine's kernel has bridges, and lets us make one. */
export function canBridge(): boolean {
  const name = `sd${randomInt(2 ** 32).toString(36)}`;
  const made = spawnSync('ip', ['link', 'add', name, 'type', 'bridge']).status === 0;
  if (made) spawnSync('ip', ['link', 'delete', name]);
  return made;
}

/** The runtime that suites with Docker run their containers with, and the one whose containers write to Docker's own layer. */
export const dockerRuntime = isSilt ? 'silt' : 'runc';
export const plainRuntime = isSilt ? 'silt-plain' : 'runc';

/** As docs/filesystem.md has them; the shims are of use to a newer dockerd only. */
function siltRuntimes(directory: string): Readonly<Record<string, object>> {
  const plain = join(directory, 'plain.toml');
  const seeds = `allow-rootfs-tar-annotation = true\nrootfs-tar-directories = [${JSON.stringify(directory)}]\n`;
  writeFileSync(plain, `overlay2 = "none"\nuserns = "none"\n${seeds}`);
  return {
    silt: { path: siltProgram },
    'silt-shim': { runtimeType: 'io.containerd.silt.v1' },
    'silt-plain': { path: siltProgram, runtimeArgs: ['--overlay2=none', '--userns=none'] },
    'silt-plain-shim': { runtimeType: 'io.containerd.silt.v1', options: { ConfigPath: plain } },
  };
}

/** A way in which a dockerd runs silt: as the OCI runtime that its own shim calls, or as the shim. */
export interface DockerWay {
  readonly way: 'runtime' | 'shim';
  /** The names of its runtimes, as {@link dockerRuntime} and {@link plainRuntime} are. */
  readonly runtime: string;
  readonly plain: string;
}

export interface DockerSuiteSettings extends Omit<DockerOptions, 'programs'> {
  /** Which runs it is for: those with the machine's own containerd and Docker, those with newer ones, with their Docker, or both. */
  readonly dockers?: 'system' | 'newer' | 'all';
  /** The runtime of the first container, before the inventory that the closing check compares with; unless given one of each way. */
  readonly firstRuntime?: string;
}

const peer = process.env['SILT_TEST_PEER'] ?? 'system';

/** The ways of this run's Docker: shims are known to 23 and later. */
export const dockerWays: readonly DockerWay[] = [
  { way: 'runtime', runtime: dockerRuntime, plain: plainRuntime },
  ...(isSilt && peer !== 'system' ? [{ way: 'shim' as const, runtime: 'silt-shim', plain: 'silt-plain-shim' }] : []),
];

/**
 * Declares a group of tests with a dockerd of its own, ended by a test that nothing is left. With SILT_TEST_RUNTIME=io.containerd.runc.v2
 * the containers are runc's.
 */
export function dockerSuite(name: string, settings: DockerSuiteSettings, define: (host: () => Docker) => void): void {
  const { dockers = 'system', firstRuntime } = settings;
  const ways = dockerWays.filter(({ way }) => way === 'runtime' || dockers !== 'system').map(({ runtime }) => runtime);
  const found = findDocker(peer);
  const isOther = dockers !== 'all' && (peer === 'system') !== (dockers === 'system');
  const skip = isOther ? `runs with the ${dockers} Docker` : 'reason' in found ? found.reason : undefined;
  const declare = skip === undefined ? describe : describe.skip;
  declare(skip === undefined ? name : `${name} [skipped: ${skip}]`, () => {
    let docker: Docker | undefined;
    let before: Inventory | undefined;
    const host = (): Docker => {
      if (docker === undefined) throw new Error('dockerd has not been started');
      return docker;
    };

    beforeAll(async () => {
      docker = new Docker({ runtimes: siltRuntimes, ...settings, programs: found as DockerPrograms });
      await docker.start();
      // What only a first container makes (the parent of all cgroups, the host's network namespace as dockerd keeps it) is no leak.
      for (const runtime of firstRuntime === undefined ? ways : [firstRuntime])
        await docker.must('run', '--rm', `--runtime=${runtime}`, '--network=host', 'busybox', 'true');
      before = takeInventory(docker.ownership);
    }, 4 * COMMAND_MS);

    afterAll(async () => {
      await docker?.destroy();
    }, 60_000);

    // A group of its own, so that what it does after all of its tests is done before the last one here.
    describe(`of ${dockerRuntime}`, () => define(host));

    testIf(isSilt, 'what runc leaves is not looked at')(
      'leaves nothing behind',
      async () => {
        const left = (await host().must('ps', '--all', '--quiet')).trim().split('\n').filter(Boolean);
        if (left.length > 0) await host().must('rm', '--force', '--volumes', ...left);
        expect(await waitForNoLeaks(before!, host().ownership)).toEqual([]);
      },
      30_000,
    );
  });
}
