/** Whether containerd and Docker are set up to use silt. */
import { type ContainerdRuntime, POD_ANNOTATIONS, readContainerdRuntime } from '../install/containerd';
import type { Finding } from './finding';
import type { HostView } from './host-view';

export interface EngineFiles {
  readonly containerdConfig: string;
  readonly dockerConfig: string;
}

const SHIM = 'containerd-shim-silt-v1';

export function checkEngines(host: HostView, files: EngineFiles): Finding[] {
  return [...checkContainerd(host, files.containerdConfig), ...checkDocker(host, files.dockerConfig)];
}

function checkContainerd(host: HostView, path: string): Finding[] {
  if (!host.findProgram('containerd'))
    return [
      { feature: 'containerd', status: 'absent', found: 'not installed', todo: 'silt runs without it by its command' },
    ];
  const version =
    /\bv?(\d+\.\d+\.\d+\S*)/.exec(host.run('containerd', '--version') ?? '')?.[1] ?? 'of an unknown version';
  const shim = host.findProgram(SHIM);
  return [
    { feature: 'containerd', status: 'ok', found: version },
    shim === undefined
      ? {
          feature: 'shim',
          status: 'limited',
          found: `no ${SHIM} on PATH`,
          todo: 'make install puts it where containerd looks',
        }
      : { feature: 'shim', status: 'ok', found: shim },
    runtimeOfCri(host, path),
  ];
}

/** What Kubernetes needs; ctr and nerdctl need nothing of it. */
function runtimeOfCri(host: HostView, path: string): Finding {
  const feature = 'containerd’s CRI';
  const install = 'Kubernetes cannot use silt; silt install --containerd enters it';
  let runtime: ContainerdRuntime;
  try {
    runtime = readContainerdRuntime(host.read(path) ?? '', path, 'silt');
  } catch (error) {
    return { feature, status: 'limited', found: (error as Error).message, todo: install };
  }
  if (runtime.criDisabled)
    return { feature, status: 'limited', found: `disabled in ${path}`, todo: 'take cri out of disabled_plugins' };
  const { runtime_type: type, pod_annotations: annotations } = runtime.runtime ?? {};
  if (type !== 'io.containerd.silt.v1')
    return { feature, status: 'limited', found: `no runtime silt in ${path}`, todo: install };
  if (!Array.isArray(annotations) || !annotations.includes(POD_ANNOTATIONS)) {
    const todo = `annotations of pods do not reach silt: set pod_annotations = ["${POD_ANNOTATIONS}"] (silt install --containerd does)`;
    return { feature, status: 'limited', found: `silt without pod_annotations in ${path}`, todo };
  }
  return { feature, status: 'ok', found: `runtime silt with pod_annotations in ${path}` };
}

function checkDocker(host: HostView, path: string): Finding[] {
  if (!host.findProgram('dockerd')) return [{ feature: 'Docker', status: 'absent', found: 'not installed' }];
  const todo = 'silt install --docker enters it';
  let names: string[];
  try {
    const text = host.read(path);
    const config = (text === undefined || text === '' ? {} : JSON.parse(text)) as {
      runtimes?: Record<string, unknown>;
    };
    const runtimes = Object.entries(config.runtimes ?? {});
    names = runtimes.filter(([, entry]) => /\bsilt\b/.test(JSON.stringify(entry))).map(([name]) => name);
  } catch (error) {
    return [
      { feature: 'Docker', status: 'limited', found: `${path}: ${(error as Error).message}`, todo: 'correct the file' },
    ];
  }
  if (names.length === 0) return [{ feature: 'Docker', status: 'limited', found: `no runtime silt in ${path}`, todo }];
  return [{ feature: 'Docker', status: 'ok', found: `runtime ${names.join(', ')} in ${path}` }];
}
