/**
 * Boots virtual machines with other Debian kernels and Debian's systemd under QEMU's software emulation, runs integration/vm/test in each, and
 * prints what that says. A machine's root is an ext4 disk: the packages of this machine's Debian release, busybox, silt as installed, a bundle
 * and an image. Of each kernel one machine has a unified cgroup hierarchy and AppArmor, one SELinux, and one cgroup v1 alone.
 *
 *   vm-test [SUITE[:CASE,…]…]  of the kernels; unless given the newest that Debian has, and the oldest that silt is for. Cases are files of
 *                              integration/vm/cases; all unless given
 *
 * Exit status 1 when a line says FAILED or the end is missing. Minutes long, so it is no part of `make test`.
 */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { checkout } from '../integration/harness/checkout';
import { mustRun } from '../integration/harness/command';
import { buildImage } from '../integration/harness/image';
import { prepareApt } from '../integration/harness/peers';

const TIMEOUT_MS = 1_800_000;
const MEMORY_MIB = 2000;
const busybox = '/bin/busybox';
const vmFiles = join(checkout, 'integration/vm');

/** What runs in the machine besides silt; all that they depend on comes with them. */
const PACKAGES = ['systemd', 'dbus', 'runc', 'containerd', 'docker.io', 'apparmor', 'secilc', 'attr'];
/** Of the kernel's modules what the machine needs, in the order in which they are loaded; what the kernel has built in is no file. */
const MODULES = (
  'virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk ' +
  'crc16 crc32c_generic libcrc32c mbcache jbd2 ext4 loop overlay'
).split(' ');
const DISK = '4G';
const SUITES = ['sid', 'bookworm'];

interface Machine {
  readonly name: string;
  readonly cases: readonly string[];
  /** For the kernel's command line. */
  readonly append: string;
  /** Why the kernels of suites cannot have it. */
  readonly lacking?: Readonly<Record<string, string>>;
}
const MACHINES: readonly Machine[] = [
  { name: 'unified', cases: ['cgroups', 'systemd', 'containerd', 'docker', 'layers', 'security'], append: '' },
  { name: 'selinux', cases: ['selinux'], append: 'security=selinux selinux=1' },
  {
    name: 'v1',
    cases: ['cgroups-v1'],
    append: 'systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1',
    lacking: { sid: 'its kernel has no memory controller for v1 (CONFIG_MEMCG_V1)' },
  },
];
const CASES = MACHINES.flatMap(({ cases }) => cases);
/** Of the packages nothing reads these. */
const LEFT_OUT = [
  'usr/share/doc',
  'usr/share/man',
  'usr/share/locale',
  'usr/share/perl',
  'usr/lib/x86_64-linux-gnu/perl',
];

const UNIT = `[Unit]
Description=tests of silt
After=dbus.socket
Requires=dbus.socket
[Service]
Type=oneshot
ExecStart=/test
StandardInput=null
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
Delegate=no
`;
/** Where the service's word is the last one: nothing else of the machine has to start. */
const TARGET = `[Unit]
Requires=basic.target silt-test.service
After=basic.target
`;
const ACCOUNTS: Readonly<Record<string, string>> = {
  passwd: 'root:x:0:0:root:/root:/bin/sh\nmessagebus:x:101:101::/nonexistent:/bin/false\n',
  group: 'root:x:0:\nmessagebus:x:101:\n',
  'machine-id': '',
};

async function output(words: readonly string[], cwd?: string): Promise<string> {
  return (await mustRun([...words], { timeoutMs: 300_000, ...(cwd ? { cwd } : {}) })).stdout.toString();
}

/** Unpacks the suite's cloud kernel into `directory`; returns the paths of its image and of the modules. */
async function fetchKernel(suite: string, directory: string): Promise<{ image: string; modules: string[] }> {
  const apt = prepareApt(suite);
  await output(['apt-get', ...apt, 'update']);
  const dependsOn = async (name: string): Promise<string[]> => {
    const listed = await output(['apt-cache', ...apt, 'depends', '--important', name]);
    return [...listed.matchAll(/Depends: (linux-(?:image|binary|modules)-\S+)/g)].map((match) => match[1]!);
  };
  const [image] = await dependsOn('linux-image-cloud-amd64');
  if (image === undefined) throw new Error(`Debian ${suite} has no linux-image-cloud-amd64`);
  await output(['apt-get', ...apt, 'download', image, ...(await dependsOn(image))], directory);
  for (const file of readdirSync(directory)) await output(['dpkg', '-x', file, '.'], directory);
  const find = async (name: string): Promise<string | undefined> =>
    (await output(['find', directory, '-type', 'f', '-name', name])).split('\n').find((path) => path !== '');
  const modules: string[] = [];
  for (const name of MODULES) {
    const module = await find(`${name}.ko*`);
    if (module?.endsWith('.xz')) await output(['xz', '-d', module]);
    if (module !== undefined) modules.push(module.replace(/\.xz$/, ''));
  }
  const vmlinuz = await find('vmlinuz*');
  if (vmlinuz === undefined) throw new Error(`the kernel of ${suite} has no vmlinuz`);
  return { image: vmlinuz, modules };
}

/** Unpacks {@link PACKAGES} of this machine's release into `root`, whose shared libraries silt's Node is made for. */
async function unpackUserland(root: string, archives: string): Promise<void> {
  const [, release = ''] = /^VERSION_CODENAME=(.+)$/m.exec(readFileSync('/etc/os-release', 'utf8')) ?? [];
  mkdirSync(join(archives, 'partial'), { recursive: true });
  const apt = [...prepareApt(release), '-o', `Dir::Cache::archives=${archives}`];
  await output(['apt-get', ...apt, 'update']);
  await output(['apt-get', ...apt, '--no-install-recommends', '--yes', '--download-only', 'install', ...PACKAGES]);
  for (const file of readdirSync(archives)) {
    if (file.endsWith('.deb')) await output(['dpkg', '-x', join(archives, file), root]);
  }
  for (const path of LEFT_OUT) rmSync(join(root, path), { recursive: true, force: true });
}

/** Busybox with its applets in `directory`/bin, beside what is there already. */
async function installBusybox(directory: string): Promise<void> {
  const bin = join(directory, 'bin');
  mkdirSync(bin, { recursive: true });
  copyFileSync(busybox, join(bin, 'busybox'));
  const applets = (await output([busybox, '--list'])).trim().split('\n');
  for (const name of applets) {
    const path = join(bin, name);
    if (!lstatSync(path, { throwIfNoEntry: false })) symlinkSync('busybox', path);
  }
}

async function makeRoot(root: string): Promise<void> {
  await installBusybox(root);
  await installBusybox(join(root, 'bundle/rootfs'));
  for (const name of [
    'dev',
    'proc',
    'run',
    'sys',
    'tmp',
    'bundle/rootfs/dev',
    'bundle/rootfs/proc',
    'bundle/rootfs/sys/fs/cgroup',
  ])
    mkdirSync(join(root, name), { recursive: true });
  await mustRun([join(checkout, 'tools/install'), '/usr/local'], {
    env: { ...process.env, DESTDIR: root },
    cwd: checkout,
  });
  symlinkSync('../lib/silt/node', join(root, 'usr/local/bin/node'));
  const libraries = (await output(['ldd', process.execPath])).matchAll(/(\/lib\S+) \(/g);
  for (const [, path = ''] of libraries) {
    if (existsSync(join(root, path))) continue;
    mkdirSync(join(root, dirname(path)), { recursive: true });
    copyFileSync(path, join(root, path));
  }
  cpSync(vmFiles, root, { recursive: true });
  chmodSync(join(root, 'test'), 0o755);
  writeFileSync(join(root, 'image.tar'), await buildImage());
  const units = join(root, 'etc/systemd/system');
  mkdirSync(units, { recursive: true });
  writeFileSync(join(units, 'silt-test.service'), UNIT);
  writeFileSync(join(units, 'silt-test.target'), TARGET);
  symlinkSync('silt-test.target', join(units, 'default.target'));
  for (const [name, text] of Object.entries(ACCOUNTS)) writeFileSync(join(root, 'etc', name), text);
}

/** What runs before the disk is there: integration/vm/init, with the kernel's modules. */
async function makeInitrd(root: string, modules: readonly string[], initrd: string): Promise<void> {
  await installBusybox(root);
  for (const name of ['dev', 'modules', 'new', 'proc']) mkdirSync(join(root, name));
  for (const [i, path] of modules.entries())
    copyFileSync(path, join(root, 'modules', `${String(i).padStart(2, '0')}-${basename(path)}`));
  copyFileSync(join(vmFiles, 'init'), join(root, 'init'));
  chmodSync(join(root, 'init'), 0o755);
  await output(['sh', '-c', `${busybox} find . | ${busybox} cpio -o -H newc | gzip -1 > ${initrd}`], root);
}

/** Runs the machine to its end, prints what its tests say, and returns all lines of its console. */
async function runMachine(options: readonly string[]): Promise<string[]> {
  const machine = spawn('qemu-system-x86_64', options, { stdio: ['ignore', 'pipe', 'inherit'], timeout: TIMEOUT_MS });
  machine.on('error', (error) => console.error(error.message));
  const lines: string[] = [];
  for await (const line of createInterface({ input: machine.stdout })) {
    lines.push(line);
    if (/^(ok|FAILED|KERNEL|VM-DONE)/.test(line)) console.log(line);
  }
  return lines;
}

/** Whether all that was tried with the kernel of a suite held. */
async function testOn(suite: string, cases: readonly string[], directory: string): Promise<boolean> {
  const [kernel, root, early] = ['kernel', 'root', 'early'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  const [disk, initrd] = [join(directory, 'disk'), join(directory, 'initrd')];
  for (const path of [kernel, root, early]) mkdirSync(path);
  const { image, modules } = await fetchKernel(suite, kernel);
  await unpackUserland(root, join(directory, 'archives'));
  await makeRoot(root);
  await output(['mkfs.ext4', '-q', '-d', root, disk, DISK]);
  await makeInitrd(early, modules, initrd);
  const machine = ['-machine', 'q35,accel=tcg', '-cpu', 'max', '-m', `${MEMORY_MIB}`, '-smp', '2'];
  // What a machine writes is gone with it: the next one starts from the same disk.
  const drive = `file=${disk},format=raw,if=virtio,cache=unsafe,snapshot=on`;
  const devices = ['-drive', drive, '-nic', 'none', '-nographic', '-no-reboot'];
  let held = true;
  for (const { name, append, cases: its, lacking = {} } of MACHINES) {
    const here = its.filter((one) => cases.includes(one));
    if (here.length === 0) continue;
    const reason = lacking[suite];
    console.log(`${suite}, ${name}: ${here.join(' ')}${reason === undefined ? '' : ` [skipped: ${reason}]`}`);
    if (reason !== undefined) continue;
    const words = `console=ttyS0 quiet panic=-1 mitigations=off ${append} silt.cases=${here.join(',')}`;
    const lines = await runMachine([...machine, ...devices, '-kernel', image, '-initrd', initrd, '-append', words]);
    if (!lines.some((line) => line.startsWith('FAILED')) && lines.includes('VM-DONE')) continue;
    const log = join(tmpdir(), `silt-vm-${suite}-${name}.log`);
    writeFileSync(log, lines.join('\n'));
    console.log(`the machine's console: ${log}`);
    held = false;
  }
  return held;
}

async function main(): Promise<void> {
  const given = process.argv.slice(2);
  for (const wanted of given.length > 0 ? given : SUITES) {
    const [suite = '', cases] = wanted.split(':');
    const unknown = cases?.split(',').find((name) => !CASES.includes(name));
    if (unknown !== undefined) throw new Error(`there is no case "${unknown}"; there are ${CASES.join(', ')}`);
    const directory = mkdtempSync(join(tmpdir(), 'silt-vm-'));
    try {
      if (!(await testOn(suite, cases?.split(',') ?? CASES, directory))) process.exitCode = 1;
    } finally {
      rmSync(directory, { recursive: true });
    }
  }
}

void main();
