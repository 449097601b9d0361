/** Where silt keeps its state: SILT_ROOT of the environment, which tests set, or /run/silt. */
export function siltRoot(): string {
  return process.env['SILT_ROOT'] ?? '/run/silt';
}
