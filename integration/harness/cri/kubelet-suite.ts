/** How suites with a real kubelet are declared. */
import { type Containerd } from '../containerd';
import { containerdSuite, isSilt, testIf } from '../suite';
import { findKubelet, KubeletProcess } from './kubelet-process';
import { noGrace, sleeping } from './manifests';

interface KubeletSuiteSettings {
  /** The least version of containerd, as in SuiteSettings. */
  readonly needs: number;
  readonly sandboxer: 'podsandbox' | 'shim';
}

/** The tests with pause containers and, of silt, without; skipped, with the reason, on a machine without a kubelet. */
export function kubeletSuites(name: string, define: (kubelet: () => KubeletProcess) => void): void {
  // From 2.0 on containerd tells a kubelet which cgroup driver it is to use, which this one asks for.
  kubeletSuite(name, { needs: 2, sandboxer: 'podsandbox' }, define);
  // Before 2.2 a pod without a pause container and with the host's network is the end of containerd.
  if (isSilt) kubeletSuite(`${name} without pause containers`, { needs: 2.2, sandboxer: 'shim' }, define);
}

function kubeletSuite(
  name: string,
  { needs, sandboxer }: KubeletSuiteSettings,
  define: (kubelet: () => KubeletProcess) => void,
): void {
  const program = findKubelet();
  let current: KubeletProcess | undefined;
  const kubelet = (): KubeletProcess => {
    if (current === undefined) throw new Error('no kubelet has been started');
    return current;
  };
  if (program === undefined) {
    testIf(false, 'no kubelet on this machine: Debian has none; SILT_TEST_KUBELET names one')(name, () =>
      Promise.resolve(),
    );
    return;
  }
  const warmUp = async (containerd: Containerd): Promise<void> => {
    current = new KubeletProcess(program, containerd);
    await current.start();
    current.add('first', { ...noGrace, containers: [sleeping] });
    await current.ready('first');
    await current.remove('first');
  };
  const cri = { defaultRuntime: isSilt ? 'silt' : 'runc', sandboxer } as const;
  const settings = { needs, cri, warmUp, containerdLeaves: /\/image-volumes$/ };
  containerdSuite(name, settings, () => {
    // The kubelet looks at its pods once a second, and puts their volumes away every two.
    jest.setTimeout(120_000);
    afterAll(() => current?.stop());
    define(kubelet);
    test('it ends', async () => {
      await kubelet().stop();
      await kubelet().sweep();
      kubelet().removeCgroups();
    });
  });
}
