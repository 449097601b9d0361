import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../errors';
import { parseSpec } from './check';
import type { Spec } from './spec';

/** The spec of a bundle. @throws SiltError SPEC_INVALID, SPEC_UNSUPPORTED naming the file. */
export function readBundle(bundle: string): Spec {
  const path = join(bundle, 'config.json');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const message = `cannot read the spec ${path}: ${(error as Error).message}`;
    throw new SiltError('SPEC_INVALID', message, { path }, { cause: error });
  }
  return parseSpec(text, path);
}
