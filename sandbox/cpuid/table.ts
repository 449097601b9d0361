import type { CpuView } from './view';

const MAGIC = 0x44495043;
const ANY_SUBLEAF = 0xffffffff;

export interface TracedTasks {
  readonly tids: readonly number[];
  /** They run programs already: CPUID must be made to fault in them before they go on. */
  readonly armNow: boolean;
  /** The tracer is given a control socket. */
  readonly control: boolean;
}

/** What silt-cpuid is to do, as native/cpuid.h has it. */
export function encodeTable({ masks, hwcap, hwcap2 }: CpuView, { tids, armNow, control }: TracedTasks): Buffer {
  const words = [
    ...[MAGIC, 0, (armNow ? 1 : 0) | (control ? 2 : 0), masks.length, tids.length, hwcap, hwcap2, 0],
    ...masks.flatMap(({ leaf, subleaf, eax, ebx, ecx, edx }) => [leaf, subleaf ?? ANY_SUBLEAF, eax, ebx, ecx, edx]),
    ...tids,
  ];
  words[1] = words.length * 4;
  const table = Buffer.alloc(words.length * 4);
  words.forEach((word, i) => table.writeUInt32LE(word, i * 4));
  return table;
}
