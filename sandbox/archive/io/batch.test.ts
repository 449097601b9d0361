import { closeSync, openSync, readFileSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative } from '../../../native';
import { C, ProgramBuilder, type Slot } from '../../../syscall';
import { addressOf, Batch, callNumber, NOWHERE, slotOf, type SyscallRunner, word64At } from './batch';
import { pwrite, readWord64, write } from './calls';

/** Keeps programs instead of running them, and says of a call that it failed. */
class Recorder implements SyscallRunner {
  readonly programs: Buffer[] = [];
  readonly outcomes: number[] = [];
  readonly values: bigint[] = [];

  run(program: Uint8Array, slots: BigInt64Array): number {
    this.programs.push(Buffer.from(program));
    this.values.forEach((value, i) => (slots[i] = value));
    return this.outcomes.shift() ?? -1;
  }

  start(): boolean {
    return false;
  }

  finish(): number {
    throw new Error('nothing was started');
  }
}

const ENOENT = 2;

describe('batches of system calls', () => {
  test('are the same bytes as those of ProgramBuilder', () => {
    const p = new ProgramBuilder();
    const slots: Slot[] = Array.from({ length: 256 }, (_, i) => p.slot(`s${i}`));
    const name = p.bytes(Buffer.from('name\0'));
    const word = p.space(8);
    p.setU64(word, -5n);
    p.call('openat2', [C.AT_FDCWD, name, word, 24], { out: slots[3]!, retry: true, tolerate: 'all' });
    p.call('write', [slots[3]!, name, 5], { repeat: { count: 2, buffer: 1 }, retry: true });
    p.call('pwrite64', [7, name, 2 ** 43, 2 ** 40 + 1], { repeat: { count: 2, buffer: 1, offset: 3 }, retry: true });

    const recorder = new Recorder();
    const batch = new Batch(recorder);
    for (let i = 0; i < 3; i++) batch.newSlot();
    const slot = batch.newSlot();
    const nameAt = batch.string('name');
    const wordAt = batch.word64(-5);
    batch.call(callNumber('openat2'), slot, C.AT_FDCWD, addressOf(nameAt), addressOf(wordAt), 24);
    batch.tolerateAll();
    batch.call(callNumber('write'), NOWHERE, slotOf(slot), addressOf(nameAt), 5);
    batch.repeat(2, 1);
    batch.call(callNumber('pwrite64'), NOWHERE, 7, addressOf(nameAt), 2 ** 43, 2 ** 40 + 1);
    batch.repeat(2, 1, 3);
    expect(batch.run()).toBeUndefined();
    expect(recorder.programs[0]!.toString('hex')).toBe(p.build().encode().toString('hex'));
  });

  test('go on after a failure with the values that slots had', () => {
    const recorder = new Recorder();
    recorder.values.push(11n, 22n);
    recorder.outcomes.push(2 * 4096 + ENOENT);
    const batch = new Batch(recorder);
    const [a, b] = [batch.newSlot(), batch.newSlot()];
    batch.step('first');
    batch.call(1, a, 100);
    batch.call(2, b, slotOf(a));
    batch.step('second');
    batch.call(3, a, slotOf(a), slotOf(b));
    batch.call(4, NOWHERE, slotOf(a), slotOf(b));
    expect(batch.run()).toEqual({ index: 2, errno: 'ENOENT', step: 'second' });
    expect(batch.run(2)).toBeUndefined();
    // Two instructions of 72 bytes behind the header of 32; kinds at 16, arguments at 24.
    const program = recorder.programs[1]!;
    const kinds = (index: number): number[] => [...program.subarray(32 + index * 72 + 16, 32 + index * 72 + 18)];
    const argument = (index: number, k: number): number => readWord64(program, 32 + index * 72 + 24 + k * 8);
    expect(program.readUInt32LE(8)).toBe(2);
    expect([kinds(0), argument(0, 0), argument(0, 1)]).toEqual([[0, 0], 11, 22]);
    // The call that is made again sets its slot anew, and the one behind it must see that.
    expect([kinds(1), argument(1, 0), argument(1, 1)]).toEqual([[2, 0], 0, 22]);
  });

  test('keep what is marked as kept', () => {
    const recorder = new Recorder();
    const batch = new Batch(recorder);
    batch.string('kept');
    batch.newSlot();
    batch.keep();
    batch.string('gone');
    batch.newSlot();
    batch.call(1, NOWHERE);
    batch.clear();
    expect([batch.calls, batch.newSlot(), batch.space(1)]).toEqual([0, 1, 8]);
    expect(batch.image.toString('latin1', 0, 4)).toBe('kept');
    expect(batch.run()).toBeUndefined();
    expect(recorder.programs).toEqual([]);
  });

  test('have limits that can be asked for', () => {
    const batch = new Batch(new Recorder(), { imageSize: 128, maxCalls: 2 });
    expect([batch.hasRoom(2, 64), batch.hasRoom(3, 0), batch.hasRoom(1, 128), batch.hasRoom(1, 0, 257)]).toEqual([
      true,
      false,
      false,
      false,
    ]);
    batch.call(1, NOWHERE);
    batch.call(1, NOWHERE);
    expect(() => batch.call(1, NOWHERE)).toThrow(RangeError);
    expect(() => batch.space(129)).toThrow(RangeError);
    for (let i = 0; i < 256; i++) batch.newSlot();
    expect(() => batch.newSlot()).toThrow(RangeError);
    expect(() => callNumber('no_such_call')).toThrow(RangeError);
  });

  test('make real calls, with offsets that need 64 bits', () => {
    const path = join(tmpdir(), `silt-batch-${process.pid}`);
    const fd = openSync(path, 'w+');
    const batch = new Batch(loadNative());
    const [end, again] = [batch.newSlot(), batch.newSlot()];
    const data = batch.string('hello');
    write(batch, fd, data, 5);
    pwrite(batch, fd, data, 3, 2 ** 41);
    batch.call(callNumber('lseek'), end, fd, 0, C.SEEK_END);
    batch.call(callNumber('lseek'), again, fd, word64At(batch.word64(2 ** 41)), C.SEEK_SET);
    batch.call(callNumber('ftruncate'), NOWHERE, fd, 5);
    expect(batch.run()).toBeUndefined();
    expect([batch.slot(end), batch.slot(again)]).toEqual([2 ** 41 + 3, 2 ** 41]);
    expect(readFileSync(path, 'latin1')).toBe('hello');
    batch.clear();
    batch.step('closing what is not open');
    batch.call(callNumber('fchmod'), NOWHERE, 999_999, 0o600);
    expect(batch.run()).toEqual({ index: 0, errno: 'EBADF', step: 'closing what is not open' });
    closeSync(fd);
    unlinkSync(path);
  });
});
