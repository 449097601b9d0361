/** The features document of the OCI runtime spec (features.md, features-linux.md): what a runtime can do, on any host. */
import { knownCapabilities } from './capabilities';
import { MEMORY_POLICY_FLAGS, MEMORY_POLICY_MODES } from './checks/memory-policy';
import { SECCOMP_ACTIONS, SECCOMP_FLAGS, SECCOMP_OPERATORS } from './checks/seccomp';
import { knownMountOptions } from './mount-options';
import { knownArchitectures } from './seccomp';
import type { NamespaceType } from './spec-linux';
import { unsupportedFields } from './unsupported';
import { SPEC_VERSION } from './version';

const HOOKS = ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'];
const NAMESPACES: readonly NamespaceType[] = ['cgroup', 'ipc', 'mount', 'network', 'pid', 'time', 'user', 'uts'];

/** Whether the spec's field, or this value of it, is acted upon. */
function supports(field: string, value?: string): boolean {
  return !unsupportedFields.some((row) => row.field === field && (row.value === undefined || row.value === value));
}

/** Pure: derived from the tables that the checks of a spec use. @param build what goes into the annotations */
export function features(build: { version: string; commit: string }): object {
  return {
    ociVersionMin: '1.0.0',
    ociVersionMax: SPEC_VERSION,
    hooks: HOOKS.filter((name) => supports(`hooks.${name}`)),
    mountOptions: knownMountOptions().filter((name) => supports('mounts[].options[]', name)),
    linux: {
      namespaces: NAMESPACES.filter((name) => supports('linux.namespaces[].type', name)),
      capabilities: knownCapabilities(),
      cgroup: { v1: true, v2: true, systemd: true, systemdUser: false, rdma: true },
      seccomp: {
        enabled: true,
        actions: SECCOMP_ACTIONS.filter((name) => supports('linux.seccomp.syscalls[].action', name)).sort(),
        operators: [...SECCOMP_OPERATORS].sort(),
        archs: knownArchitectures(),
        knownFlags: SECCOMP_FLAGS,
        supportedFlags: SECCOMP_FLAGS,
      },
      apparmor: { enabled: supports('process.apparmorProfile') },
      selinux: { enabled: supports('process.selinuxLabel') },
      memoryPolicy: { modes: MEMORY_POLICY_MODES, flags: MEMORY_POLICY_FLAGS },
      intelRdt: { enabled: true, schemata: true, monitoring: true },
      netDevices: { enabled: true },
      mountExtensions: { idmap: { enabled: true } },
    },
    annotations: {
      'dev.silt.version': build.version,
      'dev.silt.commit': build.commit,
      'org.opencontainers.runc.checkpoint.enabled': 'true',
    },
    // Those of containers, which an engine should not take from strangers: they name files of the host, and loosen the pod.
    potentiallyUnsafeConfigAnnotations: ['dev.gvisor.'],
  };
}
