import { release } from 'node:os';

/** Major and minor number of a version, such as [6, 18]. */
export type Version = readonly [major: number, minor: number];

/** The first two numbers in a text; 0 for what it does not have. */
export function parseVersion(text: string): Version {
  const [, major = '0', minor = '0'] = /(\d+)\.(\d+)/.exec(text) ?? [];
  return [Number(major), Number(minor)];
}

export function isAtLeast(version: Version, least: Version): boolean {
  return version[0] > least[0] || (version[0] === least[0] && version[1] >= least[1]);
}

/**
 * The running kernel's. For tests SILT_TEST_KERNEL_VERSION names an older one, whose ways work on newer kernels too.
 */
export function kernelVersion(environment: NodeJS.ProcessEnv = process.env): Version {
  const running = parseVersion(release());
  const pretended = parseVersion(environment['SILT_TEST_KERNEL_VERSION'] ?? release());
  return isAtLeast(running, pretended) ? pretended : running;
}
