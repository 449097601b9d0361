import type { Command } from 'commander';
import { readFileSync } from 'node:fs';
import { SiltError } from '../../errors';

export function registerCpuFeatures(silt: Command): void {
  silt
    .command('cpu-features')
    .description('the features of this machine’s CPU, by the names of /proc/cpuinfo')
    .option('--json', 'as a JSON list', false)
    .action(({ json }: { json: boolean }) => {
      const features = cpuFeatures(readFileSync('/proc/cpuinfo', 'utf8'));
      process.stdout.write(`${json ? JSON.stringify(features) : features.join(',')}\n`);
    });
}

/**
 * The features that every CPU of the machine has, in the kernel's order: a program may run on any of them.
 * @param cpuinfo the text of /proc/cpuinfo (x86: `flags`, aarch64: `Features`). @throws SiltError HOST_UNSUPPORTED.
 */
export function cpuFeatures(cpuinfo: string): string[] {
  const [first, ...others] = [...cpuinfo.matchAll(/^(?:flags|Features)\s*: *(.*)$/gm)].map((match) =>
    match[1]!.split(/\s+/),
  );
  if (!first)
    throw new SiltError('HOST_UNSUPPORTED', '/proc/cpuinfo has no line of features', { path: '/proc/cpuinfo' });
  const sets = others.map((names) => new Set(names));
  return first.filter((name) => name !== '' && sets.every((names) => names.has(name)));
}
