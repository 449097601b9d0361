import { ProgramBuilder } from '../builder';
import { C } from '../constants';
import { listProgram } from '../print';
import type { Program } from '../program';
import { makedev } from './files';
import { flags, flagsOf, mode } from './flags';
import { sendMessage } from './messages';
import { mountSetattr } from './mounts';
import { capset, fork, setRlimit } from './processes';

const imageOf = (program: Program): Buffer => program.encode().subarray(program.imageOffset);

describe('flags', () => {
  test('are the sum of their names, and shown as written', () => {
    const { value, text } = flags('O_PATH|O_CLOEXEC');
    expect([value, text]).toEqual([BigInt(C.O_PATH | C.O_CLOEXEC), 'O_PATH|O_CLOEXEC']);
  });

  test('with an unknown name are refused', () => {
    expect(() => flags('O_PATH|O_NOSUCH')).toThrow(new RangeError('unknown constant O_NOSUCH'));
  });

  test.each([
    ['MS_', () => C.MS_REC | C.MS_SLAVE, 'MS_REC|MS_SLAVE'],
    ['MS_', () => 0, '0'],
    ['SECCOMP_FILTER_FLAG_', () => 0x4000_0001, 'SECCOMP_FILTER_FLAG_TSYNC|0x40000000'],
    ['NO_SUCH_', () => 3, '0x3'],
  ])('with the prefix %s are shown by their names', (prefix, value, text) => {
    const named = flagsOf(prefix, value());
    expect([named.value, named.text]).toEqual([value(), text]);
  });

  test('a mode is shown in octal', () => {
    expect(mode(0o4755).text).toBe('04755');
  });
});

// Values of makedev(3) of glibc.
test.each([
  [1, 3, 0x103],
  [5, 2, 0x502],
  [0, 0, 0],
  [259, 7, 0x1_0307],
  [8, 256, 0x10_0800],
  [4095, 0xfffff, 0xffff_ffff],
])('makedev(%d, %d)', (major, minor, value) => {
  expect(makedev(major, minor).value).toBe(value);
});

test('capset has the sets in two halves, low bits first', () => {
  const p = new ProgramBuilder();
  capset(p, { effective: 1n, permitted: 0x8000_0000n, inheritable: 1n << 40n });
  expect(imageOf(p.build()).toString('hex')).toBe(
    ['22050820', '00000000', '01000000', '00000080', '00000000', '00000000', '00000000', '00010000'].join(''),
  );
});

test('a limit is two 64-bit numbers, infinity included', () => {
  const p = new ProgramBuilder();
  setRlimit(p, 7, 'RLIMIT_NOFILE', 1024n, 2n ** 64n - 1n);
  const program = p.build();
  expect(imageOf(program).toString('hex')).toBe('0004000000000000ffffffffffffffff');
  expect(listProgram(program)[0]?.call).toBe('prlimit64(0, RLIMIT_NOFILE, {1024, 18446744073709551615}, NULL)');
});

test('a message with fds has their numbers in its control data, those of slots filled in later', () => {
  const p = new ProgramBuilder();
  const slot = p.slot('fd');
  sendMessage(p, p.report, p.bytes(Buffer.from('x'), '"x"', 1), [p.donated('pipe'), 9, slot]);
  const image = imageOf(p.build());
  // struct cmsghdr at 8: a length of 16 + 3 · 4, SOL_SOCKET, SCM_RIGHTS; then the fds 5, 9 and the slot's place.
  expect(image.toString('hex', 8, 36)).toBe(`1c00000000000000${'01000000'.repeat(2)}050000000900000000000000`);
});

test('an fd that was received cannot be sent on without a duplicate', () => {
  const p = new ProgramBuilder();
  const word = p.word(p.space(4), 32, 'received');
  expect(() => sendMessage(p, p.report, p.space(1), [word])).toThrow(
    new RangeError('an fd that was received must be duplicated into a slot to be sent on'),
  );
  expect(() => mountSetattr(p, 3, { userns: word })).toThrow(
    new RangeError('the user namespace of an idmapped mount must be a slot or a fixed fd'),
  );
});

describe('fork', () => {
  test('asks for SIGCHLD, or for no signal of its own with CLONE_PARENT', () => {
    const exitSignals = ['', 'CLONE_PARENT|CLONE_NEWPID'].map((expression) => {
      const p = new ProgramBuilder();
      fork(p, 'child', { flags: expression }, () => undefined);
      // struct clone_args: exit_signal is the fifth of its 64-bit fields, after eight bytes for a pidfd here.
      return imageOf(p.build()).readBigUInt64LE(8 + 32);
    });
    expect(exitSignals).toEqual([BigInt(C.SIGCHLD), 0n]);
  });

  test('runs its body in the child only, which then ends', () => {
    const p = new ProgramBuilder();
    fork(p, 'child', {}, () => p.call('getppid', []));
    p.call('getpid', []);
    expect(listProgram(p.build()).map(({ process, call }) => [process, call])).toEqual([
      ['', 'clone3({flags=0, exit_signal=SIGCHLD}, 88) = $child_pid'],
      ['', 'if $child_pid != 0 go to 4'],
      ['child', 'getppid()'],
      ['child', 'exit_group(0)'],
      ['', 'getpid()'],
    ]);
  });
});
