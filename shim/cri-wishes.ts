import type { Spec } from '../oci';
import { getContainerMethod, NamespaceMode } from '../proto';
import type { Config } from '../sandbox';
import { CONTAINER_TYPE } from '../sandbox/config/cri-annotations';
import { callContainerd } from './grpc-call';
import type { Log } from './log';

/** Of CRI's configuration of a pod, what no spec says; also as JSON has it, which containerd keeps it as. */
interface PodWords {
  readonly labels?: Readonly<Record<string, string>>;
  /** The mode of its user namespace; undefined when CRI's client has named none. */
  readonly usersMode?: number | undefined;
}

/** The kubelet puts such labels on every pod (`.name`, `.namespace`, `.uid`); who writes a pod cannot take them away. */
const KUBELETS_LABELS = 'io.kubernetes.pod.';
const SANDBOX_METADATA = 'io.cri-containerd.sandbox.metadata';
/** Where a kubelet's pods have their cgroups, below its --cgroup-root, by either of its drivers (`/kubepods/…`, `kubepods-….slice:…`). */
const KUBELETS_CGROUP = /(^|\/)kubepods([-./]|$)/;
/** Only pods without a kubelet's mark wait for it, and of many that start at once each takes its turn. */
const TIMEOUT_MS = 10_000;

/**
 * What CRI's client has asked for, where silt by itself would do something else: the host's user namespace by name, and no seccomp
 * filter. An OCI spec has no word for either; it is the same when nothing was said.
 *
 * A client that can say so is taken at its word. The kubelet cannot: for every pod whose manifest says nothing it names the host's users
 * and an unconfined profile (getSeccompProfile, GetOrCreateUserNamespaceMappings in 1.36). So from a kubelet that is no wish, and its pods
 * get what silt gives by default. What cannot be found out is no wish either, and what the operator has tightened (`baseline = "strict"`)
 * no client loosens.
 */
export class CriWishes {
  #words: Promise<PodWords | undefined> = Promise.resolve(undefined);

  /**
   * @param ask what containerd has on record of the pod
   * @param log takes why that could not be found out, and what was granted
   */
  constructor(
    private readonly ask: () => Promise<PodWords | undefined>,
    private readonly log: Pick<Log, 'info' | 'warn'>,
  ) {}

  /** The pod has no container that holds it, and this is what CreateSandbox said of it. */
  learn(words: PodWords): void {
    this.#words = Promise.resolve(words);
  }

  /** The configuration of one of the pod's containers. The first of them, CRI's pause container, is when containerd is asked. */
  async applyTo(config: Config, { annotations = {}, linux }: Spec): Promise<Config> {
    const type = annotations[CONTAINER_TYPE];
    if (config.userns === 'none' && config.baseline !== 'docker') return config;
    if (type === 'sandbox' && !KUBELETS_CGROUP.test(linux?.cgroupsPath ?? '')) this.#words = this.#askOnce();
    const words = await this.#words;
    if (words === undefined || isOfKubelet(words)) return config;
    const granted = {
      ...(config.userns === 'auto' && words.usersMode === NamespaceMode.NODE ? ({ userns: 'none' } as const) : {}),
      ...(config.baseline === 'docker' && type === 'container' && linux?.seccomp === undefined
        ? ({ baseline: 'none' } as const)
        : {}),
    };
    for (const [key, value] of Object.entries(granted))
      this.log.info(`${key} is ${value}, as CRI’s client asks, which is no kubelet`);
    return { ...config, ...granted };
  }

  async #askOnce(): Promise<PodWords | undefined> {
    try {
      return await this.ask();
    } catch (error) {
      const reason = (error as Error).message;
      this.log.warn(`whether the pod’s client is a kubelet is not known, so it is taken for one: ${reason}`);
      return undefined;
    }
  }
}

function isOfKubelet({ labels = {} }: PodWords): boolean {
  return Object.keys(labels).some((label) => label.startsWith(KUBELETS_LABELS));
}

/**
 * What containerd has kept of CRI's configuration of a pod with its pause container (SandboxMetadataExtension in internal/cri/labels,
 * by that name since 1.6).
 * @param address containerd's socket
 * @throws Error
 */
export async function askContainerd(
  address: string,
  namespace: string,
  pod: string,
  timeoutMs = TIMEOUT_MS,
): Promise<PodWords | undefined> {
  const server = { address: address.replace(/^unix:(\/\/)?/, ''), namespace, timeoutMs };
  const { container } = await callContainerd(server, getContainerMethod, { id: pod });
  const kept = container?.extensions.find(({ key }) => key === SANDBOX_METADATA)?.value;
  if (kept === undefined) return undefined;
  const { Metadata } = JSON.parse(Buffer.from(kept.value).toString('utf8')) as KeptMetadata;
  // A record of another form would look like one without labels, which are a kubelet's mark.
  if (typeof Metadata?.Config?.metadata?.name !== 'string')
    throw new Error(`its record of pod ${pod} has no name where containerd 1.6 to 2.4 have it`);
  const { labels = {}, linux } = Metadata.Config;
  return { labels, usersMode: linux?.security_context?.namespace_options?.userns_options?.mode };
}

/** As containerd writes it, with Go's names of fields above and CRI's below. A mode of 0 is left out. */
interface KeptMetadata {
  readonly Metadata?: {
    readonly Config?: {
      readonly metadata?: { readonly name?: string };
      readonly labels?: Record<string, string>;
      readonly linux?: {
        readonly security_context?: {
          readonly namespace_options?: { readonly userns_options?: { readonly mode?: number } };
        };
      };
    };
  };
}
