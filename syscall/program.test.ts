import { ProgramBuilder } from './builder';
import { hostArch } from './constants';
import type { Program } from './program';

/**
 * Cuts an encoded program at the widths that docs/syscall-programs.md gives, each field as hex in the order of its bytes.
 * Instructions: op, number, slot, flags, errno count, errnos, kinds, target or repeat, then the six arguments.
 */
function fieldsOf(bytes: Buffer, start: number, widths: readonly number[]): string[] {
  let at = start;
  return widths.map((width) => bytes.toString('hex', at, (at += width)));
}
const HEADER = [4, 2, 2, 4, 4, 4, 2, 2, 4, 4];
const INSTRUCTION = [2, 2, 2, 1, 1, 8, 6, 2, 8, 8, 8, 8, 8, 8];
const RELOCATION = [4, 2, 2, 4, 4];
const ZERO = '0000000000000000';

/** aarch64's numbers, because every build machine has them: write 64, getpid 172. */
function everything(): Program {
  const p = new ProgramBuilder('aarch64');
  const first = p.slot('first');
  const second = p.slot('second');
  const text = p.string('hi');
  const words = p.space(16);
  p.slotAt(words, second, 64);
  p.slotAt(words.plus(8, 4), first, 32);
  p.pointer(p.space(8), text);
  p.pathWithNumber('/proc/', first, '/x');
  const end = p.label();
  p.call('write', [second, text, 2, p.word(words, 32, 'w'), p.word(words, 64, 'w'), -1], {
    out: first,
    tolerate: ['EAGAIN', 'EPIPE'],
    retry: true,
    raced: true,
    repeat: { count: 2, buffer: 1, offset: 3 },
  });
  p.jumpIfZero(first, end);
  p.jumpIfNotZero(second, end);
  p.call('getpid', [], { tolerate: 'all' });
  p.call('write', [1, text, 2], { repeat: { count: 2 } });
  p.place(end);
  return p.build();
}

describe('the encoding', () => {
  const program = everything();
  const bytes = program.encode();

  test('starts with a header that counts what follows', () => {
    // 5 instructions, 4 relocations, an image of 32 + 19 bytes, 2 slots: 32 + 5·72 + 4·16 + 51 bytes.
    const total = 32 + 5 * 72 + 4 * 16 + 51;
    expect(fieldsOf(bytes, 0, HEADER)).toEqual([
      '53494c54',
      '0100',
      'b700',
      '05000000',
      '04000000',
      '33000000',
      '0200',
      '0000',
      `${(total & 0xff).toString(16)}0${total >> 8}0000`,
      '00000000',
    ]);
    expect([bytes.length, program.imageOffset]).toEqual([total, total - 51]);
  });

  test('has the machine of the host’s own programs in its place', () => {
    const p = new ProgramBuilder();
    p.call('getpid', []);
    expect(p.build().encode().readUInt16LE(6)).toBe({ x86_64: 62, aarch64: 183 }[hostArch]);
  });

  test.each<[string, number, string[]]>([
    [
      'a call with everything',
      0,
      [
        '0000',
        '4000',
        '0000',
        // Repeat, retry and raced; EAGAIN is 11, EPIPE 32.
        '0d',
        '02',
        '0b00200000000000',
        // Slot, address, immediate, word32, word64, immediate.
        '020100030400',
        // Count argument 2, buffer argument 1 + 1, offset argument 3 + 1.
        '1201',
        '0100000000000000',
        ZERO,
        '0200000000000000',
        '0800000000000000',
        '0800000000000000',
        'ffffffffffffffff',
      ],
    ],
    [
      'a jump if zero',
      1,
      ['0100', '0000', '0000', '00', '00', ZERO, '000000000000', '0500', ZERO, ZERO, ZERO, ZERO, ZERO, ZERO],
    ],
    [
      'a jump if not zero',
      2,
      ['0200', '0000', '0100', '00', '00', ZERO, '000000000000', '0500', ZERO, ZERO, ZERO, ZERO, ZERO, ZERO],
    ],
    [
      'a call that keeps no result and tolerates all',
      3,
      ['0000', 'ac00', 'ffff', '02', '00', ZERO, '000000000000', '0000', ZERO, ZERO, ZERO, ZERO, ZERO, ZERO],
    ],
    [
      'a repeated call without buffer and offset',
      4,
      [
        '0000',
        '4000',
        'ffff',
        '01',
        '00',
        ZERO,
        '000100000000',
        '0200',
        '0100000000000000',
        ZERO,
        '0200000000000000',
        ZERO,
        ZERO,
        ZERO,
      ],
    ],
  ])('%s', (_, index, expected) => {
    expect(fieldsOf(bytes, 32 + index * 72, INSTRUCTION)).toEqual(expected);
  });

  test('has the relocations of addresses first, then those of slots in the order of the slots', () => {
    const at = 32 + 5 * 72;
    expect([0, 1, 2, 3].map((i) => fieldsOf(bytes, at + i * 16, RELOCATION))).toEqual([
      // The pointer at 24 to the string at 0.
      ['18000000', '0100', '0000', '00000000', '00000000'],
      // Slot 0: 32 bits at 16, ten digits at 32 + 6. Slot 1: 64 bits at 8.
      ['10000000', '0200', '0000', '00000000', '00000000'],
      ['26000000', '0400', '0000', '0a000000', '00000000'],
      ['08000000', '0300', '0100', '00000000', '00000000'],
    ]);
  });

  test('ends in the image', () => {
    const image = bytes.subarray(program.imageOffset);
    expect(image.toString('latin1')).toBe(`hi\0${'\0'.repeat(29)}/proc/${'/'.repeat(10)}/x\0`);
  });

  test('is a fresh copy each time: a run leaves the program as it is', () => {
    const copy = program.encode();
    copy.fill(0);
    expect(program.encode().equals(bytes)).toBe(true);
  });
});

describe('the error of a failed instruction', () => {
  const p = new ProgramBuilder();
  p.call('getpid', []);
  p.step('opening the door').call('openat', [0]);
  p.inProcess('helper', () => p.inProcess('gofer', () => p.call('mount', [])));
  const program = p.build();
  const ENOENT = 2;

  test('names step, system call and errno', () => {
    expect(program.failure(1, ENOENT)).toMatchObject({
      code: 'SYSCALL_FAILED',
      message: 'opening the door: openat: ENOENT',
      details: { syscall: 'openat', errno: 'ENOENT' },
    });
  });

  test('names the process in which it happened', () => {
    expect(program.failure(2, 1).message).toBe('opening the door (helper/gofer): mount: EPERM');
  });

  test('has the system call’s name for a step without one', () => {
    expect(program.failure(0, ENOENT).message).toBe('getpid: getpid: ENOENT');
  });

  test('has the code that the caller gives for an errno, and SYSCALL_FAILED for others', () => {
    const codes = { ENOENT: 'CONTAINER_NOT_FOUND' } as const;
    expect([program.failure(1, ENOENT, codes).code, program.failure(1, 13, codes).code]).toEqual([
      'CONTAINER_NOT_FOUND',
      'SYSCALL_FAILED',
    ]);
  });

  test('shows the number of an errno without a name', () => {
    expect(program.failure(1, 4000).details).toEqual({ syscall: 'openat', errno: 'errno 4000' });
  });

  test('is PROGRAM_INVALID with the reason’s number for a program that the interpreter refused', () => {
    expect(program.failure(0xffffffff, 7)).toMatchObject({
      code: 'PROGRAM_INVALID',
      message: 'the interpreter refused a syscall program (reason 7); this is a bug in silt',
      details: {},
    });
  });
});
