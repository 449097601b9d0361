import type { Command } from 'commander';
import { addInstallFlags, type InstallFlags } from '../install/flags';

export function registerUninstall(silt: Command): void {
  addInstallFlags(
    silt.command('uninstall').description('take silt out of the configuration of Docker and containerd'),
  ).action((flags: InstallFlags) => takeOut(flags));
}

/** @throws SiltError ENGINE_CONFIG_INVALID when the runtime is the default one there. */
async function takeOut(flags: InstallFlags): Promise<void> {
  const [{ carryOut }, { removeFromDocker }, { removeFromContainerd }] = await Promise.all([
    import('../install/carry-out'),
    import('../install/docker'),
    import('../install/containerd'),
  ]);
  carryOut(flags, {
    docker: (before, path) => removeFromDocker(before, path, flags.runtime),
    containerd: (before, path) => removeFromContainerd(before, path, flags.runtime),
  });
}
