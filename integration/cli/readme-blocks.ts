/** The commands of the README: what each block needs to be run, and what it prints. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkout } from '../harness';

export interface ReadmeBlock {
  /** The kind of host that it is for, as the comment above it says. */
  readonly run: string;
  readonly prints: string | undefined;
  readonly script: string;
}

const readme = (): string => readFileSync(join(checkout, 'README.md'), 'utf8');

export function readmeBlocks(): ReadmeBlock[] {
  const form = /^<!-- run: ([\w-]+)(?:; prints: (.+))? -->\n\n```sh\n([\s\S]*?)^```$/gm;
  return [...readme().matchAll(form)].map(([, run, prints, script]) => ({ run: run!, prints, script: script! }));
}

/** Blocks of commands that nothing is said of: nobody would run them. */
export function unmarkedBlocks(): number {
  return [...readme().matchAll(/^```sh$/gm)].length - readmeBlocks().length;
}
