import { parseNestedKeyed } from './parsing';
import { listEntries } from './virtual-file';

/** Reads a file of one controller; undefined when it is not there. */
export type Read = (name: string) => string | undefined;

export interface RdmaEntry {
  readonly device: string;
  readonly hcaHandles: number;
  readonly hcaObjects: number;
}

export interface RdmaStat {
  readonly current: readonly RdmaEntry[];
  readonly limit: readonly RdmaEntry[];
}

const U32_MAX = 0xffff_ffffn;

/** The fields have 32 bits in containerd's message; its `max` is their largest value. */
function to32Bits(value = 0n): number {
  return Number(value > U32_MAX ? U32_MAX : value);
}

function readRdmaEntries(text: string | undefined): RdmaEntry[] {
  return [...parseNestedKeyed(text ?? '')].map(([device, values]) => ({
    device,
    hcaHandles: to32Bits(values.get('hca_handle')),
    hcaObjects: to32Bits(values.get('hca_object')),
  }));
}

/** rdma.current and rdma.max, the same in both versions. undefined without the controller. */
export function readRdma(read: Read): RdmaStat | undefined {
  const current = read('rdma.current');
  return current === undefined
    ? undefined
    : { current: readRdmaEntries(current), limit: readRdmaEntries(read('rdma.max')) };
}

/** The page sizes for which a directory has files `hugetlb.SIZE.suffix`, in name order. */
export function listPageSizes(directory: string, suffix: string): string[] {
  const matches = listEntries(directory).map(({ name }) => /^hugetlb\.([^.]+)\.(.+)$/.exec(name));
  const sizes = matches.filter((match) => match?.[2] === suffix);
  return sizes.map((match) => match![1]!).sort();
}

/** An object without its undefined fields. */
export function defined<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
