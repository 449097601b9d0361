/** The CRI plugin's part of containerd's configuration. */
import { join } from 'node:path';
import { cniPlugins } from './network';
import { pauseImageName } from './pause-image';

export interface CriSettings {
  /** Who holds a pod: containerd with a pause container, or the shim itself (containerd 2). */
  readonly sandboxer?: 'podsandbox' | 'shim';
  /** What shims are told to answer `start` with: version 3 over this protocol. */
  readonly shimProtocol?: 'ttrpc' | 'grpc';
  /** Leaves it to the runtime what becomes of an oom_score_adj that the host does not permit. */
  readonly anyOomScoreAdj?: boolean;
  /** containerd runs in a network of its own, in which pods may have ports of the host (the plugin portmap). */
  readonly hostPorts?: boolean;
  /** The runtime of pods that name none, such as those of a kubelet without an API server; silt unless told. */
  readonly defaultRuntime?: 'silt' | 'runc';
  /** Has systemd make the cgroups, by the options of each runtime. */
  readonly systemdCgroup?: boolean;
  /** How often containerd looks how much disk containers take, in seconds, instead of its own 10. */
  readonly statsSeconds?: number;
  /** Takes plugins of NRI, at a socket of its own (see {@link Containerd}). */
  readonly nri?: boolean;
}

interface Places {
  /** Directory of the pods' network configuration. */
  readonly network: string;
  /** What NRI has, below this directory. */
  readonly nri: string;
}

/** For format 2 of the configuration, or for 3, where CRI is three plugins. */
export function criConfig(format: 2 | 3, places: Places, settings: CriSettings): string {
  const options = (plugin: string, name: string): string =>
    settings.systemdCgroup ? `[plugins.'${plugin}'.containerd.runtimes.${name}.options]\nSystemdCgroup = true\n` : '';
  const runtimes = (plugin: string): string => `
[plugins.'${plugin}'.containerd]
default_runtime_name = "${settings.defaultRuntime ?? 'silt'}"
${format === 2 ? 'snapshotter = "overlayfs"' : ''}
[plugins.'${plugin}'.containerd.runtimes.silt]
runtime_type = "io.containerd.silt.v1"
pod_annotations = ["dev.gvisor.*"]
container_annotations = ["dev.gvisor.*"]
${format === 3 ? `sandboxer = "${settings.sandboxer ?? 'podsandbox'}"` : ''}
${options(plugin, 'silt')}[plugins.'${plugin}'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
pod_annotations = ["dev.gvisor.*"]
container_annotations = ["dev.gvisor.*"]
${options(plugin, 'runc')}[plugins.'${plugin}'.cni]
bin_dir = "${cniPlugins}"
conf_dir = ${JSON.stringify(places.network)}
`;
  // restrict_oom_score_adj: a pod wants -998, which takes CAP_SYS_RESOURCE.
  const host = `restrict_oom_score_adj = ${settings.anyOomScoreAdj !== true}
netns_mounts_under_state_dir = true
`;
  const period = settings.statsSeconds === undefined ? '' : `stats_collect_period = ${settings.statsSeconds}\n`;
  const nri = `
[plugins.'io.containerd.nri.v1.nri']
disable = ${settings.nri !== true}
socket_path = ${JSON.stringify(join(places.nri, 'nri.sock'))}
plugin_path = ${JSON.stringify(join(places.nri, 'plugins'))}
plugin_config_path = ${JSON.stringify(join(places.nri, 'conf.d'))}
`;
  if (format === 2) {
    const plugin = 'io.containerd.grpc.v1.cri';
    return `
[plugins.'${plugin}']
sandbox_image = "${pauseImageName}"
${period}${host}${runtimes(plugin)}${nri}`;
  }
  return `
[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"
${period}[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "${pauseImageName}"
[plugins.'io.containerd.cri.v1.runtime']
${host}${runtimes('io.containerd.cri.v1.runtime')}${nri}`;
}
