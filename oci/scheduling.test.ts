import { cpuMask, ioPriorityNumber, schedulerAttributes } from './scheduling';

test('an I/O priority is its class above 13 bits of level', () => {
  expect(ioPriorityNumber({ class: 'IOPRIO_CLASS_BE', priority: 4 })).toBe((2 << 13) | 4);
  expect(ioPriorityNumber({ class: 'IOPRIO_CLASS_IDLE', priority: 0 })).toBe(3 << 13);
});

test('scheduling attributes are the kernel’s struct, sizes and times in their places', () => {
  const attr = Buffer.from(
    schedulerAttributes({
      policy: 'SCHED_DEADLINE',
      flags: ['SCHED_FLAG_RESET_ON_FORK'],
      runtime: 1,
      deadline: 2,
      period: 3n,
    }),
  );
  expect(attr.toString('hex')).toBe(
    '30000000' +
      '06000000' +
      '0100000000000000' +
      '00000000' +
      '00000000' +
      '0100000000000000' +
      '0200000000000000' +
      '0300000000000000',
  );
  const batch = Buffer.from(schedulerAttributes({ policy: 'SCHED_BATCH', nice: -5 }));
  expect([batch.readUInt32LE(4), batch.readInt32LE(16)]).toEqual([3, -5]);
});

test.each([
  ['0', '0100000000000000'],
  ['0-3,7', '8f00000000000000'],
  [' 1 , 64 ', '02000000000000000100000000000000'],
])('the CPUs %s are a mask', (list, hex) => {
  expect(Buffer.from(cpuMask(list)!).toString('hex')).toBe(hex);
});

test.each(['', 'a', '3-1', '0-', '-1', '8192', '0,,1'])('%j is no list of CPUs', (list) => {
  expect(cpuMask(list)).toBeUndefined();
});
