/** What commands work with. Loaded by those that need it, inside of their actions: it brings half of silt along. */
import { loadNative, openInterpreter } from '../native';
import { Host, readConfig, RecordedContainer, StateDirectory, type Workshop } from '../sandbox';
import { Kernel } from '../syscall';
import type { Frame } from './frame';

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

/** A container by its id, or a beginning of it that no other has. @throws SiltError CONTAINER_NOT_FOUND. */
export function openContainer(frame: Frame, id: string): RecordedContainer {
  return RecordedContainer.find(openWorkshop(frame.options.root), id);
}
