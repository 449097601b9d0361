/**
 * Bytes that protoc 3.21.12 (Debian 12's protobuf-compiler) made from containerd's own definitions: containerd's repository at
 * 301026e58c61 (August 2026), with the metrics of containerd/cgroups v3 from its vendor folder. Made again with
 *
 *     echo "$TEXT" | protoc -I api --encode=$TYPE $FILE | xxd -p -c0
 *
 * (-I with the vendored folder for metrics.proto). The parameters and results of `start` since containerd 2.3 have no peer in
 * our integration tests, where containerd is 1.6: these bytes are what vouches for them.
 */
import {
  BootstrapParams,
  BootstrapResult,
  CgroupV1Metrics,
  CgroupV2Metrics,
  DeleteResponse,
  ForwardRequest,
  RuncOptions,
  RuntimeInfo,
  RuntimeOptions,
  taskEvents,
  taskMethods,
} from './index';

const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'));

interface AnyCodec {
  readonly typeName: string;
  readonly encode: (message: unknown) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => unknown;
}

interface Fixture {
  readonly file: string;
  readonly type: string;
  readonly text: string;
  readonly hex: string;
  readonly codec: object;
  /** All fields, or for the long Metrics those that the text sets. */
  readonly message: object;
}

const fixtures: readonly Fixture[] = [
  {
    file: 'api/runtime/task/v2/shim.proto',
    type: 'containerd.task.v2.CreateTaskRequest',
    text: 'id: "web" bundle: "/run/b/web" rootfs { type: "overlay" source: "overlay" options: ["index=off", "lowerdir=/l2:/l1"] } rootfs { type: "bind" source: "/é" target: "data" } terminal: true stdin: "/f/0" checkpoint: "/ckpt" options { type_url: "containerd.runc.v1.Options" value: "\\x32\\x04silt" }',
    hex: '0a03776562120a2f72756e2f622f7765621a2f0a076f7665726c617912076f7665726c61792209696e6465783d6f666622106c6f7765726469723d2f6c323a2f6c311a110a0462696e6412032fc3a91a046461746120012a042f662f3042052f636b707452240a1a636f6e7461696e6572642e72756e632e76312e4f7074696f6e731206320473696c74',
    codec: taskMethods.Create.request,
    message: {
      id: 'web',
      bundle: '/run/b/web',
      rootfs: [
        { type: 'overlay', source: 'overlay', target: '', options: ['index=off', 'lowerdir=/l2:/l1'] },
        { type: 'bind', source: '/é', target: 'data', options: [] },
      ],
      terminal: true,
      stdin: '/f/0',
      stdout: '',
      stderr: '',
      checkpoint: '/ckpt',
      parentCheckpoint: '',
      options: { typeUrl: 'containerd.runc.v1.Options', value: bytes('320473696c74') },
    },
  },
  {
    file: 'api/runtime/task/v3/shim.proto',
    type: 'containerd.task.v3.StateResponse',
    text: 'id: "web" bundle: "/b" pid: 4294967295 status: STOPPED exit_status: 137 exited_at { seconds: 1790000000 nanos: 999999999 } exec_id: "e1"',
    hex: '0a0377656212022f6218ffffffff0f2003488901520c0880f7c4d50610ff93ebdc035a026531',
    codec: taskMethods.State.response,
    message: {
      id: 'web',
      bundle: '/b',
      pid: 4294967295,
      status: 3,
      stdin: '',
      stdout: '',
      stderr: '',
      terminal: false,
      exitStatus: 137,
      exitedAt: { seconds: 1790000000n, nanos: 999999999 },
      execId: 'e1',
    },
  },
  {
    file: 'api/runtime/task/v2/shim.proto',
    type: 'containerd.task.v2.StateResponse',
    text: 'status: CREATED exited_at { seconds: -62135596800 }',
    hex: '2001520b088092b8c398feffffff01',
    codec: taskMethods.State.response,
    message: {
      id: '',
      bundle: '',
      pid: 0,
      status: 1,
      stdin: '',
      stdout: '',
      stderr: '',
      terminal: false,
      exitStatus: 0,
      exitedAt: { seconds: -62135596800n, nanos: 0 },
      execId: '',
    },
  },
  {
    file: 'api/runtime/task/v2/shim.proto',
    type: 'containerd.task.v2.UpdateTaskRequest',
    text: 'id: "web" resources { type_url: "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources" value: "{}" } annotations { key: "a" value: "1" } annotations { key: "empty" value: "" }',
    hex: '0a0377656212460a4074797065732e636f6e7461696e6572642e696f2f6f70656e636f6e7461696e6572732f72756e74696d652d737065632f312f4c696e75785265736f757263657312027b7d1a060a01611201311a090a05656d7074791200',
    codec: taskMethods.Update.request,
    message: {
      id: 'web',
      resources: { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/LinuxResources', value: bytes('7b7d') },
      annotations: { a: '1', empty: '' },
    },
  },
  {
    file: 'api/runtime/task/v2/shim.proto',
    type: 'containerd.task.v2.PidsResponse',
    text: 'processes { pid: 7 } processes { pid: 8 info { type_url: "containerd.runc.v1.ProcessDetails" value: "\\n\\002e1" } }',
    hex: '0a0208070a2d080812290a21636f6e7461696e6572642e72756e632e76312e50726f6365737344657461696c7312040a026531',
    codec: taskMethods.Pids.response,
    message: {
      processes: [
        { pid: 7 },
        { pid: 8, info: { typeUrl: 'containerd.runc.v1.ProcessDetails', value: bytes('0a026531') } },
      ],
    },
  },
  {
    file: 'api/runtime/task/v2/shim.proto',
    type: 'containerd.task.v2.DeleteResponse',
    text: 'pid: 300 exit_status: 255 exited_at { seconds: 1 }',
    hex: '08ac0210ff011a020801',
    codec: DeleteResponse,
    message: { pid: 300, exitStatus: 255, exitedAt: { seconds: 1n, nanos: 0 } },
  },
  {
    file: 'api/events/task.proto',
    type: 'containerd.events.TaskCreate',
    text: 'container_id: "web" bundle: "/b" rootfs { type: "bind" } io { stdout: "/f/1" terminal: true } pid: 300',
    hex: '0a0377656212022f621a060a0462696e64220812042f662f31200130ac02',
    codec: taskEvents['/tasks/create'],
    message: {
      containerId: 'web',
      bundle: '/b',
      rootfs: [{ type: 'bind', source: '', target: '', options: [] }],
      io: { stdin: '', stdout: '/f/1', stderr: '', terminal: true },
      checkpoint: '',
      pid: 300,
    },
  },
  {
    file: 'api/events/task.proto',
    type: 'containerd.events.TaskExit',
    text: 'container_id: "web" id: "web" pid: 300 exit_status: 137 exited_at { seconds: 1790000000 nanos: 1000000 }',
    hex: '0a03776562120377656218ac022089012a0a0880f7c4d50610c0843d',
    codec: taskEvents['/tasks/exit'],
    message: {
      containerId: 'web',
      id: 'web',
      pid: 300,
      exitStatus: 137,
      exitedAt: { seconds: 1790000000n, nanos: 1000000 },
    },
  },
  {
    file: 'api/services/ttrpc/events/v1/events.proto',
    type: 'containerd.services.events.ttrpc.v1.ForwardRequest',
    text: 'envelope { timestamp { seconds: 1790000000 nanos: 5000000 } namespace: "k8s.io" topic: "/tasks/start" event { type_url: "containerd.events.TaskStart" value: "\\n\\003web\\020\\254\\002" } }',
    hex: '0a4c0a0b0880f7c4d50610c096b10212066b38732e696f1a0c2f7461736b732f737461727422270a1b636f6e7461696e6572642e6576656e74732e5461736b537461727412080a0377656210ac02',
    codec: ForwardRequest,
    message: {
      envelope: {
        timestamp: { seconds: 1790000000n, nanos: 5000000 },
        namespace: 'k8s.io',
        topic: '/tasks/start',
        event: { typeUrl: 'containerd.events.TaskStart', value: bytes('0a0377656210ac02') },
      },
    },
  },
  {
    file: 'api/types/runc/options/oci.proto',
    type: 'containerd.runc.v1.Options',
    text: 'shim_cgroup: "/silt" io_uid: 100000 binary_name: "silt" systemd_cgroup: true criu_image_path: "/img" task_api_version: 3',
    hex: '1a052f73696c7420a08d06320473696c74480152042f696d676803',
    codec: RuncOptions,
    message: {
      noPivotRoot: false,
      noNewKeyring: false,
      shimCgroup: '/silt',
      ioUid: 100000,
      ioGid: 0,
      binaryName: 'silt',
      root: '',
      criuPath: '',
      systemdCgroup: true,
      criuImagePath: '/img',
      criuWorkPath: '',
      taskApiAddress: '',
      taskApiVersion: 3,
    },
  },
  {
    file: 'api/types/runtimeoptions/v1/api.proto',
    type: 'runtimeoptions.v1.Options',
    text: 'type_url: "silt" config_path: "/etc/silt.toml" config_body: "\\000\\377"',
    hex: '0a0473696c74120e2f6574632f73696c742e746f6d6c1a0200ff',
    codec: RuntimeOptions,
    message: { typeUrl: 'silt', configPath: '/etc/silt.toml', configBody: bytes('00ff') },
  },
  {
    file: 'api/types/introspection.proto',
    type: 'containerd.types.RuntimeInfo',
    text: 'name: "io.containerd.silt.v1" version { version: "0.1.0" revision: "abc" } features { type_url: "types.containerd.io/opencontainers/runtime-spec/1/features/Features" value: "{}" } annotations { key: "k" value: "v" }',
    hex: '0a15696f2e636f6e7461696e6572642e73696c742e7631120c0a05302e312e30120361626322490a4374797065732e636f6e7461696e6572642e696f2f6f70656e636f6e7461696e6572732f72756e74696d652d737065632f312f66656174757265732f466561747572657312027b7d2a060a016b120176',
    codec: RuntimeInfo,
    message: {
      name: 'io.containerd.silt.v1',
      version: { version: '0.1.0', revision: 'abc' },
      features: {
        typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/features/Features',
        value: bytes('7b7d'),
      },
      annotations: { k: 'v' },
    },
  },
  {
    file: 'api/runtime/bootstrap/v1/bootstrap.proto',
    type: 'containerd.runtime.bootstrap.v1.BootstrapParams',
    text: 'instance_id: "web" namespace: "k8s.io" log_level: LOG_LEVEL_DEBUG containerd_version: "2.3.0" containerd_ttrpc_address: "/c.sock.ttrpc" extensions { value { type_url: "runtimeoptions.v1.Options" value: "\\n\\004silt" } } socket_dir: ""',
    hex: '0a0377656212066b38732e696f18fcffffffffffffffff012205322e332e302a0d2f632e736f636b2e747472706342250a230a1972756e74696d656f7074696f6e732e76312e4f7074696f6e7312060a0473696c744a00',
    codec: BootstrapParams,
    message: {
      instanceId: 'web',
      namespace: 'k8s.io',
      logLevel: -4,
      containerdVersion: '2.3.0',
      containerdTtrpcAddress: '/c.sock.ttrpc',
      containerdGrpcAddress: '',
      containerdBinary: '',
      extensions: [{ value: { typeUrl: 'runtimeoptions.v1.Options', value: bytes('0a0473696c74') } }],
      socketDir: '',
    },
  },
  {
    file: 'api/runtime/bootstrap/v1/bootstrap.proto',
    type: 'containerd.runtime.bootstrap.v1.BootstrapResult',
    text: 'version: 2 address: "unix:///run/silt/s" protocol: "ttrpc" capabilities: [CAPABILITY_UNSPECIFIED] metadata { key: "pid" value: "7" }',
    hex: '08021212756e69783a2f2f2f72756e2f73696c742f731a0574747270632201002a080a03706964120137',
    codec: BootstrapResult,
    message: {
      version: 2,
      address: 'unix:///run/silt/s',
      protocol: 'ttrpc',
      capabilities: [0],
      metadata: { pid: '7' },
    },
  },
  {
    file: 'cgroup1/stats/metrics.proto',
    type: 'io.containerd.cgroups.v1.Metrics',
    text: 'pids { current: 3 limit: 9223372036854775807 } cpu { usage { total: 9007199254740993 per_cpu: [0, 300, 18446744073709551615] } } memory { cache: 4096 usage { limit: 9223372036854771712 } } memory_oom_control { oom_kill: 2 } network { name: "eth0" rx_bytes: 4294967296 }',
    hex: '120c080310ffffffffffffffff7f1a1a0a18088180808080808010220d00ac02ffffffffffffffffff0122100880208a020a0880e0ffffffffffff7f3a0c0a04657468301080808080104a021802',
    codec: CgroupV1Metrics,
    message: {
      pids: { current: 3n, limit: 9223372036854775807n },
      cpu: { usage: { total: 9007199254740993n, perCpu: [0n, 300n, 18446744073709551615n] } },
      memory: { cache: 4096n, usage: { limit: 9223372036854771712n } },
      memoryOomControl: { oomKill: 2n },
      network: [{ name: 'eth0', rxBytes: 4294967296n }],
    },
  },
  {
    file: 'cgroup2/stats/metrics.proto',
    type: 'io.containerd.cgroups.v2.Metrics',
    text: 'pids { limit: 18446744073709551615 } cpu { usage_usec: 9007199254740993 psi { some { avg10: 0.25 total: 4294967295 } } } memory { anon: 4294967296 usage: 127 psi { full { avg300: 99.5 } } } io { usage { major: 259 rbytes: 1099511627776 } } memory_events { oom_kill: 1 }',
    hex: '0a0b10ffffffffffffffffff01121c0881808080808080103a110a0f09000000000000d03f20ffffffff0f221708808080801080027fb2020b1209190000000000e05840320c0a0a0883021880808080802042022801',
    codec: CgroupV2Metrics,
    message: {
      pids: { limit: 18446744073709551615n },
      cpu: { usageUsec: 9007199254740993n, psi: { some: { avg10: 0.25, total: 4294967295n } } },
      memory: { anon: 4294967296n, usage: 127n, psi: { full: { avg300: 99.5 } } },
      io: { usage: [{ major: 259n, rbytes: 1099511627776n }] },
      memoryEvents: { oomKill: 1n },
    },
  },
];

describe.each(fixtures)('$type: $text', ({ type, hex, codec, message }) => {
  const { encode, decode, typeName } = codec as AnyCodec;

  test('decodes to the message', () => {
    if (type.endsWith('.Metrics')) expect(decode(bytes(hex))).toMatchObject(message);
    else expect(decode(bytes(hex))).toStrictEqual(message);
  });

  test('is what the message encodes to', () => {
    expect(Buffer.from(encode(message)).toString('hex')).toBe(hex);
  });

  test('is what its decoded form, defaults and all, encodes to', () => {
    expect(Buffer.from(encode(decode(bytes(hex)))).toString('hex')).toBe(hex);
  });

  test('has the type name', () => {
    expect(typeName).toBe(type.replace('task.v3', 'task.v2'));
  });
});
