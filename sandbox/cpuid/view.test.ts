import { refusal } from '../../errors/testing/refusal';
import { encodeTable } from './table';
import { CPU_FEATURES_ANNOTATION, planCpuView } from './view';

const cpuinfo = [
  'processor\t: 0',
  'flags\t\t: fpu sse sse2 ht constant_tsc xsave avx cpuid_fault fsgsbase avx2 avx512f vmx syscall',
  'vmx flags\t: vnmi ept',
  'bugs\t\t: mds',
  '',
].join('\n');

const view = (value: string, { text = cpuinfo, arch = 'x64' } = {}) =>
  planCpuView({ [CPU_FEATURES_ANNOTATION]: value }, () => text, arch);

const maskOf = (value: string, leaf: number, subleaf?: number) =>
  view(value)!.masks.find((mask) => mask.leaf === leaf && mask.subleaf === subleaf);

test('without the annotation there is no view, and /proc/cpuinfo is not read', () => {
  const read = (): string => {
    throw new Error('read');
  };
  expect(planCpuView({}, read, 'arm64')).toBeUndefined();
});

test('the features of the list that the CPU has, in its order; empty names count for nothing', () => {
  expect(view('avx,,fpu, sse ,sha_ni')!.features).toEqual(['fpu', 'sse', 'avx']);
});

test('features become bits of the registers that CPUID tells them in', () => {
  expect(maskOf('fpu,sse2,avx', 1)).toMatchObject({ eax: 0xffffffff, ebx: 0xffffffff, ecx: 1 << 28, edx: 0x04000001 });
  expect(maskOf('avx2,fsgsbase', 7, 0)).toMatchObject({ eax: 0xffffffff, ebx: 0x2061, ecx: 0, edx: 0x8800 });
  expect(maskOf('avx512vl', 7, 0)!.ebx).toBe(0x80002040);
  expect(maskOf('avx_vnni', 7, 1)).toEqual({ leaf: 7, subleaf: 1, eax: 16, ebx: 0, ecx: 0, edx: 0 });
});

test('a program that may use XSAVE finds that the kernel has turned it on', () => {
  expect(maskOf('xsave', 1)!.ecx).toBe(0x0c000000);
});

test('what AMD tells twice is shown twice', () => {
  expect(maskOf('fpu,sse2,syscall', 0x80000001)).toMatchObject({ edx: 0x801 });
});

test('the auxiliary vector', () => {
  expect(view('fpu,sse2,fsgsbase')).toMatchObject({ hwcap: 0x04000001, hwcap2: 2 });
});

test('the lines of /proc/cpuinfo', () => {
  expect(view('fpu,constant_tsc,syscall')!.cpuinfo).toBe(
    'processor\t: 0\nflags\t\t: fpu constant_tsc syscall\nbugs\t\t: mds\n',
  );
  expect(view('vmx')!.cpuinfo).toContain('flags\t\t: vmx\nvmx flags\t: vnmi ept\n');
});

test.each([
  ['unknown names', 'fpu,sse9,AVX,sse9', {}, 'SPEC_INVALID', 'no such CPU feature: sse9, AVX;'],
  ['a CPU without faulting', 'fpu', { text: 'flags\t: fpu sse\n' }, 'HOST_UNSUPPORTED', 'does not list cpuid_fault'],
  ['another machine', 'fp', { arch: 'arm64' }, 'HOST_UNSUPPORTED', 'this machine is arm64'],
] as const)('%s are refused', (_, value, host, code, message) => {
  expect(refusal(() => view(value, host))).toMatchObject({ code, message: expect.stringContaining(message) as string });
});

test('the table has a header, the masks and the threads, as native/cpuid.h has it', () => {
  const { masks, ...rest } = view('fpu,sse2')!;
  const [first] = masks;
  const table = encodeTable({ ...rest, masks: [first!] }, { tids: [17, 18], armNow: true, control: false });
  const words = Array.from({ length: table.length / 4 }, (_, i) => table.readUInt32LE(i * 4));
  expect(words).toEqual([
    ...[0x44495043, 64, 1, 1, 2, 0x04000001, 0, 0],
    ...[1, 0xffffffff, 0xffffffff, 0xffffffff, 0, 0x04000001],
    ...[17, 18],
  ]);
});
