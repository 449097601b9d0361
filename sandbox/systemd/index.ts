/** cgroups that systemd makes and keeps: each a transient unit of its own (`--systemd-cgroup`), by its manager's D-Bus calls. */
export { annotatedProperties } from './annotations';
export { startPlaceholder, type Placeholder } from './placeholder';
export { limitProperties } from './properties';
export type { Property } from './property';
export { setUnitProperties, startUnit, stopUnit, systemdRuns } from './units';
