import { parseSpec } from '../oci';
import { throwAwaySpec, type ThrowAway } from './throw-away-spec';

const MOUNTINFO = `22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
28 27 254:1 / /home rw,relatime shared:1 - xfs /dev/vdb rw
29 27 254:2 / /srv/my\\040data rw - ext4 /dev/vdc rw
31 27 0:28 / /run rw - tmpfs tmpfs rw
32 27 0:29 / /sys/fs/cgroup rw - tmpfs tmpfs rw
33 27 0:30 / /mnt/image rw - overlay overlay rw,lowerdir=/a
34 27 0:31 / /var/lib/docker/volumes/x rw - ext4 /dev/vdd rw
`;
const spec = (more: Partial<ThrowAway> = {}): ReturnType<typeof throwAwaySpec> =>
  throwAwaySpec({
    args: ['ls', '-l'],
    env: ['A=b'],
    cwd: '/home/me',
    root: '/',
    volumes: [],
    terminal: false,
    hostname: 'here',
    hostNetwork: false,
    unified: false,
    mountinfo: MOUNTINFO,
    ...more,
  });
const binds = (more?: Partial<ThrowAway>): object[] => spec(more).mounts!.filter(({ type }) => type === 'bind');

test('a throw-away container runs the command as it was typed', () => {
  expect(spec()).toMatchObject({
    process: { args: ['ls', '-l'], env: ['A=b'], cwd: '/home/me', terminal: false },
    root: { path: '/', readonly: false },
    hostname: 'here',
  });
  expect(() => parseSpec(JSON.stringify(spec()), 'config.json')).not.toThrow();
});

test('the host’s other filesystems are there, and cannot be written', () => {
  expect(binds()).toEqual([
    { destination: '/home', type: 'bind', source: '/home', options: ['bind', 'ro'] },
    { destination: '/srv/my data', type: 'bind', source: '/srv/my data', options: ['bind', 'ro'] },
  ]);
});

test('with another root they are not', () => {
  expect(binds({ root: '/srv/image' })).toEqual([]);
});

test('volumes can be written', () => {
  expect(binds({ root: '/x', volumes: ['/data', '/a:/b'] })).toEqual([
    { destination: '/data', type: 'bind', source: '/data', options: ['rbind', 'rw'] },
    { destination: '/b', type: 'bind', source: '/a', options: ['rbind', 'rw'] },
  ]);
});

test.each([
  [false, true],
  [true, false],
])('with the host’s network: %j, it has a network namespace: %j', (hostNetwork, own) => {
  expect(spec({ hostNetwork }).linux!.namespaces!.some(({ type }) => type === 'network')).toBe(own);
});
