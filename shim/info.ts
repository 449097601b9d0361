import { packSpec, RuntimeInfo } from '../proto';

export const VERSION = '0.1.0';

/** What `-v` prints, in the layout of containerd's own shims. */
export const VERSION_TEXT = `containerd-shim-silt-v1:\n  Version:  ${VERSION}\n  Revision: \n  Go version: none, Node.js ${process.version}\n\n`;

/** What `-info` prints (containerd 2.0): who this is. The features document is announced once all of it is true. */
export function printInfo(): Promise<void> {
  const features = packSpec('features', { ociVersionMin: '1.0.0', ociVersionMax: '1.2.0' });
  const info = RuntimeInfo.encode({
    name: 'io.containerd.silt.v1',
    version: { version: VERSION, revision: '' },
    features,
  });
  return new Promise((resolve) => {
    process.stdout.write(info, () => resolve());
  });
}
