import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nativeDirectory } from '../../native';
import { knownCapabilities, knownMountOptions, type Mount } from '../../oci';
import { ctrSpec } from '../../sandbox/ctr-spec.fixture';
import { bundleForTest } from '../../tools/bundle-for-test';

const bundle = bundleForTest(join(__dirname, '..', 'main.ts'));
const home = mkdtempSync(join(tmpdir(), 'silt-features-'));
afterAll(() => {
  bundle.remove();
  rmSync(home, { recursive: true });
});

function silt(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const env = {
    PATH: process.env['PATH'],
    SILT_NATIVE_DIR: nativeDirectory(),
    SILT_CONFIG: join(home, 'none'),
    SILT_ROOT: home,
  };
  const { status, stdout, stderr } = spawnSync(process.execPath, [bundle.file, ...args], { env, encoding: 'utf8' });
  return { status, stdout, stderr };
}

interface Features {
  readonly hooks: readonly string[];
  readonly mountOptions: readonly string[];
  readonly linux: {
    readonly namespaces: readonly string[];
    readonly capabilities: readonly string[];
    readonly seccomp: Readonly<
      Record<'actions' | 'operators' | 'archs' | 'knownFlags' | 'supportedFlags', readonly string[]>
    >;
    readonly apparmor: { readonly enabled: boolean };
    readonly selinux: { readonly enabled: boolean };
    readonly intelRdt: { readonly enabled: boolean };
    readonly cgroup: Readonly<Record<string, boolean>>;
    readonly mountExtensions: { readonly idmap: { readonly enabled: boolean } };
  };
}
const { status, stdout } = silt('features');
const features = JSON.parse(stdout) as Features;

/** The error of planning a start with this spec, or '' when there is none: nothing is started. */
function planned(more: object, linux: object = {}): string {
  const spec = { ...ctrSpec({ linux: { resources: {} } }), ...more };
  const path = mkdtempSync(join(home, 'bundle-'));
  mkdirSync(join(path, 'rootfs'));
  writeFileSync(join(path, 'config.json'), JSON.stringify({ ...spec, linux: { ...spec.linux, ...linux } }));
  return silt('program', path).stderr;
}

const POD_IDS = [{ containerID: 0, hostID: 100_000, size: 65536 }];
/** An idmapped mount has the pod's ids, so the pod needs some. */
const USER_NAMESPACE = {
  namespaces: [...(ctrSpec({}).linux?.namespaces ?? []), { type: 'user' }],
  uidMappings: POD_IDS,
  gidMappings: POD_IDS,
};

/** A mount at a place of its own, of the kind for which the option makes sense. */
function mountWith(option: string, i: number): Mount {
  const destination = `/mnt/${i}`;
  if (option === 'tmpcopyup') return { destination, type: 'tmpfs', source: 'tmpfs', options: [option] };
  const idmapped = option.endsWith('idmap') ? { uidMappings: POD_IDS, gidMappings: POD_IDS } : {};
  return { destination, type: 'bind', source: '/usr', options: ['bind', option], ...idmapped };
}

describe('silt features', () => {
  test('is a document of the OCI runtime spec', () => {
    expect(status).toBe(0);
    expect(features).toMatchObject({ ociVersionMin: '1.0.0', ociVersionMax: '1.3.0' });
    expect(features.linux.capabilities).toEqual(knownCapabilities());
    expect(features.linux.cgroup).toMatchObject({ v1: true, v2: true });
  });

  test('names mount options that all can be planned', () => {
    expect(features.mountOptions.length).toBeGreaterThan(50);
    expect(planned({ mounts: features.mountOptions.map(mountWith) }, USER_NAMESPACE)).toBe('');
  });

  const runc = spawnSync('runc', ['features'], {
    env: { PATH: `${process.env['PATH']}:/usr/sbin` },
    encoding: 'utf8',
  });
  const lacking = runc.status === 0 ? undefined : `no runc with the command here`;
  (lacking === undefined ? test : test.skip)(
    `names every mount option that runc does${lacking === undefined ? '' : ` [skipped: ${lacking}]`}`,
    () => {
      const { mountOptions } = JSON.parse(runc.stdout) as Features;
      expect(mountOptions).toContain('rbind');
      expect(mountOptions.filter((name) => !features.mountOptions.includes(name))).toEqual([]);
    },
  );

  test('leaves out the mount options that are refused, and no others', () => {
    const others = knownMountOptions().filter((name) => !features.mountOptions.includes(name));
    for (const option of others)
      expect([option, planned({ mounts: [mountWith(option, 0)] })]).not.toEqual([option, '']);
    expect(features.linux.mountExtensions.idmap.enabled).toBe(features.mountOptions.includes('idmap'));
  });

  test.each(['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'])(
    'names the hook %s exactly when it is run',
    (name) => {
      const refused = planned({ hooks: { [name]: [{ path: '/bin/true' }] } }) !== '';
      expect(features.hooks.includes(name)).toBe(!refused);
    },
  );

  test.each(['cgroup', 'ipc', 'mount', 'network', 'pid', 'time', 'user', 'uts'])(
    'names the namespace %s exactly when it can be had',
    (type) => {
      const mappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
      const types = [...new Set(['mount', 'pid', type])].map((one) => ({ type: one }));
      const user = type === 'user' ? { uidMappings: mappings, gidMappings: mappings } : {};
      const refused = planned({ hostname: '', mounts: [] }, { namespaces: types, ...user });
      expect([features.linux.namespaces.includes(type), refused]).toEqual([refused === '', refused]);
    },
  );

  test('names actions, operators, architectures and flags of seccomp that all can be compiled', () => {
    const { actions, operators, archs, knownFlags, supportedFlags } = features.linux.seccomp;
    expect(operators).toHaveLength(7);
    expect(supportedFlags).toEqual(knownFlags);
    const rules = actions.map((action, i) => ({ names: [i % 2 ? 'mount' : 'getpid'], action }));
    const compared = operators.map((op) => ({
      names: ['ioctl'],
      action: 'SCMP_ACT_ERRNO',
      args: [{ index: 0, value: 1, op }],
    }));
    const seccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      architectures: archs,
      flags: knownFlags,
      syscalls: [...rules, ...compared],
      ...(actions.includes('SCMP_ACT_NOTIFY') ? { listenerPath: '/run/listener' } : {}),
    };
    expect(planned({}, { seccomp })).toBe('');
  });

  test.each<[string, () => boolean, object, object]>([
    [
      'AppArmor',
      () => features.linux.apparmor.enabled,
      { process: { ...ctrSpec({}).process, apparmorProfile: 'x' } },
      {},
    ],
    [
      'SELinux',
      () => features.linux.selinux.enabled,
      { process: { ...ctrSpec({}).process, selinuxLabel: 'a:b:c:s0' } },
      {},
    ],
    ['Intel RDT', () => features.linux.intelRdt.enabled, {}, { intelRdt: { closID: 'x' } }],
  ])('says of %s what becomes of a spec with it', (_, enabled, more, linux) => {
    // A host without it refuses as well, by another code.
    expect(/SPEC_UNSUPPORTED|UNIMPLEMENTED/.test(planned(more, linux))).toBe(!enabled());
  });
});
