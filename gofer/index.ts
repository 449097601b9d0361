export { type IdMaps, type IdRange, mapFileText, toHost } from './id-map';
export { type CgroupV1View, hostOwner, planRoot, podRootSysctls, type RootPlan, type RootPlanInput } from './plan';
export { buildRoot, setSysctls, UPPER, USERNS } from './root';
export type { Owner } from './target';
export { type EngineMount, takeApart } from './engine-mounts';
