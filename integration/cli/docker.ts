/** A private dockerd: own data, socket and configuration, no bridge and no iptables. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, delimiter, join } from 'node:path';
import { binDirectory, mustRun, runCommand, startCommand, waitFor, type BackgroundCommand } from '../harness';
import type { Ownership } from '../harness/leak-check';

export class Docker {
  readonly directory = mkdtempSync(join(tmpdir(), 'silt-docker-'));
  readonly mark = basename(this.directory);
  readonly config = join(this.directory, 'daemon.json');
  readonly execRoot = join(this.directory, 'run');
  readonly host = `unix://${join(this.directory, 'docker.sock')}`;
  #dockerd: BackgroundCommand | undefined;

  get environment(): NodeJS.ProcessEnv {
    return {
      ...process.env,
      PATH: [binDirectory, process.env['PATH'] ?? '', '/usr/sbin', '/usr/bin', '/sbin'].join(delimiter),
      DOCKER_HOST: this.host,
      SILT_ROOT: join(this.directory, 'silt'),
      SILT_CONFIG: join(this.directory, 'silt.toml'),
    };
  }

  /** Starts it, with the image `busybox`: a static busybox and links to it. */
  async start(): Promise<void> {
    writeFileSync(this.config, '{}\n');
    const flags = ['--bridge=none', '--iptables=false', '--ip6tables=false', '--pidfile', join(this.directory, 'pid')];
    const places = ['--data-root', join(this.directory, 'data'), '--exec-root', this.execRoot];
    this.#dockerd = startCommand(['dockerd', '--config-file', this.config, '-H', this.host, ...places, ...flags], {
      env: this.environment,
    });
    const answers = async (): Promise<boolean> => (await this.docker('info')).code === 0;
    await waitFor('dockerd to answer', answers, { timeoutMs: 60_000 });
    const root = join(this.directory, 'image');
    for (const name of ['bin', 'tmp', 'proc', 'dev', 'sys', 'etc']) mkdirSync(join(root, name), { recursive: true });
    cpSync('/bin/busybox', join(root, 'bin', 'busybox'), { dereference: true });
    for (const name of ['sh', 'echo', 'sleep', 'cat', 'true']) symlinkSync('busybox', join(root, 'bin', name));
    const archive = join(this.directory, 'image.tar');
    await mustRun(['tar', '-C', root, '-cf', archive, '.']);
    await mustRun(['docker', 'import', archive, 'busybox:latest'], { env: this.environment });
  }

  docker(...args: string[]): ReturnType<typeof runCommand> {
    return runCommand(['docker', ...args], { env: this.environment, timeoutMs: 30_000 });
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
      keptDirectories: [join(this.directory, 'silt', 'cache')],
    };
  }

  async destroy(): Promise<void> {
    await this.#dockerd?.stop('SIGTERM');
    rmSync(this.directory, { recursive: true, force: true });
  }
}
