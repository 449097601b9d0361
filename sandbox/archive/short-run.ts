import { setFlagsFromString } from 'node:v8';

/**
 * For a process that packs or unpacks and ends, before it does: without V8's slowest compiler, and with garbage collected on one
 * thread. Both use threads that the system calls need more (measured with 20,000 files: a sixth less CPU time). And with little room for
 * garbage: few objects live on, and V8 would take 32 MiB or more for the young ones alone, when depends on how threads take turns.
 */
export function expectShortRun(): void {
  setFlagsFromString('--no-turbofan');
  setFlagsFromString('--single-threaded-gc');
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--optimize-for-size');
}
