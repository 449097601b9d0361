import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nativeDirectory } from '../native';
import { ctrSpec } from '../sandbox/ctr-spec.fixture';
import type { ListedInstruction } from '../syscall';
import { bundleForTest } from '../tools/bundle-for-test';

const bundle = bundleForTest(join(__dirname, 'main.ts'));
const home = mkdtempSync(join(tmpdir(), 'silt-cli-'));
afterAll(() => {
  bundle.remove();
  rmSync(home, { recursive: true });
});

function silt(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const env = {
    PATH: process.env['PATH'],
    SILT_NATIVE_DIR: nativeDirectory(),
    SILT_CONFIG: join(home, 'config.toml'),
    SILT_ROOT: home,
  };
  const { status, stdout, stderr } = spawnSync(process.execPath, [bundle.file, ...args], { env, encoding: 'utf8' });
  return { status, stdout, stderr };
}

describe('silt', () => {
  test.each(['--version', '-v'])('%s says which it is, and which version of the OCI spec it follows', (flag) => {
    expect(silt(flag)).toEqual({
      status: 0,
      stdout: `silt version 0.1.0\ncommit: \nspec: 1.3.0\nnode: ${process.version}\n`,
      stderr: '',
    });
  });

  test('--help lists the commands', () => {
    const { status, stdout, stderr } = silt('--help');
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^NAME:\n {3}silt - .*\n\nUSAGE: silt \[options\] \[command\]/);
    expect(stdout).toMatch(/^ {2}tar /m);
    expect(stdout).toMatch(/^ {2}program /m);
  });

  test('without a command shows its help as an error', () => {
    const { status, stdout, stderr } = silt();
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^NAME:\n {3}silt - /);
  });

  test.each<[string[], string]>([
    [['--nosuch'], "silt: unknown option '--nosuch' (REQUEST_INVALID)\n"],
    [['nosuch'], "silt: unknown command 'nosuch' (REQUEST_INVALID)\n"],
    ...['toString', 'constructor', '__proto__'].map((name): [string[], string] => [
      [name],
      `silt: unknown command '${name}' (REQUEST_INVALID)\n`,
    ]),
    [['tar', 'rootfs-upper'], "silt: missing required argument 'container-id' (REQUEST_INVALID)\n"],
    [['tar', 'rootfs-upper', 'web', '--nosuch'], "silt: unknown option '--nosuch' (REQUEST_INVALID)\n"],
    [['tar', 'rootfs-upper', 'web', '--file'], "silt: option '--file <path>' argument missing (REQUEST_INVALID)\n"],
    [
      ['program', '/a', '/b'],
      "silt: too many arguments for 'program'. Expected 1 argument but got 2. (REQUEST_INVALID)\n",
    ],
  ])('%j is refused with status 1', (args, stderr) => {
    expect(silt(...args)).toEqual({ status: 1, stdout: '', stderr });
  });
});

describe('an error', () => {
  test('has its code behind the message', () => {
    const root = join(home, 'none');
    expect(silt('--root', root, 'tar', 'rootfs-upper', 'web')).toEqual({
      status: 1,
      stdout: '',
      stderr: `silt: container web does not exist in ${root}; containers of containerd are found with --root /run/silt/<namespace> (CONTAINER_NOT_FOUND)\n`,
    });
  });

  test('of a snapshot leaves no file', () => {
    const file = join(home, 'snapshot.tar');
    const { status, stderr } = silt('--root', join(home, 'none'), 'tar', 'rootfs-upper', 'web', '--file', file);
    expect(status).toBe(1);
    expect(stderr).toMatch(
      new RegExp(
        `^silt: cannot write the snapshot ${file}: container web does not exist .* \\(CONTAINER_NOT_FOUND\\)\n$`,
      ),
    );
    expect(() => readFileSync(file)).toThrow('ENOENT');
  });
});

describe('silt program', () => {
  const path = join(home, 'web');
  beforeAll(() => {
    mkdirSync(path);
    // Without limits it can be planned on every host.
    writeFileSync(join(path, 'config.json'), JSON.stringify(ctrSpec({ linux: { resources: {} } })));
  });

  test('prints what the sandbox and the container would do', () => {
    const { status, stdout, stderr } = silt('program', path);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout.split('\n').filter((line) => line.startsWith('## '))).toEqual(['## sandbox', '## container']);
    expect(stdout).toContain('# [sandbox] waiting for the pod’s end\n');
    expect(stdout).toContain(`open_tree(AT_FDCWD, "${path}/rootfs", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = $layer\n`);
    expect(stdout).toMatch(/^ *\d+ {2}execve\("\/bin\/sh", \["\/bin\/sh"\], /m);
  });

  test('prints it as JSON', () => {
    const { status, stdout } = silt('program', '--json', path);
    expect(status).toBe(0);
    const programs = JSON.parse(stdout) as Record<string, ListedInstruction[]>;
    expect(Object.keys(programs)).toEqual(['sandbox', 'container']);
    expect(programs['sandbox']?.[0]).toEqual({
      index: 0,
      process: '',
      step: 'preparing to start the sandbox',
      call: 'prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)',
    });
  });

  test('of what is no bundle is refused', () => {
    const { status, stdout, stderr } = silt('program', join(home, 'none'));
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr).toBe(
      `silt: cannot read the spec ${home}/none/config.json: ENOENT: no such file or directory, open '${home}/none/config.json' (SPEC_INVALID)\n`,
    );
  });

  test('of a broken configuration is refused', () => {
    writeFileSync(join(home, 'config.toml'), 'userns = 1\n');
    try {
      expect(silt('program', path)).toEqual({
        status: 1,
        stdout: '',
        stderr: `silt: ${home}/config.toml: userns must be "auto" or "none" (CONFIG_INVALID)\n`,
      });
    } finally {
      rmSync(join(home, 'config.toml'));
    }
  });
});
