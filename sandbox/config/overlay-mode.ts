import { isAbsolute, normalize } from 'node:path';

/**
 * Where a container's writes go: gVisor's `--overlay2`. Without an overlay (`none`) they reach the engine's own filesystem;
 * with one they go to a medium of silt's, and `all` covers writable bind mounts as well as the root.
 */
export type OverlayMode =
  { readonly scope: 'none' } | { readonly scope: 'root' | 'all'; readonly medium: OverlayMedium };

export interface OverlayMedium {
  /**
   * `memory`: a tmpfs. `self`: a sparse file in the container's own root filesystem on the host. `directory`: such a file in
   * {@link directory}, without a name.
   */
  readonly kind: 'memory' | 'self' | 'directory';
  readonly directory?: string;
  /** Bytes; without it the medium's own default. */
  readonly sizeBytes?: number;
}

export const DEFAULT_OVERLAY: OverlayMode = { scope: 'root', medium: { kind: 'memory' } };

export const OVERLAY_FORM =
  'none, or {root|all}:{memory|self|dir=/absolute/path}, with ,size=N and one of k, m, g, t if wanted';
const UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };
/** Room for the metadata of an empty ext4, and for a tmpfs with a handful of files. */
export const LEAST_OVERLAY_BYTES = 2 ** 20;

/** Parses gVisor's `--overlay2`. Returns a sentence's end (`must be …`) for what is none. */
export function parseOverlay2(text: string): OverlayMode | string {
  if (text === 'none') return { scope: 'none' };
  const match = /^(none|root|all):(memory|self|dir=([^,]*))(?:,size=(\d+)([kmgt]?)(?:i?b)?)?$/i.exec(text);
  if (!match) return `must be ${OVERLAY_FORM}; it is ${JSON.stringify(text)}`;
  const [, scope = '', medium = '', directory, count, unit = ''] = match;
  const lower = scope.toLowerCase() as 'none' | 'root' | 'all';
  if (directory !== undefined && !isAbsolute(directory))
    return `must have an absolute path behind dir=; it is ${JSON.stringify(text)}`;
  const sizeBytes = count === undefined ? undefined : Number(count) * UNITS[unit.toLowerCase()]!;
  if (sizeBytes !== undefined && !(sizeBytes >= LEAST_OVERLAY_BYTES && sizeBytes <= Number.MAX_SAFE_INTEGER))
    return `must have a size from 1m to 8191t; it is ${JSON.stringify(text)}`;
  if (lower === 'none') return { scope: 'none' };
  const sized = sizeBytes === undefined ? {} : { sizeBytes };
  if (directory !== undefined)
    return { scope: lower, medium: { kind: 'directory', directory: normalize(directory), ...sized } };
  return { scope: lower, medium: { kind: medium.toLowerCase() as 'memory' | 'self', ...sized } };
}

/**
 * gVisor's older `--overlay`: true stands for all mounts in memory; false leaves `--overlay2` as it is, which is undefined here.
 * Returns a sentence's end for what is neither.
 */
export function parseOverlay(text: string): OverlayMode | undefined | string {
  if (text === 'true') return { scope: 'all', medium: { kind: 'memory' } };
  return text === 'false' ? undefined : `must be true or false; it is ${JSON.stringify(text)}`;
}

/** The form that {@link parseOverlay2} takes. */
export function formatOverlay2(mode: OverlayMode): string {
  if (mode.scope === 'none') return 'none';
  const { kind, directory, sizeBytes } = mode.medium;
  const medium = kind === 'directory' ? `dir=${directory}` : kind;
  return `${mode.scope}:${medium}${sizeBytes === undefined ? '' : `,size=${sizeBytes}`}`;
}
