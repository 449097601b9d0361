/** How suites with a real kubelet are declared. */
import { type Containerd } from '../containerd';
import { containerdSuite, isSilt, testIf } from '../suite';
import { imageName } from '../image';
import { findKubelet, KubeletProcess } from './kubelet-process';

export interface KubeletSuiteSettings {
  /** The least version of containerd, as in SuiteSettings. */
  readonly needs: number;
  readonly sandboxer: 'podsandbox' | 'shim';
}

/** Like {@link containerdSuite}; skipped, with the reason, on a machine without a kubelet. */
export function kubeletSuite(
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
    current.add('first', {
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'main', image: imageName, imagePullPolicy: 'Never', command: ['sleep', '1000'] }],
    });
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
