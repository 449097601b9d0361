import type { Mount, Spec } from '../oci';
import { withSandboxFiles } from './sandbox-files';

const mount = (destination: string, type = 'bind'): Mount => ({ destination, type, source: '/from' });
const complete = (...mounts: Mount[]) => {
  const spec = { ociVersion: '1.1.0', mounts } as Spec;
  const completed = withSandboxFiles(spec, ['hostname', 'hosts'], (name) => `/state/${name}`);
  return { ...completed, places: (completed.spec.mounts ?? []).map(({ destination }) => destination) };
};

test('the tmpfs that containerd has in every spec becomes the pod’s', () => {
  const { places, sharedMemory } = complete(mount('/dev', 'tmpfs'), mount('/dev/shm', 'tmpfs'));
  expect(places).toEqual(['/dev', '/dev/shm', '/etc/hostname', '/etc/hosts']);
  expect(sharedMemory).toBe('/dev/shm');
});

test('one that is missing is added upon /dev, and beneath what is mounted in it', () => {
  const { places, sharedMemory } = complete(mount('/proc'), mount('/dev', 'tmpfs'), mount('/dev/shm/below'));
  expect(places).toEqual(['/proc', '/dev', '/dev/shm', '/dev/shm/below', '/etc/hostname', '/etc/hosts']);
  expect(sharedMemory).toBe('/dev/shm');
});

test('a volume stays what it is, as do files that the spec mounts itself', () => {
  const { spec, sharedMemory } = complete(mount('/dev/shm'), mount('/etc/hosts'));
  expect(sharedMemory).toBeUndefined();
  expect(spec.mounts).toEqual([
    mount('/dev/shm'),
    mount('/etc/hosts'),
    { destination: '/etc/hostname', source: '/state/hostname', type: 'bind', options: ['rbind', 'rw'] },
  ]);
});
