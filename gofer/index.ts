export { type OverlayView, overlayView } from './overlay-view';
export { type IdMaps, type IdRange, mapFileText, toHost } from './id-map';
export {
  type BindStep,
  type CopyUp,
  type CgroupV1View,
  type FilesystemStep,
  hostOwner,
  isPodRoots,
  mountDestination,
  planRoot,
  podRootSysctls,
  type RootPlan,
  type RootPlanInput,
  unmappedVolumes,
} from './plan';
export { COVER, UPPER, USERNS } from './fds';
export { type Mounted, mountOf, mountsBeneath, readMounts } from './mounted';
export { AttachedOverlays, DetachedOverlays, takesDetachedLayers } from './overlay';
export { sourceOfIdmapStep } from './idmap-step';
export { buildRoot, setRootPropagation, makeFilesystem, openTerminal, setSysctls } from './root';
export type { Owner } from './target';
export { type EngineMount, type EngineRoot, type OwnRoot, takeApart } from './engine-mounts';
