/** Where silt keeps state unless told otherwise; below it, a directory per containerd namespace. */
export const DEFAULT_ROOT = '/run/silt';

/** Where silt keeps its state: SILT_ROOT of the environment, which tests set, or {@link DEFAULT_ROOT}. */
export function siltRoot(): string {
  return process.env['SILT_ROOT'] ?? DEFAULT_ROOT;
}
