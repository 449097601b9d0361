import { refusal } from '../../errors/testing/refusal';
import type { IdMaps } from '../../gofer';
import type { Linux, Namespace, NamespaceType, Spec } from '../../oci';
import { type Config, parseConfig } from '../config/config';
import { type Neighbour, podPlan, type PodPlan } from './plan';

const NONE = parseConfig('userns = "none"', 'config.toml');
const AUTO = parseConfig('userns = "auto"', 'config.toml');
const CLAIMED: IdMaps = {
  uids: [{ containerID: 0, hostID: 1_000_000, size: 65536 }],
  gids: [{ containerID: 0, hostID: 1_000_000, size: 65536 }],
};
const MAPPINGS = {
  uidMappings: [{ containerID: 0, hostID: 5000, size: 10 }],
  gidMappings: [{ containerID: 0, hostID: 6000, size: 20 }],
};
const ALL: readonly NamespaceType[] = ['pid', 'network', 'ipc', 'uts', 'mount'];

/** Those of the user namespace that the spec joins by path. */
let joinedIds: IdMaps | null = null;
let neighbour: Neighbour | undefined;
const claimIds = jest.fn(() => CLAIMED);
afterEach(() => claimIds.mockClear());

function plan(
  namespaces: readonly (NamespaceType | Namespace)[],
  config: Config = NONE,
  linux: Linux = {},
  spec = {},
): PodPlan {
  const listed = namespaces.map((one) => (typeof one === 'string' ? { type: one } : one));
  const full: Spec = { ociVersion: '1.2.0', ...spec, linux: { ...linux, namespaces: listed } };
  return podPlan({ id: 'web', spec: full, config, claimIds, joinedIds, neighbour });
}

describe('the pod’s namespaces', () => {
  test.each<[string, readonly (NamespaceType | Namespace)[], Partial<PodPlan['sandbox']>, PodPlan['paths']]>([
    ['all of its own', ALL, { network: 'new', ipc: 'new', uts: 'new', pid: true }, {}],
    ['only a mount namespace', ['mount'], { network: 'host', ipc: 'host', uts: 'host', pid: false }, {}],
    ['none at all', [], { network: 'host', ipc: 'host', uts: 'host', pid: false }, {}],
    [
      'the host’s network',
      ALL.filter((type) => type !== 'network'),
      { network: 'host', ipc: 'new', uts: 'new', pid: true },
      {},
    ],
    ['the host’s pids', ALL.filter((type) => type !== 'pid'), { network: 'new', pid: false }, {}],
    [
      'a network that the engine has made',
      ['pid', 'ipc', 'uts', 'mount', { type: 'network', path: '/run/netns/cni-1' }],
      { network: 'joined', ipc: 'new', uts: 'new' },
      { network: '/run/netns/cni-1' },
    ],
    [
      'all of another pod',
      [
        'mount',
        { type: 'network', path: '/proc/7/ns/net' },
        { type: 'ipc', path: '/proc/7/ns/ipc' },
        { type: 'uts', path: '/proc/7/ns/uts' },
      ],
      { network: 'joined', ipc: 'joined', uts: 'joined' },
      { network: '/proc/7/ns/net', ipc: '/proc/7/ns/ipc', uts: '/proc/7/ns/uts' },
    ],
  ])('%s', (_, namespaces, sandbox, paths) => {
    const planned = plan(namespaces);
    expect(planned.sandbox).toMatchObject(sandbox);
    expect(planned.paths).toEqual(paths);
  });

  test('come with the pod’s id and names', () => {
    const names = { hostname: 'web-1', domainname: 'example.org' };
    expect(plan(ALL, NONE, {}, names).sandbox).toMatchObject({ id: 'web', ...names });
    expect(plan(ALL).sandbox).toMatchObject({ hostname: undefined, domainname: undefined });
  });
});

describe('the pod’s ids', () => {
  const without = (...types: NamespaceType[]) => ALL.filter((type) => !types.includes(type));
  const joined: Namespace = { type: 'network', path: '/run/netns/cni-1' };

  test.each<[string, readonly (NamespaceType | Namespace)[], IdMaps | null, IdMaps | null]>([
    // Namespaces, then the ids with userns = "none" and with "auto".
    ['all its own', ALL, null, CLAIMED],
    ['a joined network', [...without('network'), joined], null, CLAIMED],
    ['the host’s network', without('network'), null, null],
    ['the host’s ipc', without('ipc'), null, null],
    ['the host’s uts', without('uts'), null, null],
    ['the host’s pids', without('pid'), null, null],
  ])('with %s', (_, namespaces, none, auto) => {
    expect([plan(namespaces, NONE).sandbox.idMaps, plan(namespaces, AUTO).sandbox.idMaps]).toEqual([none, auto]);
    expect(claimIds).toHaveBeenCalledTimes(auto === null ? 0 : 1);
  });

  test.each([
    ['none', NONE],
    ['auto', AUTO],
  ])('are those of the spec where it has a user namespace, with userns = %s', (_, config) => {
    const own = { uids: MAPPINGS.uidMappings, gids: MAPPINGS.gidMappings };
    expect(plan([...ALL, 'user'], config, MAPPINGS).sandbox.idMaps).toEqual(own);
    expect(plan(['mount', 'user'], config, MAPPINGS).sandbox.idMaps).toEqual(own);
    expect(claimIds).not.toHaveBeenCalled();
  });

  test.each<[string, Linux, string]>([
    ['no ranges at all', {}, '$.linux.uidMappings'],
    ['no ranges of users', { gidMappings: MAPPINGS.gidMappings }, '$.linux.uidMappings'],
    ['no ranges of groups', { uidMappings: MAPPINGS.uidMappings, gidMappings: [] }, '$.linux.gidMappings'],
  ])('need a range each: %s', (_, linux, jsonPath) => {
    expect(refusal(() => plan([...ALL, 'user'], AUTO, linux))).toEqual({
      code: 'SPEC_INVALID',
      message: `${jsonPath}: a new user namespace needs at least one range`,
      details: { jsonPath },
    });
  });

  describe('beside another pod whose namespaces it joins', () => {
    const theirs: IdMaps = { uids: [{ containerID: 0, hostID: 2_000_000, size: 65536 }], gids: [] };
    const pids: Namespace = { type: 'pid', path: '/proc/7/ns/pid' };
    const network: Namespace = { type: 'network', path: '/proc/7/ns/net' };
    const admin = { process: { capabilities: { bounding: ['CAP_NET_ADMIN'] } } };
    afterEach(() => (neighbour = undefined));

    test('are that one’s', () => {
      neighbour = { idMaps: theirs, network: false };
      const { sandbox, paths } = plan([...without('pid'), pids], AUTO);
      expect(sandbox).toMatchObject({ idMaps: theirs, user: 'joined', foreignNetwork: false, hostSysctls: [] });
      expect(paths).toEqual({});
      expect(claimIds).not.toHaveBeenCalled();
    });

    test('and its network is the pod’s own, with all rights over it', () => {
      neighbour = { idMaps: theirs, network: true };
      const { sandbox } = plan([...without('network'), network], AUTO, {}, admin);
      expect(sandbox).toMatchObject({ idMaps: theirs, user: 'joined', foreignNetwork: false, hostSysctls: [] });
    });

    test('but not a network that is somebody else’s', () => {
      neighbour = { idMaps: theirs, network: false };
      const namespaces = [...without('network', 'pid'), pids, network];
      expect(plan(namespaces, AUTO).sandbox).toMatchObject({ idMaps: theirs, user: 'joined', foreignNetwork: true });
      expect(plan(namespaces, AUTO, {}, admin).sandbox).toMatchObject({ idMaps: null, user: 'host' });
    });

    test('are the host’s where it would have no user namespace of its own either', () => {
      neighbour = { idMaps: theirs, network: false };
      for (const [namespaces, config] of [
        [[...without('pid'), pids], NONE],
        [[...without('pid', 'network'), pids], AUTO],
      ] as const)
        expect(plan(namespaces, config).sandbox).toMatchObject({ idMaps: null, user: 'host' });
    });
  });

  test('are the host’s for a container that asks for what no user namespace can give', () => {
    const asking = (name: string): object => ({ process: { capabilities: { bounding: [name] } } });
    expect(plan(ALL, AUTO, {}, asking('CAP_SYS_TIME')).sandbox.idMaps).toBeNull();
    expect(plan(ALL, AUTO, {}, asking('CAP_NET_ADMIN')).sandbox.idMaps).toBe(CLAIMED);
    expect(plan([...without('network'), joined], AUTO, {}, asking('CAP_NET_ADMIN')).sandbox.idMaps).toBeNull();
  });

  test('in a network that somebody else has made come with ports below 1024 and ping', () => {
    const { hostSysctls } = plan([...without('network'), joined], AUTO).sandbox;
    expect(hostSysctls).toEqual([
      ['net.ipv4.ip_unprivileged_port_start', '0'],
      ['net.ipv4.ping_group_range', `${CLAIMED.gids[0]!.hostID} ${CLAIMED.gids[0]!.hostID + 65535}`],
    ]);
    expect(plan([...without('network'), joined], NONE).sandbox.hostSysctls).toEqual([]);
    expect(plan(ALL, AUTO).sandbox.hostSysctls).toEqual([]);
  });

  describe('of a user namespace that somebody else has made', () => {
    const user: Namespace = { type: 'user', path: '/run/userns/7' };
    afterEach(() => (joinedIds = null));

    test('are what it maps, whether the spec says so too or not', () => {
      joinedIds = { uids: MAPPINGS.uidMappings, gids: MAPPINGS.gidMappings };
      for (const linux of [{}, MAPPINGS]) {
        const { sandbox, paths } = plan([...ALL, user], NONE, linux);
        expect(sandbox).toMatchObject({ user: 'joined', idMaps: joinedIds });
        expect(paths).toEqual({ user: '/run/userns/7' });
      }
      expect(claimIds).not.toHaveBeenCalled();
    });

    test('are none when it is the host’s', () => {
      expect(plan([...ALL, user], AUTO)).toMatchObject({ sandbox: { user: 'host', idMaps: null }, paths: {} });
    });

    test('cannot be others than it maps', () => {
      joinedIds = CLAIMED;
      expect(refusal(() => plan([...ALL, user], NONE, MAPPINGS))).toEqual({
        code: 'SPEC_INVALID',
        message:
          '$.linux.uidMappings: 0 5000 10 is not what the user namespace /run/userns/7 maps, which is 0 1000000 65536; leave the mappings out, or the path',
        details: { jsonPath: '$.linux.uidMappings' },
      });
    });
  });
});
