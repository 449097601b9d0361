import { existsSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { SiltError } from '../../errors';
import { CONTAINERD_CONFIG } from './containerd';
import { DOCKER_CONFIG } from './docker';

/** The flags by which `install` and `uninstall` choose whose configuration they edit. */
export interface EngineChoice {
  readonly docker?: boolean;
  readonly containerd?: boolean;
  /** Files; one that is given chooses its engine. */
  readonly dockerConfig?: string;
  readonly containerdConfig?: string;
}

export interface Engines {
  readonly docker?: string;
  readonly containerd?: string;
}

/**
 * The configuration files to edit: of what was asked for; otherwise of the engines that this machine has.
 * @throws SiltError HOST_UNSUPPORTED when it has none.
 */
export function chooseEngines(choice: EngineChoice, has: (program: string) => boolean = hasEngine): Engines {
  const { dockerConfig, containerdConfig } = choice;
  const asked = choice.docker || choice.containerd || dockerConfig !== undefined || containerdConfig !== undefined;
  const docker = asked ? choice.docker || dockerConfig !== undefined : has('dockerd');
  const containerd = asked ? choice.containerd || containerdConfig !== undefined : has('containerd');
  if (!docker && !containerd) {
    const message =
      'there is neither dockerd nor containerd on PATH; say --docker or --containerd to write for one to come';
    throw new SiltError('HOST_UNSUPPORTED', message);
  }
  return {
    ...(docker ? { docker: dockerConfig ?? DOCKER_CONFIG } : {}),
    ...(containerd ? { containerd: containerdConfig ?? CONTAINERD_CONFIG } : {}),
  };
}

/** The path of a program by PATH, with the places where distributions put what only root runs. */
export function findProgram(name: string): string | undefined {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return directories
    .filter((directory) => directory !== '')
    .map((directory) => join(directory, name))
    .find((path) => existsSync(path));
}

function hasEngine(program: string): boolean {
  return findProgram(program) !== undefined;
}

/** The `silt` that runs: bin/silt beside lib/silt where it is installed, beside build in a checkout. */
export function siltProgram(): string {
  const library = dirname(process.argv[1] ?? '');
  const candidates = [join(library, '..', '..', 'bin', 'silt'), join(library, '..', 'bin', 'silt')];
  const found = candidates.find((path) => existsSync(path)) ?? findProgram('silt');
  if (found === undefined)
    throw new SiltError('HOST_UNSUPPORTED', `there is no bin/silt beside ${library}; give --path`);
  return found;
}
