import { checkCgroups } from './cgroup';
import { checkEngines } from './engines';
import type { Finding } from './finding';
import { thisHost, type HostView } from './host-view';
import { checkHost } from './index';
import { checkKernel } from './kernel';
import { checkCriu, checkSecurityModules } from './programs';

/** A host with these files and programs (with what they print), and everything that silt needs but where told otherwise. */
function host(
  more: Partial<HostView> & { files?: Record<string, string>; programs?: Record<string, string> } = {},
): HostView {
  const files: Record<string, string> = {
    '/proc/self/status': 'Name:\tnode\nCapBnd:\t000001ffffffffff\n',
    '/proc/filesystems': 'nodev\tproc\nnodev\toverlay\n\text4\n\terofs',
    '/proc/self/ns/user': '',
    '/proc/sys/user/max_user_namespaces': '15000',
    '/proc/sys/kernel/seccomp/actions_avail': 'kill_process kill_thread trap errno user_notif trace log allow',
    '/proc/cpuinfo': 'flags\t\t: fpu cpuid_fault\n',
    ...more.files,
  };
  const programs = more.programs ?? {};
  return {
    kernelRelease: '6.18.1-test',
    architecture: 'x64',
    uid: 0,
    read: (path) => files[path],
    exists: (path) => path in files,
    run: (name) => programs[name],
    findProgram: (name) => (name in programs ? `/usr/bin/${name}` : undefined),
    filesystemType: () => 0xef53,
    hierarchies: () => ({
      mode: 'v2',
      list: [
        {
          version: 2,
          mountPoint: '/sys/fs/cgroup',
          controllers: ['cpu', 'cpuset', 'memory', 'pids', 'devices', 'freezer'],
          own: '/',
        },
      ],
    }),
    ...more,
  };
}

function finding(feature: string, all: readonly Finding[]): Finding {
  const [found, ...others] = all.filter((one) => one.feature === feature);
  expect(others).toEqual([]);
  return found!;
}

const NEEDED = 'checkpoint and restore need CRIU 4.1 or later';

describe('the kernel', () => {
  test('that has everything', () => {
    expect(checkKernel(host()).filter(({ status }) => status !== 'ok')).toEqual([]);
  });

  test.each<[string, string, Finding['status'], Parameters<typeof host>[0]]>([
    ['an old one', 'kernel', 'missing', { kernelRelease: '5.19.9' }],
    ['an older one', 'kernel', 'limited', { kernelRelease: '6.1.0-50-cloud-amd64' }],
    ['another machine', 'architecture', 'missing', { architecture: 'riscv64' }],
    ['not root', 'root', 'missing', { uid: 1000 }],
    ['root in a container', 'root', 'missing', { files: { '/proc/self/status': 'CapBnd:\t00000000a80425fb\n' } }],
    [
      'root that may not raise limits',
      'root',
      'limited',
      { files: { '/proc/self/status': 'CapBnd:\t000001fffeffffff\n' } },
    ],
    ['no overlayfs', 'overlayfs', 'missing', { files: { '/proc/filesystems': '\text4' } }],
    ['no erofs', 'erofs', 'absent', { files: { '/proc/filesystems': 'nodev\toverlay' } }],
    ['no user namespaces', 'user namespaces', 'missing', { files: { '/proc/sys/user/max_user_namespaces': '0' } }],
    ['layers on NFS', 'idmapped mounts', 'limited', { filesystemType: () => 0x6969 }],
    ['no seccomp', 'seccomp', 'missing', { files: { '/proc/sys/kernel/seccomp/actions_avail': '' } }],
    ['a CPU without faulting', 'CPUID faulting', 'absent', { files: { '/proc/cpuinfo': 'flags\t: fpu' } }],
  ])('with %s', (_, feature, status, more) => {
    const found = finding(feature, checkKernel(host(more)));
    expect(found).toMatchObject({ status, todo: expect.stringMatching(/./) as string });
  });

  test('with overlayfs as a module', () => {
    const files = {
      '/proc/filesystems': '',
      '/lib/modules/6.18.1-test/modules.dep': 'kernel/fs/overlayfs/overlay.ko.xz:\n',
    };
    expect(finding('overlayfs', checkKernel(host({ files })))).toMatchObject({ status: 'ok', found: 'as a module' });
  });
});

describe('cgroups', () => {
  test('that have everything', () => {
    expect(checkCgroups(host({ files: { '/run/systemd/system': '' } })).map(({ status }) => status)).toEqual([
      'ok',
      'ok',
      'ok',
    ]);
  });

  test('without a controller: what is lost', () => {
    const hierarchies = (): ReturnType<HostView['hierarchies']> => ({
      mode: 'v1',
      list: [{ version: 1, mountPoint: '/x', controllers: ['cpu', 'memory', 'pids', 'devices', 'freezer'], own: '/' }],
    });
    expect(finding('controllers', checkCgroups(host({ hierarchies })))).toMatchObject({
      status: 'limited',
      found: 'without cpuset (CPU sets)',
    });
  });

  test('that are not mounted', () => {
    const hierarchies = (): never => {
      throw new Error('no cgroups');
    };
    expect(checkCgroups(host({ hierarchies }))).toMatchObject([{ status: 'missing', found: 'no cgroups' }]);
  });
});

test.each<[string | undefined, Omit<Finding, 'feature'>]>([
  ['Version: 4.1.1\nGitID: v4.1.1\n', { status: 'ok', found: 'version 4.1.1' }],
  ['Version: 4.1\n', { status: 'ok', found: 'version 4.1' }],
  ['Version: 3.17.1\n', { status: 'limited', found: 'version 3.17.1', todo: NEEDED }],
  ['something else\n', { status: 'limited', found: 'version unknown', todo: NEEDED }],
  [undefined, { status: 'absent', found: 'there is no criu', todo: NEEDED }],
])('CRIU that says %j: what was found, and what is needed', (text, expected) => {
  const programs: Record<string, string> = text === undefined ? {} : { criu: text };
  expect(checkCriu(host({ programs }), 'criu')).toEqual({ feature: 'CRIU', ...expected });
});

test('security modules', () => {
  expect(checkSecurityModules(host()).map(({ status }) => status)).toEqual(['absent', 'absent']);
  const files = { '/sys/module/apparmor/parameters/enabled': 'Y', '/sys/fs/selinux/enforce': '1' };
  expect(checkSecurityModules(host({ files })).map(({ found }) => found)).toEqual(['enabled', 'enforcing']);
});

describe('engines', () => {
  const files = { containerdConfig: '/c.toml', dockerConfig: '/d.json' };
  const programs = {
    containerd: 'containerd github.com/containerd/containerd v2.1.4 abc',
    'containerd-shim-silt-v1': '',
    dockerd: '',
  };
  const table =
    'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.silt]\nruntime_type = "io.containerd.silt.v1"\n';
  const check = (texts: Record<string, string>): Finding[] => checkEngines(host({ programs, files: texts }), files);

  test('that use silt', () => {
    const docker = JSON.stringify({ runtimes: { silt: { path: '/usr/local/bin/silt' } } });
    expect(check({ '/c.toml': `${table}pod_annotations = ["dev.gvisor.*"]\n`, '/d.json': docker })).toEqual([
      { feature: 'containerd', status: 'ok', found: '2.1.4' },
      { feature: 'shim', status: 'ok', found: '/usr/bin/containerd-shim-silt-v1' },
      { feature: 'containerd’s CRI', status: 'ok', found: 'runtime silt with pod_annotations in /c.toml' },
      { feature: 'Docker', status: 'ok', found: 'runtime silt in /d.json' },
    ]);
  });

  test.each<[string, Record<string, string>, RegExp]>([
    ['no file', {}, /^no runtime silt in \/c.toml$/],
    ['another runtime of that name', { '/c.toml': table.replace('silt.v1"', 'runc.v2"') }, /^no runtime silt/],
    ['no annotations', { '/c.toml': table }, /^silt without pod_annotations/],
    ['CRI switched off', { '/c.toml': `disabled_plugins = ["io.containerd.grpc.v1.cri"]\n${table}` }, /^disabled in/],
    ['a file that is no TOML', { '/c.toml': '[' }, /^\/c.toml is left as it is: it is not TOML/],
  ])('containerd with %s', (_, texts, found) => {
    expect(finding('containerd’s CRI', check(texts))).toMatchObject({
      status: 'limited',
      found: expect.stringMatching(found) as string,
      todo: expect.stringMatching(/./) as string,
    });
  });

  test.each([
    ['without the runtime', '{}'],
    ['with a broken file', '{'],
  ])('Docker %s', (_, text) => {
    expect(finding('Docker', check({ '/d.json': text })).status).toBe('limited');
  });

  test('that are not there', () => {
    const none = checkEngines(host(), files);
    expect(none.map(({ status }) => status)).toEqual(['absent', 'absent']);
  });
});

test('this host has an answer to everything', () => {
  const all = checkHost(thisHost, { criu: 'criu', containerdConfig: '/none', dockerConfig: '/none' });
  expect(new Set(all.map(({ feature }) => feature)).size).toBe(all.length);
  for (const { status, todo } of all) if (status === 'missing' || status === 'limited') expect(todo).toBeDefined();
});
