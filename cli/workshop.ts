/** What commands work with. Loaded by those that need it, inside of their actions: it brings half of silt along. */
import { loadNative, openInterpreter } from '../native';
import { SiltError } from '../errors';
import {
  type Config,
  Host,
  type OnProgress,
  parseOverlay,
  parseOverlay2,
  readConfig,
  RecordedContainer,
  StateDirectory,
  type Workshop,
} from '../sandbox';
import { Kernel } from '../syscall';
import type { Frame } from './frame';
import type { GlobalOptions } from './global-flags';

/** The workshop that the global flags describe. @throws SiltError CONFIG_INVALID, REQUEST_INVALID for a flag's value. */
export function openWorkshop(frame: Frame, onProgress?: OnProgress): Workshop {
  const native = loadNative();
  return {
    kernel: new Kernel(native, openInterpreter(undefined, native)),
    host: new Host(),
    config: configFor(frame.options),
    state: new StateDirectory(frame.options.root),
    warn: (message) => frame.log.warning(message),
    onProgress,
  };
}

/** The operator's configuration, with what the command line changes of it. */
function configFor(options: GlobalOptions): Config {
  const { userns, systemdCgroup, allowFlagOverride, seed } = options;
  const overlay = overlayOf(options);
  return {
    ...readConfig(),
    ...(userns && { userns }),
    ...(systemdCgroup && { cgroupDriver: 'systemd' }),
    ...(overlay && { overlay }),
    ...(allowFlagOverride && { allowFlagOverride: allowFlagOverride === 'true' }),
    ...(seed && { seed }),
  };
}

/** Undefined when the command line says nothing about it. */
function overlayOf({ overlay2, overlay }: GlobalOptions): Config['overlay'] | undefined {
  const older = overlay && parseOverlay(overlay);
  const mode = overlay2 === undefined ? older : parseOverlay2(overlay2);
  if (typeof mode === 'string') throw new SiltError('REQUEST_INVALID', `--overlay2 ${mode}`);
  if (overlay2 !== undefined && older !== undefined)
    throw new SiltError('REQUEST_INVALID', '--overlay stands for --overlay2=all:memory; give one of the two');
  return mode;
}

/** A container by its id, or a beginning of it that no other has. @throws SiltError CONTAINER_NOT_FOUND. */
export function openContainer(frame: Frame, id: string): RecordedContainer {
  return RecordedContainer.find(openWorkshop(frame), id);
}
