/** Containers from a spec that the test writes: `ctr run --config`, on a root filesystem that is a directory of the host. */
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { siltProgram } from './checkout';
import { runCommand, type CommandOptions, type CommandResult } from './command';
import type { Containerd } from './containerd';

/** JSON of a spec, or of a part of one. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- what a test writes here may be wrong on purpose
export type Json = Record<string, any>;

const CAPABILITIES = ['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FOWNER', 'CAP_MKNOD', 'CAP_SETGID', 'CAP_SETUID'].concat([
  'CAP_SETPCAP',
  'CAP_KILL',
  'CAP_SYS_CHROOT',
]);

/** A spec that runs `sh -c script`: the usual mounts, namespaces of its own, few capabilities. `change` edits it in place. */
export function shellSpec(script: string, change: (spec: Json) => void = () => undefined): Json {
  const spec = {
    ociVersion: '1.0.2',
    process: {
      user: { uid: 0, gid: 0 },
      args: ['/bin/sh', '-c', script],
      env: ['PATH=/bin', 'HOME=/root'],
      cwd: '/',
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
      noNewPrivileges: true,
    },
    root: { path: 'rootfs' },
    hostname: 'spec',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=65536k'] },
      { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['newinstance', 'ptmxmode=0666'] },
      { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
    ],
    linux: {
      namespaces: ['pid', 'mount', 'ipc', 'uts', 'network'].map((type) => ({ type })),
    } as Json,
  };
  change(spec);
  return spec;
}

/** Root filesystems and specs below a containerd's directory, which goes with it. */
export class SpecBench {
  readonly directory: string;
  readonly rootfs: string;

  constructor(readonly containerd: Containerd) {
    this.directory = mkdtempSync(join(containerd.directory, 'spec-'));
    chmodSync(this.directory, 0o755);
    this.rootfs = this.makeRootfs('rootfs');
  }

  /** A root filesystem of busybox's. */
  makeRootfs(name: string): string {
    const rootfs = join(this.directory, name);
    for (const directory of ['bin', 'dev', 'etc', 'proc', 'sys', 'tmp', 'root', 'run', 'mnt'])
      mkdirSync(join(rootfs, directory), { recursive: true });
    copyFileSync(existsSync('/bin/busybox') ? '/bin/busybox' : '/usr/bin/busybox', join(rootfs, 'bin/busybox'));
    for (const applet of APPLETS) symlinkSync('busybox', join(rootfs, 'bin', applet));
    writeFileSync(join(rootfs, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000::/tmp:/bin/sh\n');
    return rootfs;
  }

  /** Words of `ctr run` for a spec; its `root.path` becomes absolute. */
  words(id: string, spec: Json, flags: readonly string[] = []): string[] {
    const path = join(this.directory, `${id}.json`);
    const root = spec['root'] as Json;
    const absolute = { ...root, path: join(this.directory, root['path'] as string) };
    const linux: Json = { cgroupsPath: `/${this.containerd.namespace}/${id}`, ...(spec['linux'] as Json) };
    writeFileSync(path, JSON.stringify({ ...spec, root: absolute, linux }));
    return ['run', '--runtime', this.containerd.runtime, ...flags, '--config', path, id];
  }

  /** Runs a container to its end. */
  async run(spec: Json, options: CommandOptions = {}): Promise<CommandResult> {
    return this.containerd.ctr(this.words(this.containerd.newId('s'), spec, ['--rm']), options);
  }

  /** Runs a container that has to succeed, and returns what it printed. */
  async output(spec: Json): Promise<string> {
    const { code, stdout, stderr } = await this.run(spec);
    if (code !== 0) throw new Error(`exit status ${code}: ${stderr} ${stdout.toString()}`);
    return stdout.toString().trimEnd();
  }

  /** Runs a container that has to be refused, and returns the error. */
  async refusal(spec: Json): Promise<string> {
    const id = this.containerd.newId('s');
    const { code, stdout, stderr } = await this.containerd.ctr(this.words(id, spec, ['--rm']));
    // ctr 1.6 leaves the container's entry behind when its task could not be made.
    await this.containerd.ctr(['tasks', 'delete', '--force', id]);
    await this.containerd.ctr(['containers', 'delete', id]);
    if (code === 0) throw new Error(`it ran, and printed ${stdout.toString()}`);
    return stderr;
  }

  /** Runs a container to its end by silt's own command line, which hands on members of the spec that an old ctr does not know. */
  async siltRun(spec: Json): Promise<CommandResult> {
    return this.#byCommand(siltProgram, spec);
  }

  /** The same by the command line of the runtime under test. */
  async commandRun(spec: Json): Promise<CommandResult> {
    return this.#byCommand(this.isRunc ? 'runc' : siltProgram, spec);
  }

  /** Whether that is runc. */
  get isRunc(): boolean {
    return this.containerd.runtime.includes('.runc.');
  }

  async #byCommand(program: string, spec: Json): Promise<CommandResult> {
    const id = this.containerd.newId('s');
    const bundle = mkdtempSync(join(this.directory, 'bundle-'));
    const root = spec['root'] as Json;
    const absolute = { ...root, path: join(this.directory, root['path'] as string) };
    const linux: Json = { cgroupsPath: `/${this.containerd.namespace}/${id}`, ...(spec['linux'] as Json) };
    writeFileSync(join(bundle, 'config.json'), JSON.stringify({ ...spec, root: absolute, linux }));
    const state = join(this.directory, program === siltProgram ? 'state' : 'runc-state');
    return runCommand([program, '--root', state, 'run', '--bundle', bundle, id]);
  }

  /** Starts a container in the background and returns its id. */
  async start(spec: Json): Promise<string> {
    const id = this.containerd.newId('s');
    await this.containerd.mustCtr(this.words(id, spec, ['--detach', '--null-io']));
    return id;
  }

  /** An executable script of the host. */
  script(name: string, text: string): string {
    const path = join(this.directory, name);
    writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    return path;
  }
}

const APPLETS = (
  'sh cat ls echo true false sleep stat id env mount umount readlink grep sed cut head wc touch mkdir rm ln chmod chown ' +
  'hostname ip ps nice renice taskset uname kill test mknod dd df tr sort awk find printf pwd stty tty ulimit seq date unshare nsenter setpriv ionice chrt'
).split(' ');
