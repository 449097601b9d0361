import { SiltError } from '../errors';
import type { Pod } from './pod';
import type { Workshop } from './container';

/** Fills an upper from an archive. */
export function seedUpper(_workshop: Workshop, _pod: Pod, request: { seed: string }, _upper: number, _cgroupFiles: readonly string[]): Promise<void> {
  throw new SiltError('UNIMPLEMENTED', `seeding from ${request.seed} is not built yet`);
}
