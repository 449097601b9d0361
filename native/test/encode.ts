/** A minimal encoder of syscall programs for the tests of this folder; `syscall/` has the real one. */

export const machine = process.arch === 'arm64' ? 183 : 62;

/** System call numbers of the two machines (asm/unistd.h): x86_64, aarch64. */
const numbers = {
  write: [1, 64],
  fstat: [5, 80],
  readlinkat: [267, 78],
  pipe2: [293, 59],
  fcntl: [72, 25],
  getpid: [39, 172],
  clone: [56, 220],
  exit_group: [231, 94],
  waitid: [247, 95],
  socketpair: [53, 199],
  recvfrom: [45, 207],
  eventfd2: [290, 19],
  rt_sigtimedwait: [128, 137],
  rt_sigprocmask: [14, 135],
  pwrite64: [18, 68],
} as const;
export const nr = (name: keyof typeof numbers): number => numbers[name][process.arch === 'arm64' ? 1 : 0];

export type Argument = number | bigint | { kind: 'address' | 'slot' | 'word32' | 'word64'; at: number };
export const address = (at: number): Argument => ({ kind: 'address', at });
export const slot = (at: number): Argument => ({ kind: 'slot', at });

export interface Instruction {
  op?: number;
  number?: number;
  slot?: number;
  flags?: number;
  tolerated?: number[];
  target?: number;
  arguments?: Argument[];
}

export interface Relocation {
  offset: number;
  kind: number;
  slot?: number;
  value?: number;
}

export interface Parts {
  slots?: number;
  instructions: Instruction[];
  relocations?: Relocation[];
  image?: Uint8Array;
  machine?: number;
}

/** Where the image starts, for reading results back. */
export const imageAt = (parts: Parts): number =>
  32 + 72 * parts.instructions.length + 16 * (parts.relocations?.length ?? 0);

export function encode(parts: Parts): Buffer {
  const { instructions, relocations = [], image = new Uint8Array(0) } = parts;
  const start = imageAt(parts);
  const out = Buffer.alloc(start + image.length);
  out.write('SILT', 'latin1');
  out.writeUInt16LE(1, 4);
  out.writeUInt16LE(parts.machine ?? machine, 6);
  out.writeUInt32LE(instructions.length, 8);
  out.writeUInt32LE(relocations.length, 12);
  out.writeUInt32LE(image.length, 16);
  out.writeUInt16LE(parts.slots ?? 0, 20);
  out.writeUInt32LE(out.length, 24);
  instructions.forEach((instruction, index) => {
    const at = 32 + 72 * index;
    const { op = 0, number = 0, slot: result = 0xffff, flags = 0, tolerated = [], target = 0 } = instruction;
    [op, number, result].forEach((value, i) => out.writeUInt16LE(value, at + 2 * i));
    out[at + 6] = flags;
    out[at + 7] = tolerated.length;
    tolerated.forEach((errno, i) => out.writeUInt16LE(errno, at + 8 + 2 * i));
    out.writeUInt16LE(target, at + 22);
    (instruction.arguments ?? []).forEach((argument, i) => {
      const simple = typeof argument !== 'object';
      out[at + 16 + i] = simple ? 0 : ['address', 'slot', 'word32', 'word64'].indexOf(argument.kind) + 1;
      out.writeBigUInt64LE(BigInt.asUintN(64, BigInt(simple ? argument : argument.at)), at + 24 + 8 * i);
    });
  });
  relocations.forEach((relocation, index) => {
    const at = 32 + 72 * instructions.length + 16 * index;
    out.writeUInt32LE(relocation.offset, at);
    out.writeUInt16LE(relocation.kind, at + 4);
    out.writeUInt16LE(relocation.slot ?? 0, at + 6);
    out.writeUInt32LE(relocation.value ?? 0, at + 8);
  });
  out.set(image, start);
  return out;
}
