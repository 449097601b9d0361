/** Which silt this is. */
export const VERSION = '0.1.0';

declare const SILT_COMMIT: string | undefined;

/** The commit that was built, as tools/bundle.mjs puts it in; empty in what runs from source. */
export const COMMIT = typeof SILT_COMMIT === 'undefined' ? '' : SILT_COMMIT;
