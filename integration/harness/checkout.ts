/** Where this checkout is. Works from source (jest) and from a bundle under build/ alike. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

function findCheckout(from: string): string {
  for (let directory = from; ; directory = dirname(directory)) {
    if (existsSync(join(directory, 'package-lock.json')) && existsSync(join(directory, 'integration')))
      return directory;
    if (directory === dirname(directory)) throw new Error(`no checkout of silt above ${from}`);
  }
}

export const checkout = findCheckout(__dirname);
export const binDirectory = join(checkout, 'bin');
export const siltProgram = join(binDirectory, 'silt');
