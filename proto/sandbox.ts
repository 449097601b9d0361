/** The Sandbox service that a shim serves, and what CRI says of a pod in it. */
import type * as generated from '../build/proto/contracts';
import { contracts, CriNamespaceMode } from '../build/proto/contracts';
import { codec } from './codec';
import { method } from './method';

export const sandboxServiceName = 'containerd.runtime.sandbox.v1.Sandbox';

/** Method name → messages. */
export const sandboxMethods = {
  CreateSandbox: method(contracts.CreateSandboxRequest, contracts.CreateSandboxResponse),
  StartSandbox: method(contracts.StartSandboxRequest, contracts.StartSandboxResponse),
  Platform: method(contracts.PlatformRequest, contracts.PlatformResponse),
  StopSandbox: method(contracts.StopSandboxRequest, contracts.StopSandboxResponse),
  WaitSandbox: method(contracts.WaitSandboxRequest, contracts.WaitSandboxResponse),
  SandboxStatus: method(contracts.SandboxStatusRequest, contracts.SandboxStatusResponse),
  PingSandbox: method(contracts.PingRequest, contracts.PingResponse),
  ShutdownSandbox: method(contracts.ShutdownSandboxRequest, contracts.ShutdownSandboxResponse),
  SandboxMetrics: method(contracts.SandboxMetricsRequest, contracts.SandboxMetricsResponse),
} as const;
export type SandboxMethod = keyof typeof sandboxMethods;

/** The request of a method. */
export type SandboxRequest<Name extends SandboxMethod> = ReturnType<(typeof sandboxMethods)[Name]['request']['decode']>;
/** What a handler of the method returns. */
export type SandboxAnswer<Name extends SandboxMethod> = ReturnType<(typeof sandboxMethods)[Name]['response']['decode']>;

/** The options with which CRI creates a pod's sandbox. */
export const PodSandboxConfig = codec(contracts.CriPodSandboxConfig);
export type PodSandboxConfig = generated.CriPodSandboxConfig;
export { CriNamespaceMode as NamespaceMode };
