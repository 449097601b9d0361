import { AT_FDCWD, cloneTree, type Fd, mountSetattr, type ProgramBuilder, type Slot } from '../syscall';
import { idmapStep } from './idmap-step';
import type { Layer } from './root-plan';

/** A layer as a detached mount, and what is being done when overlayfs takes it. */
export interface OpenedLayer {
  readonly mount: Slot;
  readonly step: string;
}

/** Opens layers, with their owners as the user namespace of this fd numbers them where the plan says so. */
export function openLayers(p: ProgramBuilder, layers: readonly Layer[], userns: () => Fd): OpenedLayer[] {
  return layers.map(({ path, idmap }) => {
    const step = `adding the layer ${path}`;
    p.step(step);
    const mount = cloneTree(p, AT_FDCWD, path, { name: 'layer' });
    if (idmap) {
      p.step(idmapStep(path));
      mountSetattr(p, mount, { userns: userns() });
    }
    return { mount, step };
  });
}
