import { parseProcess, parseResources, parseSpec, specWarnings } from './check';
import { document, failureOf, type Json, NAMESPACES, RANGE, refusal } from './check.fixture';

describe('what is read', () => {
  test('a full spec comes back as it is', () => {
    const spec = document({
      process: {
        terminal: true,
        consoleSize: { height: 25, width: 80 },
        user: { uid: 1000, gid: 1000, umask: 0o27, additionalGids: [5, 6] },
        args: ['sh', '-c', 'true'],
        env: ['PATH=/bin', 'EMPTY='],
        cwd: '/tmp',
        capabilities: { bounding: ['CAP_CHOWN'], effective: ['CAP_CHOWN'], permitted: ['CAP_CHOWN', 'CAP_KILL'] },
        rlimits: [{ type: 'RLIMIT_NOFILE', hard: 1048576, soft: 1024 }],
        noNewPrivileges: true,
        oomScoreAdj: -500,
      },
      hostname: 'web',
      domainname: 'example.org',
      mounts: [
        { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid'] },
        { destination: '/data', source: '/srv', options: ['rbind', 'ro'], uidMappings: RANGE, gidMappings: RANGE },
      ],
      annotations: { 'io.kubernetes.cri.sandbox-id': 'abc', __proto__x: '' },
      linux: {
        sysctl: { 'net.core.somaxconn': '1024', 'kernel.shm_rmid_forced': '1', 'kernel.domainname': 'x' },
        resources: {
          devices: [
            { allow: false, access: 'rwm' },
            { allow: true, type: 'c', major: 1, minor: 3, access: 'rw' },
          ],
          memory: { limit: 536870912, swap: -1, disableOOMKiller: false },
          cpu: { shares: 1024, quota: 50000, period: 100000, cpus: '0-3,7' },
          pids: { limit: 100 },
          blockIO: {
            weight: 10,
            weightDevice: [{ major: 8, minor: 0, weight: 500 }],
            throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 600 }],
          },
          hugepageLimits: [{ pageSize: '2MB', limit: 9223372036854772000 }],
          network: { classID: 1048577, priorities: [{ name: 'eth0', priority: 500 }] },
          rdma: { mlx5_1: { hcaHandles: 3 } },
          unified: { 'memory.high': '100M' },
        },
        cgroupsPath: '/pod/web',
        devices: [
          { path: '/dev/fuse', type: 'c', major: 10, minor: 229, fileMode: 0o666, uid: 0, gid: 0 },
          { path: '/dev/pipe', type: 'p' },
        ],
        seccomp: {
          defaultAction: 'SCMP_ACT_ERRNO',
          defaultErrnoRet: 1,
          architectures: ['SCMP_ARCH_X86_64'],
          flags: ['SECCOMP_FILTER_FLAG_LOG'],
          syscalls: [
            {
              names: ['clone'],
              action: 'SCMP_ACT_ALLOW',
              args: [{ index: 0, value: 2114060288, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
            },
          ],
        },
        rootfsPropagation: 'rslave',
        maskedPaths: ['/proc/kcore'],
        readonlyPaths: ['/proc/sys'],
        personality: { domain: 'LINUX' },
      },
    });
    expect(parseSpec(JSON.stringify(spec), 'config.json')).toEqual(spec);
  });

  test('null, unknown fields and "every" are left out', () => {
    const spec = parseSpec(
      JSON.stringify(
        document({
          hooks: null,
          notInTheSpec: { a: 1 },
          process: { user: { username: 'x' }, consoleSize: null },
          linux: {
            devices: null,
            resources: { devices: [{ allow: true, type: '', major: -1, minor: null, access: 'm' }] },
          },
        }),
      ),
      'config.json',
    );
    expect(spec).not.toHaveProperty('hooks');
    expect(spec).not.toHaveProperty('notInTheSpec');
    expect(spec.process).toEqual({ args: ['sh'], cwd: '/', user: { uid: 0, gid: 0 } });
    expect(spec.linux?.resources).toEqual({ devices: [{ allow: true, access: 'm' }] });
  });

  test('integers beyond 2^53 are exact where they have to be', () => {
    const text = JSON.stringify(
      document({
        process: { rlimits: [{ type: 'RLIMIT_CORE', hard: 'HARD', soft: 0 }] },
        linux: { resources: { memory: { limit: 'LIMIT' } } },
      }),
    )
      .replace('"HARD"', '18446744073709551615')
      .replace('"LIMIT"', '9223372036854775807');
    const spec = parseSpec(text, 'config.json');
    expect(spec.process?.rlimits?.[0]?.hard).toBe(2n ** 64n - 1n);
    // The double next to 2^63-1 would be out of range.
    expect(spec.linux?.resources?.memory?.limit).toBe(9223372036854773760);
    expect(failureOf(() => parseSpec(text.replace('551615', '551616'), 'x')).details).toEqual({
      jsonPath: '$.process.rlimits[0].hard',
    });
  });

  test.each(['1.0.0', '1.0.2-dev', '1.1.0+exp', '1.2.1', '1.3.0'])('ociVersion %s', (ociVersion) => {
    expect(parseSpec(JSON.stringify(document({ ociVersion })), 'x').ociVersion).toBe(ociVersion);
  });

  test('a process and resources by themselves', () => {
    expect(parseProcess('{"args":["sh"],"cwd":"/","notInTheSpec":1}', 'exec')).toEqual({ args: ['sh'], cwd: '/' });
    expect(failureOf(() => parseProcess('{"args":["sh"],"cwd":"tmp"}', 'exec')).message).toBe(
      'exec: $.cwd: must be an absolute path, found "tmp"',
    );
    expect(failureOf(() => parseProcess('{"args":["sh"],"cwd":"/","commandLine":"sh"}', 'exec'))).toMatchObject({
      code: 'SPEC_UNSUPPORTED',
      details: { jsonPath: '$.commandLine' },
    });
    expect(parseResources('{"pids":{"limit":5}}', 'update')).toEqual({ pids: { limit: 5 } });
  });
});

describe('what is refused', () => {
  test('with the name of the text, the path, what is there and what should be', () => {
    expect(refusal(document({ process: { cwd: 'tmp' } }))).toMatchObject({
      code: 'SPEC_INVALID',
      message: 'config.json: $.process.cwd: must be an absolute path, found "tmp"',
      details: { jsonPath: '$.process.cwd' },
    });
  });

  const cases: readonly (readonly [what: string, jsonPath: string, spec: Json])[] = [
    ['no version', '$.ociVersion', document({ ociVersion: undefined })],
    ['a version that is none', '$.ociVersion', document({ ociVersion: 'latest' })],
    ['no process', '$.process', { ...document(), process: undefined }],
    ['no root', '$.root', document({ root: null })],
    ['no arguments', '$.process.args', document({ process: { args: [] } })],
    ['an empty program', '$.process.args[0]', document({ process: { args: [''] } })],
    ['a NUL', '$.process.args[1]', document({ process: { args: ['sh', 'a\0b'] } })],
    ['a number for a string', '$.process.args[1]', document({ process: { args: ['sh', 1] } })],
    ['an entry without a name', '$.process.env[1]', document({ process: { env: ['A=', '=x'] } })],
    ['an entry without "="', '$.process.env[0]', document({ process: { env: ['A'] } })],
    ['uid -1', '$.process.user.uid', document({ process: { user: { uid: 4294967295, gid: 0 } } })],
    ['a negative gid', '$.process.user.gid', document({ process: { user: { uid: 0, gid: -1 } } })],
    ['an unmapped uid', '$.process.user.uid', document({ process: { user: { uid: 65536, gid: 0 } } })],
    [
      'an unmapped group',
      '$.process.user.additionalGids[1]',
      document({ process: { user: { uid: 0, gid: 0, additionalGids: [1, 70000] } } }),
    ],
    ['a umask beyond 0777', '$.process.user.umask', document({ process: { user: { uid: 0, gid: 0, umask: 512 } } })],
    [
      'a capability that is effective and not permitted',
      '$.process.capabilities.effective[0]',
      document({ process: { capabilities: { effective: ['CAP_KILL'] } } }),
    ],
    [
      'an unknown limit',
      '$.process.rlimits[0].type',
      document({ process: { rlimits: [{ type: 'RLIMIT_FOO', hard: 1, soft: 1 }] } }),
    ],
    [
      'a limit without a number',
      '$.process.rlimits[0].soft',
      document({ process: { rlimits: [{ type: 'RLIMIT_CPU', hard: 1 }] } }),
    ],
    [
      'soft above hard',
      '$.process.rlimits[0]',
      document({ process: { rlimits: [{ type: 'RLIMIT_CPU', hard: 1, soft: 2 }] } }),
    ],
    [
      'a limit twice',
      '$.process.rlimits[1]',
      document({ process: { rlimits: [0, 0].map(() => ({ type: 'RLIMIT_CPU', hard: 1, soft: 1 })) } }),
    ],
    ['a fraction', '$.process.oomScoreAdj', document({ process: { oomScoreAdj: 1.5 } })],
    ['a score beyond 1000', '$.process.oomScoreAdj', document({ process: { oomScoreAdj: 1001 } })],
    [
      'a huge terminal',
      '$.process.consoleSize.width',
      document({ process: { consoleSize: { height: 1, width: 65536 } } }),
    ],
    ['an empty destination', '$.mounts[0].destination', document({ mounts: [{ destination: '', type: 'proc' }] })],
    ['a mount without type', '$.mounts[0].type', document({ mounts: [{ destination: '/a', source: '/b' }] })],
    [
      'a bind mount of nothing',
      '$.mounts[0].source',
      document({ mounts: [{ destination: '/a', type: 'bind', options: ['rbind'] }] }),
    ],
    [
      'a bind mount with data',
      '$.mounts[0].options',
      document({ mounts: [{ destination: '/a', source: '/b', options: ['bind', 'size=1'] }] }),
    ],
    [
      'an idmapped tmpfs',
      '$.mounts[0]',
      document({ mounts: [{ destination: '/a', type: 'tmpfs', options: ['idmap'] }] }),
    ],
    [
      'half a mapping',
      '$.mounts[0].gidMappings',
      document({ mounts: [{ destination: '/a', source: '/b', options: ['bind'], uidMappings: RANGE }] }),
    ],
    ['an annotation that is no string', '$.annotations["a.b"]', document({ annotations: { 'a.b': 1 } })],
    [
      'a namespace twice',
      '$.linux.namespaces[7].type',
      document({ linux: { namespaces: [...NAMESPACES, { type: 'ipc' }] } }),
    ],
    ['an unknown namespace', '$.linux.namespaces[0].type', document({ linux: { namespaces: [{ type: 'net' }] } })],
    [
      'a relative namespace',
      '$.linux.namespaces[0].path',
      document({ linux: { namespaces: [{ type: 'network', path: 'netns' }] } }),
    ],
    [
      'propagation without a mount namespace',
      '$.linux.rootfsPropagation',
      document({ linux: { namespaces: [{ type: 'pid' }], rootfsPropagation: 'shared' } }),
    ],
    ['no mappings', '$.linux.uidMappings', document({ linux: { uidMappings: [] } })],
    ['mappings without a namespace', '$.linux.uidMappings', document({ linux: { namespaces: [{ type: 'mount' }] } })],
    [
      'an empty range',
      '$.linux.gidMappings[0].size',
      document({ linux: { gidMappings: [{ containerID: 0, hostID: 0, size: 0 }] } }),
    ],
    [
      'a range beyond 2^32',
      '$.linux.gidMappings[0]',
      document({ linux: { gidMappings: [{ containerID: 0, hostID: 4294967000, size: 1000 }] } }),
    ],
    [
      'ranges that overlap outside',
      '$.linux.uidMappings[0]',
      document({
        linux: {
          uidMappings: [
            { containerID: 0, hostID: 15, size: 10 },
            { containerID: 10, hostID: 10, size: 10 },
          ],
        },
      }),
    ],
    [
      'ranges that overlap inside',
      '$.linux.uidMappings[1]',
      document({
        linux: {
          uidMappings: [
            { containerID: 0, hostID: 100, size: 10 },
            { containerID: 9, hostID: 200, size: 10 },
          ],
        },
      }),
    ],
    [
      'a device without a number',
      '$.linux.devices[0].minor',
      document({ linux: { devices: [{ path: '/dev/x', type: 'c', major: 1 }] } }),
    ],
    [
      'an unknown kind of device',
      '$.linux.devices[0].type',
      document({ linux: { devices: [{ path: '/dev/x', type: 'd', major: 1, minor: 1 }] } }),
    ],
    [
      'a device path with dots',
      '$.linux.devices[0].path',
      document({ linux: { devices: [{ path: '/dev/../x', type: 'p' }] } }),
    ],
    ['a relative masked path', '$.linux.maskedPaths[0]', document({ linux: { maskedPaths: ['proc/kcore'] } })],
    ['unknown propagation', '$.linux.rootfsPropagation', document({ linux: { rootfsPropagation: 'public' } })],
    [
      'an unknown seccomp action',
      '$.linux.seccomp.defaultAction',
      document({ linux: { seccomp: { defaultAction: 'ALLOW' } } }),
    ],
    [
      'an errno that no action returns',
      '$.linux.seccomp.syscalls[0].errnoRet',
      document({
        linux: {
          seccomp: {
            defaultAction: 'SCMP_ACT_ERRNO',
            syscalls: [{ names: ['a'], action: 'SCMP_ACT_ALLOW', errnoRet: 1 }],
          },
        },
      }),
    ],
    [
      'a rule for nothing',
      '$.linux.seccomp.syscalls[0].names',
      document({
        linux: { seccomp: { defaultAction: 'SCMP_ACT_ERRNO', syscalls: [{ names: [], action: 'SCMP_ACT_ALLOW' }] } },
      }),
    ],
    [
      'a seventh argument',
      '$.linux.seccomp.syscalls[0].args[0].index',
      document({
        linux: {
          seccomp: {
            defaultAction: 'SCMP_ACT_ERRNO',
            syscalls: [{ names: ['a'], action: 'SCMP_ACT_ALLOW', args: [{ index: 6, value: 1, op: 'SCMP_CMP_EQ' }] }],
          },
        },
      }),
    ],
    [
      'an unknown seccomp flag',
      '$.linux.seccomp.flags[0]',
      document({ linux: { seccomp: { defaultAction: 'SCMP_ACT_ERRNO', flags: ['LOG'] } } }),
    ],
    [
      'a cgroup file with a slash',
      '$.linux.resources.unified',
      document({ linux: { resources: { unified: { '../memory.max': '1' } } } }),
    ],
    [
      'a CPU list that is none',
      '$.linux.resources.cpu.cpus',
      document({ linux: { resources: { cpu: { cpus: '0-' } } } }),
    ],
  ];
  test.each(cases)('%s', (_, jsonPath, spec) => {
    expect(refusal(spec)).toMatchObject({ code: 'SPEC_INVALID', details: { jsonPath } });
  });

  test.each(['hostname', 'domainname'])('%s without a uts namespace', (key) => {
    const namespaces = NAMESPACES.filter(({ type }) => type !== 'uts');
    expect(refusal(document({ [key]: 'x', linux: { namespaces } }))).toMatchObject({
      code: 'SPEC_INVALID',
      details: { jsonPath: `$.${key}` },
    });
  });

  test('the next major version of OCI', () => {
    expect(refusal(document({ ociVersion: '2.0.0' }))).toMatchObject({
      code: 'SPEC_UNSUPPORTED',
      details: { jsonPath: '$.ociVersion' },
    });
  });

  test.each(['prestart', 'createRuntime', 'createContainer'])('a hook of %s in a mount namespace of a path', (kind) => {
    const mount = { type: 'mount', path: '/proc/1/ns/mnt' };
    const linux = { namespaces: [...NAMESPACES.filter(({ type }) => type !== 'mount'), mount] };
    const hooks = { [kind]: [{ path: '/bin/true' }] };
    expect(refusal(document({ linux, hooks }))).toMatchObject({
      code: 'SPEC_UNSUPPORTED',
      details: { jsonPath: `$.hooks.${kind}` },
    });
  });

  describe('without a mount namespace', () => {
    const linux = { namespaces: [{ type: 'pid' }], uidMappings: [], gidMappings: [] };
    test.each(['bounding', 'effective', 'permitted', 'inheritable', 'ambient'])('CAP_SYS_ADMIN, %s', (set) => {
      const names = ['CAP_CHOWN', 'CAP_SYS_ADMIN'];
      const process = {
        args: ['sh'],
        cwd: '/',
        capabilities: { permitted: names.slice(0, set === 'effective' ? 2 : 1), [set]: names },
      };
      expect(refusal(document({ linux, process }))).toMatchObject({
        code: 'SPEC_UNSUPPORTED',
        details: { jsonPath: `$.process.capabilities.${set}` },
      });
    });

    test.each(['prestart', 'createRuntime', 'createContainer'])('a hook of %s', (kind) => {
      const process = { args: ['sh'], cwd: '/', capabilities: {} };
      const hooks = { [kind]: [{ path: '/bin/true' }] };
      expect(refusal(document({ linux, process, hooks }))).toMatchObject({
        code: 'SPEC_UNSUPPORTED',
        details: { jsonPath: `$.hooks.${kind}` },
      });
    });
  });

  test('an idmapped mount without mappings and without a user namespace', () => {
    const mount = { destination: '/a', source: '/b', options: ['bind', 'idmap'] };
    const linux = { namespaces: [{ type: 'mount' }], uidMappings: [], gidMappings: [] };
    expect(refusal(document({ mounts: [mount], linux })).details).toEqual({ jsonPath: '$.mounts[0].options' });
  });

  test.each([
    ['without a time namespace', []],
    ['of one that is joined', [{ type: 'time', path: '/proc/1/ns/time' }]],
  ])('offsets of clocks %s', (_, time) => {
    const linux = { namespaces: [...NAMESPACES, ...time], timeOffsets: { boottime: { secs: 1 } } };
    expect(refusal(document({ linux }))).toMatchObject({
      code: 'SPEC_INVALID',
      details: { jsonPath: '$.linux.timeOffsets' },
    });
  });
});

test('warnings', () => {
  const spec = parseSpec(
    JSON.stringify(
      document({
        process: {
          capabilities: { bounding: ['CAP_CHOWN', 'CAP_NEW'], permitted: ['CAP_CHOWN'], ambient: ['CAP_CHOWN'] },
        },
        mounts: [{ destination: 'data', type: 'tmpfs' }],
      }),
    ),
    'x',
  );
  expect(specWarnings(spec, 40)).toEqual([
    'ignoring unknown or unavailable capability CAP_NEW',
    "can't raise ambient capability CAP_CHOWN: it is not both permitted and inheritable",
    '$.mounts[0].destination: "data" is relative, which OCI deprecates; it is taken from /',
  ]);
  expect(specWarnings(parseSpec(JSON.stringify(document()), 'x'), 40)).toEqual([]);
});

test('a name in another case is the field, as for Go programs, unless the field is there itself', () => {
  const text = JSON.stringify({ hugepagelimits: [{ pagesize: '2MB', limit: 4096 }], pids: { Limit: 3, limit: 4 } });
  expect(parseResources(text, 'x')).toEqual({ hugepageLimits: [{ pageSize: '2MB', limit: 4096 }], pids: { limit: 4 } });
  expect(refusal(document({ WINDOWS: { layerFolders: ['x'] } }))).toMatchObject({ code: 'SPEC_UNSUPPORTED' });
});
