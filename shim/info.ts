import { features } from '../oci';
import { packSpec, RuntimeInfo } from '../proto';
import { COMMIT, VERSION } from '../sandbox/version';

/** What `-v` prints, in the layout of containerd's own shims. */
export const VERSION_TEXT = `containerd-shim-silt-v1:\n  Version:  ${VERSION}\n  Revision: ${COMMIT}\n  Go version: none, Node.js ${process.version}\n\n`;

/** What `-info` prints (containerd 2.0): who this is, and the features document of `silt features`. */
export function printInfo(): Promise<void> {
  const info = RuntimeInfo.encode({
    name: 'io.containerd.silt.v1',
    version: { version: VERSION, revision: COMMIT },
    features: packSpec('features', features({ version: VERSION, commit: COMMIT })),
  });
  return new Promise((resolve) => {
    process.stdout.write(info, () => resolve());
  });
}
