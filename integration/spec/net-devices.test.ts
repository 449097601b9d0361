/** `linux.netDevices` of the spec. The runtime is in a network namespace of the test's, whose devices are moved: none of the machine's. */
import { mustRun, commandLineSuite, type CommandResult, runCommand } from '../harness';

interface Device {
  readonly ifname: string;
  readonly mtu: number;
  readonly address: string;
  readonly flags: readonly string[];
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number; readonly scope: string }[];
}

const GLOBAL = ['10.9.8.7/24', 'fd00:9::7/64'];
const LINK = '10.9.7.8/24';

commandLineSuite('network devices', (host) => {
  const name = (): string => host().mark.replace(/\W/g, '').slice(-8);
  const ip = (...args: string[]): Promise<CommandResult> => mustRun(['ip', '-netns', name(), ...args]);
  const devices = async (netns = name()): Promise<Device[]> =>
    JSON.parse((await mustRun(['ip', '-json', '-netns', netns, 'address', 'show'])).stdout.toString()) as Device[];
  const device = async (ifname: string, netns = name()): Promise<Device | undefined> =>
    (await devices(netns)).find((one) => one.ifname === ifname);
  const addresses = ({ addr_info }: Device): string[] =>
    addr_info
      .filter(({ local }) => !local.startsWith('fe80'))
      .map(({ local, prefixlen }) => `${local}/${prefixlen}`)
      .sort();

  beforeEach(async () => {
    await mustRun(['ip', 'netns', 'add', name()]);
    await ip('link', 'add', 'box0', 'type', 'veth', 'peer', 'name', 'peer0');
    await ip('address', 'add', GLOBAL[0]!, 'dev', 'box0');
    await ip('address', 'add', LINK, 'scope', 'link', 'dev', 'box0');
    await ip('address', 'add', GLOBAL[1]!, 'dev', 'box0', 'nodad');
    await ip('link', 'set', 'box0', 'mtu', '1400', 'up');
  });
  afterEach(async () => {
    await mustRun(['ip', 'netns', 'delete', name()]);
  });

  const silt = (args: readonly string[], userns = 'none'): Promise<CommandResult> =>
    runCommand(['nsenter', `--net=/run/netns/${name()}`, ...host().silt.words([`--userns=${userns}`, ...args])], {
      env: host().environment,
    });
  const run = async (script: string, linux: object, userns?: string, changes: object = {}): Promise<string> => {
    const bundle = host().bundle(['sh', '-c', script], { linux, ...changes });
    const { code, stdout, stderr } = await silt(['run', '--bundle', bundle, host().newId()], userns);
    if (code !== 0) throw new Error(stderr);
    return stdout.toString();
  };
  /** What the container's own tools show of a device. */
  const SHOW = 'busybox ip address show';

  test.each(['none', 'auto'])('a device is the container’s, with its attributes, userns = %s', async (userns) => {
    const before = (await device('box0'))!;
    const text = await run(`${SHOW} box0`, { netDevices: { box0: {} } }, userns);
    expect(text).toMatch(/ box0.*[<,]UP[,>].* mtu 1400 /);
    expect(text).toContain(before.address);
    for (const one of GLOBAL) expect(text).toContain(` ${one} `);
    expect(text).not.toContain('10.9.7.8');
    // A virtual one ends with the namespace (network_namespaces(7)).
    expect(await device('box0')).toBeUndefined();
  });

  test('it has the name that the spec gives, or one that the kernel makes', async () => {
    expect(await run(SHOW, { netDevices: { box0: { name: 'lan' }, peer0: { name: 'wan%d' } } })).toMatch(
      / wan0@lan: [^]* lan@wan0: /,
    );
  });

  test('a namespace that is joined keeps it', async () => {
    const other = `${name()}-other`;
    await mustRun(['ip', 'netns', 'add', other]);
    try {
      const namespaces = ['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type }));
      const network = { type: 'network', path: `/run/netns/${other}` };
      await run('true', { netDevices: { box0: {} } }, 'none', { namespaces: [...namespaces, network] });
      const found = (await device('box0', other))!;
      expect(addresses(found)).toEqual([...GLOBAL].sort());
      expect(found.flags).toContain('UP');
    } finally {
      await mustRun(['ip', 'netns', 'delete', other]);
    }
  });

  const refused = async (linux: object, changes: object = {}): Promise<string> => {
    const bundle = host().bundle(['true'], { linux, ...changes });
    const { code, stderr } = await silt(['run', '--bundle', bundle, host().newId()]);
    expect(code).not.toBe(0);
    return stderr;
  };

  test('what cannot be moved is told, and the rest is as it was', async () => {
    const before = await device('box0');
    expect(await refused({ netDevices: { box0: {}, nothing0: {} } })).toContain(
      '$.linux.netDevices["nothing0"]: there is no network device nothing0',
    );
    expect(await refused({ netDevices: { box0: {}, peer0: { name: 'box0' } } })).toMatch(
      /\$\.linux\.netDevices\["peer0"\]: .*EEXIST.* has a device box0 already/,
    );
    expect(await refused({ netDevices: { box0: {}, lo: { name: 'other' } } })).toContain('$.linux.netDevices["lo"]: ');
    expect(await refused({ netDevices: { box0: {} } }, { namespaces: [{ type: 'mount' }] })).toContain(
      '$.linux.netDevices: needs a network namespace',
    );
    const own = [{ type: 'mount' }, { type: 'network', path: `/run/netns/${name()}` }];
    expect(await refused({ netDevices: { box0: {} } }, { namespaces: own })).toContain('is the host’s');
    const after = (await device('box0'))!;
    expect({ ...after, ...indexless }).toEqual({ ...before, ...indexless });
  });

  test('a container that cannot start gives it back, as it was', async () => {
    const hooks = { createRuntime: [{ path: '/bin/false' }] };
    expect(await refused({ netDevices: { box0: { name: 'lan' } } }, { hooks })).toContain('HOOK_FAILED');
    const after = (await device('box0'))!;
    expect(addresses(after)).toEqual([...GLOBAL, LINK].sort());
    expect(after).toMatchObject({ mtu: 1400, flags: expect.arrayContaining(['UP']) as unknown });
  });

  test('one that cannot go back is told of by name, and the others go back', async () => {
    await ip('link', 'add', 'spare0', 'type', 'veth', 'peer', 'name', 'spare1');
    // The name is taken when the creation fails, which is what comes first: the newest goes back first.
    const script = 'ip link add box0 type veth peer name other0; exit 1';
    const hooks = {
      createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', script], env: [`PATH=${process.env['PATH']}`] }],
    };
    const told = await refused({ netDevices: { spare0: {}, box0: {} } }, { hooks });
    expect(told).toContain('HOOK_FAILED');
    expect(told).toMatch(/box0 has not been given back as it was: .*EEXIST/);
    expect(told).not.toContain('spare0 has not');
    expect(await device('spare0')).toBeDefined();
  });
});

/** The kernel may number it anew, and an address of scope link is not moved. */
const indexless = { ifindex: 0, link_index: 0, addr_info: [], operstate: '', link_netnsid: 0, link: '' };
