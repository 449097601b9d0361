export { traceContainer, TracerControl, traceFirst } from './control';
export { traceCpuid } from './tracer';
export { CPU_FEATURES_ANNOTATION, CPUINFO, type CpuView, planCpuView, shownFeatures } from './view';
