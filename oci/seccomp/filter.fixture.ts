/** For tests: a filter asked what the kernel would ask it. */
import type { Instruction } from './bpf';

/** What the kernel does with a filter: `struct seccomp_data` in, the returned value out (bpf(4), seccomp(2)). */
function interpret(program: readonly Instruction[], data: Uint8Array): number {
  const words = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let accumulator = 0;
  for (let pc = 0; pc < program.length; pc++) {
    const { code, jt, jf, k } = program[pc]!;
    const jump = (yes: boolean): void => void (pc += yes ? jt : jf);
    if (code === 0x20) accumulator = words.getUint32(k, true);
    else if (code === 0x54) accumulator = (accumulator & k) >>> 0;
    else if (code === 0x06) return k;
    else if (code === 0x05) pc += k;
    else if (code === 0x15) jump(accumulator === k);
    else if (code === 0x25) jump(accumulator > k);
    else if (code === 0x35) jump(accumulator >= k);
    else throw new Error(`instruction ${pc} has the unknown code ${code}`);
  }
  throw new Error('ran off the end');
}

/** What a filter answers to a system call. */
export function call(
  program: readonly Instruction[],
  audit: number,
  nr: number,
  args: readonly (number | bigint)[] = [],
): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(nr >>> 0, 0);
  data.writeUInt32LE(audit, 4);
  args.forEach((arg, i) => data.writeBigUInt64LE(BigInt.asUintN(64, BigInt(arg)), 16 + i * 8));
  return interpret(program, data);
}

/** A filter's instructions from the bytes that seccomp(2) takes. */
export function decodeProgram(bpf: Uint8Array): Instruction[] {
  const bytes = Buffer.from(bpf);
  return Array.from({ length: bytes.length / 8 }, (_, i) => ({
    code: bytes.readUInt16LE(i * 8),
    jt: bytes.readUInt8(i * 8 + 2),
    jf: bytes.readUInt8(i * 8 + 3),
    k: bytes.readUInt32LE(i * 8 + 4),
  }));
}
