/** What commands work with. Loaded by those that need it, inside of their actions: it brings half of silt along. */
import { loadNative, openInterpreter } from '../native';
import { SiltError } from '../errors';
import {
  type Config,
  Host,
  type OnProgress,
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
function configFor({ overlay2, userns, systemdCgroup }: GlobalOptions): Config {
  const driver = systemdCgroup ? ({ cgroupDriver: 'systemd' } as const) : {};
  const config = { ...readConfig(), ...(userns && { userns }), ...driver };
  if (overlay2 === undefined) return config;
  const overlay = parseOverlay2(overlay2);
  if (typeof overlay === 'string') throw new SiltError('REQUEST_INVALID', `--overlay2 ${overlay}`);
  return { ...config, overlay };
}

/** A container by its id, or a beginning of it that no other has. @throws SiltError CONTAINER_NOT_FOUND. */
export function openContainer(frame: Frame, id: string): RecordedContainer {
  return RecordedContainer.find(openWorkshop(frame), id);
}
