import { type Command, Option } from 'commander';
import type { Frame } from '../frame';
import { passOn } from '../go-flags';
import { addInstallFlags, type InstallFlags } from '../install/flags';

interface InstallOptions extends InstallFlags {
  readonly path?: string;
  readonly shim: boolean;
  readonly clobber: boolean;
  readonly experimental: boolean;
  readonly cgroupdriver?: string;
}

const SHIM = 'io.containerd.silt.v1';

export function registerInstall(silt: Command, frame: Frame): void {
  const install = silt
    .command('install')
    .description('enter silt into the configuration of Docker and containerd, whichever this machine has')
    .argument('[arguments...]', 'global flags of silt that Docker is to use, after --');
  addInstallFlags(install)
    .option('--path <file>', 'the silt that Docker is to call; this one without it')
    .option('--shim', 'Docker 23 and later: use the shim, not the command', false)
    .option('--no-clobber', 'leave an entry of Docker’s with this name as it is')
    .addOption(new Option('--clobber', 'as runsc has it; the default here').hideHelp())
    .option('--cgroupdriver <driver>', 'set Docker’s cgroup driver')
    .option('--experimental', 'switch Docker’s experimental features on', false)
    .action((args: string[], options: InstallOptions) => enter(frame, args, options));
  passOn(install);
}

/** @throws SiltError ENGINE_CONFIG_INVALID, HOST_UNSUPPORTED. */
async function enter(frame: Frame, args: readonly string[], options: InstallOptions): Promise<void> {
  const [{ carryOut }, { addToDocker }, { addToContainerd }, { findProgram, siltProgram }] = await Promise.all([
    import('../install/carry-out'),
    import('../install/docker'),
    import('../install/containerd'),
    import('../install/engines'),
  ]);
  const { runtime: name, shim, clobber, experimental, cgroupdriver } = options;
  const needsShim = (): void => {
    if (findProgram('containerd-shim-silt-v1')) return;
    frame.log.warning('containerd-shim-silt-v1 is not on PATH, where containerd and Docker look for it');
  };
  carryOut(options, {
    docker: (before, path) => {
      if (shim) needsShim();
      const program = shim ? SHIM : (options.path ?? siltProgram());
      const cgroupDriver = cgroupdriver === undefined ? {} : { cgroupDriver: cgroupdriver };
      return addToDocker(before, path, { name, program, args, shim, clobber, experimental, ...cgroupDriver });
    },
    containerd: (before, path) => {
      needsShim();
      return addToContainerd(before, path, { name, runtimeType: SHIM });
    },
  });
}
