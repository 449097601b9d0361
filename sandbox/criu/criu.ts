/** Which CRIU there is. */
import { accessSync, constants, existsSync, realpathSync, statSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { SiltError } from '../../errors';
import type { Config } from '../config/config';
import type { CriuCommand } from '../programs/criu';
import { unusable } from './dumper';
import type { CriuSession } from './session';

/** Older ones do not know the vDSO of newer kernels, nor the options that silt uses. */
export const LEAST_CRIU = { major: 4, minor: 1 } as const;

/** What any dynamic program may want of the host's filesystem, and a wrapper script its interpreter. */
const SYSTEM = ['/usr', '/lib', '/lib32', '/lib64', '/libx32', '/bin', '/sbin', '/etc/ld.so.cache', '/dev/null'];

/**
 * The configured CRIU, or the one on PATH.
 * @throws SiltError CRIU_UNUSABLE when there is none.
 */
export function findCriu(config: Pick<Config, 'criu'>): CriuCommand {
  const path = config.criu ?? onPath('criu');
  const wanted = `checkpoints need CRIU ${LEAST_CRIU.major}.${LEAST_CRIU.minor} or later`;
  if (path === undefined) {
    throw new SiltError(
      'CRIU_UNUSABLE',
      `${wanted}, and there is no criu on PATH; install it, or name it in the configuration (criu = "/path/to/criu")`,
    );
  }
  if (!isExecutable(path))
    throw new SiltError('CRIU_UNUSABLE', `${wanted}, and ${path} is no executable file`, { path });
  // Where it is executed there are no links that lead to it.
  const real = realpathSync(path);
  const beside = dirname(real);
  const paths = SYSTEM.filter((one) => existsSync(one));
  if (!paths.some((one) => beside === one || beside.startsWith(`${one}/`))) paths.push(beside);
  return { path: real, needs: paths.map((one) => ({ path: one, directory: statSync(one).isDirectory() })) };
}

function onPath(name: string): string | undefined {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/usr/bin'];
  return directories.map((directory) => join(directory, name)).find((path) => isExecutable(path));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/**
 * The version of a CRIU that has been started, such as `4.1.1`.
 * @throws SiltError CRIU_UNUSABLE when it does not answer or is too old; the session is still the caller's to end.
 */
export async function requireVersion(session: CriuSession, criu: CriuCommand): Promise<string> {
  const version = await session.version().catch((error: unknown) => {
    throw unusable(criu, error);
  });
  const text = `${version.majorNumber}.${version.minorNumber}${version.sublevel > 0 ? `.${version.sublevel}` : ''}`;
  const { major, minor } = LEAST_CRIU;
  if (version.majorNumber > major || (version.majorNumber === major && version.minorNumber >= minor)) return text;
  const message = `checkpoints need CRIU ${major}.${minor} or later; ${criu.path} is ${text}`;
  throw new SiltError('CRIU_UNUSABLE', message, { path: criu.path });
}
