/** The version of the OCI runtime spec that silt follows. Commands that only print it import this file alone. */
export const SPEC_VERSION = '1.3.0';
