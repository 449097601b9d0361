/** What a kubelet tells of its pods, as far as tests look at it. */

/** A container's status as the kubelet would tell the API server (core/v1 ContainerStatus). */
export interface ContainerState {
  readonly name: string;
  readonly ready: boolean;
  readonly started?: boolean;
  readonly restartCount: number;
  readonly containerID?: string;
  readonly state: State;
  readonly lastState?: State;
}

export interface State {
  readonly waiting?: { readonly reason: string; readonly message?: string };
  readonly running?: { readonly startedAt: string };
  readonly terminated?: Terminated;
}

export interface Terminated {
  readonly exitCode: number;
  readonly signal?: number;
  readonly reason: string;
  readonly message?: string;
}

/** The part of core/v1 Pod that tests look at. */
export interface PodObject {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly status: {
    readonly phase: string;
    readonly reason?: string;
    readonly message?: string;
    readonly podIP?: string;
    readonly qosClass?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly containerStatuses?: readonly ContainerState[];
    readonly initContainerStatuses?: readonly ContainerState[];
  };
}

/** A pod of stats/v1alpha1 Summary. */
export interface PodStats {
  readonly podRef: { readonly name: string };
  readonly containers: readonly {
    readonly name: string;
    readonly cpu?: { readonly usageCoreNanoSeconds?: number };
    readonly memory?: { readonly workingSetBytes?: number };
    readonly rootfs?: { readonly usedBytes?: number };
  }[];
  readonly network?: { readonly rxBytes?: number };
  readonly 'ephemeral-storage'?: { readonly usedBytes?: number };
  readonly process_stats?: { readonly process_count?: number };
}
