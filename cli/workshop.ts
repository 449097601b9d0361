/** What commands work with. Loaded by those that need it, inside of their actions: it brings half of silt along. */
import { loadNative, openInterpreter } from '../native';
import { Host, readConfig, StateDirectory, type Workshop } from '../sandbox';
import { Kernel } from '../syscall';

/** @param root the directory of the state. @throws SiltError CONFIG_INVALID. */
export function openWorkshop(root: string): Workshop {
  const native = loadNative();
  return {
    kernel: new Kernel(native, openInterpreter(undefined, native)),
    host: new Host(),
    config: readConfig(),
    state: new StateDirectory(root),
  };
}
