/** Which silt this is; the version of the OCI runtime spec that it follows. */
export const VERSION = '0.1.0';
export const SPEC_VERSION = '1.2.0';

/** The commit that was built, set by tools/bundle.mjs; empty for what runs from source. */
declare const SILT_COMMIT: string | undefined;

/** What `--version` prints, in runc's layout: containerd and dockerd read the lines `commit:` and `spec:`. */
export function versionText(): string {
  const commit = typeof SILT_COMMIT === 'undefined' ? '' : SILT_COMMIT;
  const lines = [`silt version ${VERSION}`, `commit: ${commit}`, `spec: ${SPEC_VERSION}`, `node: ${process.version}`];
  return lines.join('\n');
}
