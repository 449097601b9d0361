/**
 * Boots a virtual machine with a newer Debian kernel and a unified cgroup hierarchy under QEMU's software emulation, runs
 * integration/vm/test in it, and prints what that says. The machine's root is an initramfs: busybox, silt as installed, a bundle.
 *
 *   vm-test [SUITE]     of the kernel; sid unless given
 *
 * Exit status 1 when a line says FAILED or the end is missing. Minutes long, so it is no part of `make test`.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkout } from '../integration/harness/checkout';
import { mustRun } from '../integration/harness/command';
import { prepareApt } from '../integration/harness/peers';

const TIMEOUT_MS = 900_000;
const busybox = '/bin/busybox';

async function output(words: readonly string[], cwd?: string): Promise<string> {
  return (await mustRun([...words], { timeoutMs: 300_000, ...(cwd ? { cwd } : {}) })).stdout.toString();
}

/** Unpacks the suite's cloud kernel into `directory`; returns the paths of its image and of the overlay module. */
async function fetchKernel(suite: string, directory: string): Promise<{ image: string; module: string }> {
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
  const find = async (name: string): Promise<string> => {
    const [found] = (await output(['find', directory, '-type', 'f', '-name', name])).trim().split('\n');
    if (found === undefined || found === '') throw new Error(`the kernel of ${suite} has no ${name}`);
    return found;
  };
  const module = await find('overlay.ko*');
  if (module.endsWith('.xz')) await output(['xz', '-d', module]);
  return { image: await find('vmlinuz*'), module: module.replace(/\.xz$/, '') };
}

/** Busybox with its applets in `directory`/bin. */
async function installBusybox(directory: string): Promise<void> {
  const bin = join(directory, 'bin');
  mkdirSync(bin, { recursive: true });
  copyFileSync(busybox, join(bin, 'busybox'));
  const applets = (await output([busybox, '--list'])).trim().split('\n');
  for (const name of applets) if (name !== 'busybox') symlinkSync('busybox', join(bin, name));
}

async function makeRoot(root: string, module: string): Promise<void> {
  await installBusybox(root);
  await installBusybox(join(root, 'bundle/rootfs'));
  for (const name of [
    'proc',
    'dev',
    'modules',
    'lib/x86_64-linux-gnu',
    'lib64',
    'bundle/rootfs/dev',
    'bundle/rootfs/proc',
  ])
    mkdirSync(join(root, name), { recursive: true });
  mkdirSync(join(root, 'bundle/rootfs/sys/fs/cgroup'), { recursive: true });
  copyFileSync(module, join(root, 'modules/overlay.ko'));
  await mustRun([join(checkout, 'tools/install'), '/usr/local'], {
    env: { ...process.env, DESTDIR: root },
    cwd: checkout,
  });
  const libraries = (await output(['ldd', process.execPath])).matchAll(/(\/lib\S+) \(/g);
  for (const [, path = ''] of libraries) copyFileSync(path, join(root, path));
  for (const name of ['init', 'test']) {
    copyFileSync(join(checkout, 'integration/vm', name), join(root, name));
    chmodSync(join(root, name), 0o755);
  }
}

async function main(): Promise<void> {
  const suite = process.argv[2] ?? 'sid';
  const directory = mkdtempSync(join(tmpdir(), 'silt-vm-'));
  try {
    const kernel = join(directory, 'kernel');
    const root = join(directory, 'root');
    mkdirSync(kernel);
    const { image, module } = await fetchKernel(suite, kernel);
    await makeRoot(root, module);
    const initrd = join(directory, 'initrd');
    await output(['sh', '-c', `${busybox} find . | ${busybox} cpio -o -H newc | gzip -1 > ${initrd}`], root);
    const machine = [
      '-machine',
      'q35,accel=tcg',
      '-cpu',
      'max',
      '-m',
      '1500',
      '-smp',
      '2',
      '-nic',
      'none',
      '-nographic',
      '-no-reboot',
    ];
    const boot = ['-kernel', image, '-initrd', initrd, '-append', 'console=ttyS0 quiet panic=-1 mitigations=off'];
    const { stdout, error } = spawnSync('qemu-system-x86_64', [...machine, ...boot], {
      stdio: ['ignore', 'pipe', 'inherit'],
      encoding: 'utf8',
      timeout: TIMEOUT_MS,
    });
    if (error) console.error(error.message);
    const said = stdout
      .split(/\r?\n/)
      .filter((line) => /^(ok|FAILED|KERNEL|VM-DONE)/.test(line.replace(/^.*?(?=KERNEL)/, '')));
    console.log(said.join('\n'));
    if (said.some((line) => line.startsWith('FAILED')) || !said.includes('VM-DONE')) {
      writeFileSync(join(tmpdir(), 'silt-vm.log'), stdout);
      console.log(`the machine's console: ${join(tmpdir(), 'silt-vm.log')}`);
      process.exitCode = 1;
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
}

void main();
