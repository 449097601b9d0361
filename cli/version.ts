import { SPEC_VERSION } from '../oci/version';
import { COMMIT, VERSION } from '../sandbox/version';

/** What `--version` prints, in runc's layout: dockerd reads the first two lines. */
export const VERSION_TEXT = [
  `silt version ${VERSION}`,
  `commit: ${COMMIT}`,
  `spec: ${SPEC_VERSION}`,
  `node: ${process.version}`,
].join('\n');
