/** How suites about pods are declared: with a containerd that serves CRI, and a kubelet's part played on it. */
import { containerdSuite, isSilt, type SuiteSettings } from '../suite';
import type { Containerd } from '../containerd';
import type { CriSettings } from './config';
import { Kubelet, type PodOptions } from './kubelet';

export interface CriSuiteSettings extends Omit<SuiteSettings, 'cri' | 'warmUp'> {
  readonly cri?: CriSettings;
  /** What the pod has that is run before the inventory for the closing check. */
  readonly first?: PodOptions;
}

const handler = isSilt ? 'silt' : 'runc';

/** Like {@link containerdSuite}; `kubelet()` inside of tests plays the kubelet. */
export function criSuite(name: string, settings: CriSuiteSettings, define: (kubelet: () => Kubelet) => void): void {
  let current: Kubelet | undefined;
  const warmUp = async (containerd: Containerd): Promise<void> => {
    current = new Kubelet(containerd, handler);
    await current.ready();
    await current.withPod({ name: 'first', ...settings.first }, (pod) => pod.runToEnd(['true']));
  };
  containerdSuite(name, { cri: {}, ...settings, warmUp }, () => {
    afterAll(() => current?.close());
    define(() => {
      if (current === undefined) throw new Error('CRI has not been started');
      return current;
    });
  });
}
