/** Which features of the CPU a container's programs are shown. */
import { SiltError } from '../../errors';
import { cpuFeatures, missingFeatures } from './features';
import { BASIC, EXTENDED, FEATURE_WORDS, GOES_WITH, type Register, REPEATED_BY_AMD, WITHOUT_CPUID } from './bits';

export const CPU_FEATURES_ANNOTATION = 'dev.gvisor.internal.cpufeatures';

/** What is left of the registers that CPUID gives for a leaf; each an AND mask of 32 bits. */
export type CpuidMask = { readonly leaf: number; readonly subleaf: number | undefined } & Readonly<
  Record<Register, number>
>;

export interface CpuView {
  /** The features shown, in the kernel's order. */
  readonly features: readonly string[];
  readonly masks: readonly CpuidMask[];
  /** AND masks of AT_HWCAP and AT_HWCAP2. */
  readonly hwcap: number;
  readonly hwcap2: number;
  /** /proc/cpuinfo as programs see it. */
  readonly cpuinfo: string;
}

/** Where the container finds its own /proc/cpuinfo. */
export const CPUINFO = '/proc/cpuinfo';

const ALL = 0xffffffff;
const KNOWN = new Set([...FEATURE_WORDS.flatMap(({ names }) => names), ...WITHOUT_CPUID]);

/**
 * The view that a container's annotation asks for; undefined without one. Features that this CPU lacks are not shown, as gVisor
 * has it.
 * @param cpuinfo the text of the host's /proc/cpuinfo
 * @throws SiltError SPEC_INVALID naming features that do not exist, HOST_UNSUPPORTED where CPUID cannot be made to fault.
 */
export function planCpuView(
  annotations: Readonly<Record<string, string>>,
  readCpuinfo: () => string,
  arch: string = process.arch,
): CpuView | undefined {
  const value = annotations[CPU_FEATURES_ANNOTATION];
  if (value === undefined) return undefined;
  const where = `$.annotations["${CPU_FEATURES_ANNOTATION}"]`;
  if (arch !== 'x64') {
    const message = `${where}: only on x86_64 can the kernel be told to intercept what programs ask the CPU; this machine is ${arch}`;
    throw new SiltError('HOST_UNSUPPORTED', message, { jsonPath: '$.annotations' });
  }
  const cpuinfo = readCpuinfo();
  const present = cpuFeatures(cpuinfo);
  const wanted = value
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const unknown = missingFeatures(wanted, [...KNOWN, ...present]).filter((name, i, all) => all.indexOf(name) === i);
  if (unknown.length > 0) {
    const message = `${where}: no such CPU feature: ${unknown.join(', ')}; silt cpu-features lists those of this machine`;
    throw new SiltError('SPEC_INVALID', message, { jsonPath: '$.annotations' });
  }
  if (!present.includes('cpuid_fault')) {
    const message = `${where}: this CPU (or the hypervisor) has no CPUID faulting: /proc/cpuinfo does not list cpuid_fault`;
    throw new SiltError('HOST_UNSUPPORTED', message, { jsonPath: '$.annotations' });
  }
  const shown = new Set(wanted);
  for (const [name, master] of Object.entries(GOES_WITH)) if (shown.has(master)) shown.add(name);
  return {
    features: present.filter((name) => shown.has(name)),
    masks: cpuidMasks(shown),
    hwcap: bitsOf(BASIC.names, shown),
    hwcap2: bitsOf(['ring3mwait', 'fsgsbase'], shown),
    cpuinfo: maskCpuinfo(cpuinfo, shown),
  };
}

/** The features that a container's programs may find. @param cpuinfo as above. @throws SiltError as {@link planCpuView}. */
export function shownFeatures(annotations: Readonly<Record<string, string>>, cpuinfo: string): readonly string[] {
  return planCpuView(annotations, () => cpuinfo)?.features ?? cpuFeatures(cpuinfo);
}

function bitsOf(names: readonly string[], shown: ReadonlySet<string>): number {
  return names.reduce((bits, name, i) => (shown.has(name) ? bits | (1 << i) : bits), 0) >>> 0;
}

function cpuidMasks(shown: ReadonlySet<string>): CpuidMask[] {
  const masks = new Map<string, Record<Register, number> & { leaf: number; subleaf: number | undefined }>();
  for (const { leaf, subleaf, register, names, kept = 0 } of FEATURE_WORDS) {
    const key = `${leaf} ${subleaf}`;
    const mask = masks.get(key) ?? { leaf, subleaf, eax: ALL, ebx: ALL, ecx: ALL, edx: ALL };
    mask[register] = (bitsOf(names, shown) | kept) >>> 0;
    masks.set(key, mask);
  }
  const extended = masks.get(`${EXTENDED.leaf} undefined`)!;
  extended.edx = (extended.edx | (bitsOf(BASIC.names, shown) & REPEATED_BY_AMD)) >>> 0;
  // Tiles of AMX, and AVX10: leaves that describe a feature and are empty without it.
  const none = { subleaf: undefined, eax: 0, ebx: 0, ecx: 0, edx: 0 };
  const described = [0x24, ...(shown.has('amx_tile') ? [] : [0x1d, 0x1e])];
  return [...masks.values(), ...described.map((leaf) => ({ leaf, ...none }))];
}

/** The lines of features, with those that are shown; VMX's own go with it. */
function maskCpuinfo(cpuinfo: string, shown: ReadonlySet<string>): string {
  return cpuinfo
    .replace(/^(flags\s*:).*$/gm, (line: string, head: string) =>
      [
        head,
        ...line
          .slice(head.length)
          .split(/\s+/)
          .filter((name) => shown.has(name)),
      ].join(' '),
    )
    .replace(/^vmx flags\s*:.*\n/gm, (line) => (shown.has('vmx') ? line : ''));
}
