import { Named, ProgramBuilder } from './builder';
import { hostArch } from './constants';
import type { Program } from './program';

/** The image of a built program. */
const imageOf = (program: Program): Buffer => program.encode().subarray(program.imageOffset);

describe('slots', () => {
  test('are numbered in the order in which they are made', () => {
    const p = new ProgramBuilder();
    expect([p.slot('a').index, p.slot('b').index, p.slot('a').index]).toEqual([0, 1, 2]);
    expect(p.build().slots).toEqual(['a', 'b', 'a']);
  });

  test('there are 256 and no more', () => {
    const p = new ProgramBuilder();
    for (let i = 0; i < 256; i++) p.slot(`slot${i}`);
    expect(() => p.slot('one too many')).toThrow(new RangeError('a program has at most 256 slots'));
    expect(p.build().slots).toHaveLength(256);
  });

  test('of a scope are free for others after it, and those made before it are not', () => {
    const p = new ProgramBuilder();
    const outer = p.slot('outer');
    const inside = p.scope(() => [p.slot('x').index, p.slot('y').index]);
    expect([outer.index, ...inside, p.slot('after').index]).toEqual([0, 1, 2, 1]);
    // The program's table has the first name; listings show the name that the instruction was given.
    expect(p.build().slots).toEqual(['outer', 'x', 'y']);
  });

  test('of a scope can be made anew any number of times', () => {
    const p = new ProgramBuilder();
    for (let i = 0; i < 1000; i++) p.scope(() => p.slot('short-lived'));
    expect(p.build().slots).toEqual(['short-lived']);
  });

  test('of nested scopes pile up and go one scope at a time', () => {
    const p = new ProgramBuilder();
    const indexes = p.scope(() => [
      p.slot('a').index,
      p.scope(() => p.slot('b').index),
      p.slot('c').index,
      p.slot('d').index,
    ]);
    expect(indexes).toEqual([0, 1, 1, 2]);
  });
});

describe('the image', () => {
  test('equal strings share a place, whether given as text or as bytes', () => {
    const p = new ProgramBuilder();
    const offsets = ['/proc', '/sys', '/proc', Buffer.from('/sys')].map((text) => p.string(text).offset);
    expect(offsets).toEqual([0, 6, 0, 6]);
    expect(imageOf(p.build()).toString()).toBe('/proc\0/sys\0');
  });

  test('bytes that are no UTF-8 are kept as they are and told apart', () => {
    const p = new ProgramBuilder();
    const offsets = [Buffer.from([0xff]), Buffer.from([0xfe]), Buffer.from([0xff])].map((raw) => p.string(raw).offset);
    expect(offsets).toEqual([0, 2, 0]);
    expect([...imageOf(p.build())]).toEqual([0xff, 0, 0xfe, 0]);
  });

  test('a NUL inside of a string is refused', () => {
    const p = new ProgramBuilder();
    expect(() => p.string('/etc\0/passwd')).toThrow(new RangeError('NUL in a string argument: "/etc\\u0000/passwd"'));
  });

  test('numbers are aligned to eight bytes, strings are not', () => {
    const p = new ProgramBuilder();
    const offsets = [p.string('abc'), p.space(4), p.string('d'), p.bytes(Buffer.from('xy')), p.space(1, 'odd', 1)];
    expect(offsets.map(({ offset }) => offset)).toEqual([0, 8, 12, 16, 18]);
  });

  test('grows and keeps what is in it', () => {
    const p = new ProgramBuilder();
    p.string('first');
    const big = Buffer.alloc(100_000, 0x5a);
    const at = p.bytes(big);
    const last = p.string('last');
    const image = imageOf(p.build());
    expect(image.toString('latin1', 0, 6)).toBe('first\0');
    expect(image.subarray(at.offset, at.offset + big.length).equals(big)).toBe(true);
    expect(image.toString('latin1', last.offset)).toBe('last\0');
  });

  test('setU32 and setU64 take negative numbers as two’s complement', () => {
    const p = new ProgramBuilder();
    const at = p.space(16);
    p.setU32(at, -2);
    p.setU64(at.plus(8), -2n);
    expect(imageOf(p.build()).toString('hex')).toBe('feffffff00000000feffffffffffffff');
  });

  test('a place further on has what is left of the size', () => {
    const p = new ProgramBuilder();
    const at = p.space(24, 'three').plus(8);
    expect([at.offset, at.size, at.text]).toEqual([8, 16, 'three+8']);
  });

  test('a path with a number is text with room for ten digits, padded by slashes', () => {
    const p = new ProgramBuilder();
    const path = p.pathWithNumber('/proc/', p.slot('pid'), '/uid_map');
    expect(imageOf(p.build()).toString()).toBe(`/proc/${'/'.repeat(10)}/uid_map\0`);
    expect(path.text).toBe('"/proc/$pid/uid_map"');
  });

  test('a string array ends in a null pointer', () => {
    const p = new ProgramBuilder();
    const array = p.stringArray(['a', 'b', 'a']);
    const program = p.build();
    expect([array.size, imageOf(program).toString('latin1', 32)]).toEqual([32, 'a\0b\0']);
  });
});

describe('labels', () => {
  test('lead to the next instruction, from every jump to them', () => {
    const p = new ProgramBuilder();
    const slot = p.slot('s');
    const label = p.label();
    p.jumpIfZero(slot, label);
    p.call('getpid', []);
    p.jumpIfNotZero(slot, label);
    p.call('getpid', []);
    p.place(label);
    p.call('getpid', []);
    expect(p.build().instructions).toMatchObject([
      { kind: 'jumpIfZero', slot: 0, slotName: 's', target: 4 },
      { kind: 'call' },
      { kind: 'jumpIfNotZero', slot: 0, slotName: 's', target: 4 },
      { kind: 'call' },
      { kind: 'call' },
    ]);
  });

  test('may lead to the end of the program', () => {
    const p = new ProgramBuilder();
    const end = p.label();
    p.jumpIfZero(p.slot('s'), end);
    p.place(end);
    expect(p.build().instructions).toMatchObject([{ target: 1 }]);
  });

  test('cannot be jumped to once they are behind', () => {
    const p = new ProgramBuilder();
    const slot = p.slot('s');
    const label = p.label();
    p.place(label);
    const backward = new RangeError('a program jumps forward only');
    expect(() => p.jumpIfZero(slot, label)).toThrow(backward);
    expect(() => p.jumpIfNotZero(slot, label)).toThrow(backward);
  });

  test('without a place make the program incomplete', () => {
    const p = new ProgramBuilder();
    p.step('waiting').jumpIfZero(p.slot('s'), p.label());
    expect(() => p.build()).toThrow(new RangeError('a jump leads nowhere: waiting'));
  });
});

describe('donated fds', () => {
  test('have numbers from 5 in the order in which they are first named', () => {
    const p = new ProgramBuilder();
    const fds = ['upper', 'start', 'upper', 'netns'].map((name) => p.donated(name));
    expect(fds.map(({ value, text }) => [value, text])).toEqual([
      [5, '<upper>'],
      [6, '<start>'],
      [5, '<upper>'],
      [7, '<netns>'],
    ]);
    expect(p.build().donations).toEqual(['upper', 'start', 'netns']);
  });

  test('come after the report socket', () => {
    const { report } = new ProgramBuilder();
    expect([report.value, report.text]).toEqual([4, '<report>']);
  });
});

describe('steps and processes', () => {
  test('stand at every instruction that follows', () => {
    const p = new ProgramBuilder();
    p.call('getpid', []);
    p.step('first').call('getpid', []);
    p.inProcess('outer', () => {
      p.call('getpid', []);
      p.inProcess('inner', () => p.step('second').call('getpid', []));
      p.call('getpid', []);
    });
    p.call('getpid', []);
    expect(p.build().instructions.map(({ process, step }) => [process, step])).toEqual([
      ['', ''],
      ['', 'first'],
      ['outer', 'first'],
      ['outer/inner', 'second'],
      ['outer', 'second'],
      ['', 'second'],
    ]);
  });
});

describe('what the format cannot hold is refused while building', () => {
  test.each<[string, (p: ProgramBuilder) => void, string]>([
    ['an unknown system call', (p) => p.call('no_such_call', []), `${hostArch} has no system call no_such_call`],
    ['an unknown errno', (p) => p.call('getpid', [], { tolerate: ['ENOSUCH'] }), 'there is no errno ENOSUCH'],
    [
      'five tolerated errnos',
      (p) => p.call('getpid', [], { tolerate: ['EPERM', 'ENOENT', 'EIO', 'EBADF', 'EAGAIN'] }),
      'getpid tolerates more than 4 errnos',
    ],
    ['seven arguments', (p) => p.call('getpid', [1, 2, 3, 4, 5, 6, 7]), 'getpid has more than 6 arguments'],
  ])('%s', (_, build, message) => {
    expect(() => build(new ProgramBuilder())).toThrow(new RangeError(message));
  });
});

test('keep makes a close-on-exec duplicate in a slot', () => {
  const p = new ProgramBuilder();
  const pair = p.space(8);
  const slot = p.keep(p.word(pair, 32, 'read_end'), 'kept');
  const [instruction] = p.build().instructions;
  expect(slot.index).toBe(0);
  expect(instruction).toMatchObject({ kind: 'call', name: 'fcntl', out: 0, outName: 'kept' });
  expect(instruction).toHaveProperty('operands.0.kind', 'word32');
  expect(instruction).toHaveProperty('operands.1.value', 1030n);
});

test('a name for a number is found only when somebody prints it', () => {
  const name = jest.fn(() => 'CAP_CHOWN');
  const p = new ProgramBuilder();
  p.call('getpid', [new Named(0, name)]);
  const [instruction] = p.build().instructions;
  expect(name).not.toHaveBeenCalled();
  expect(instruction).toHaveProperty('operands.0.text', 'CAP_CHOWN');
});
