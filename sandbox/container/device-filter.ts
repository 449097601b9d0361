import { type Addr, close, type Kernel, open, ProgramBuilder, type Slot } from '../../syscall';
import { SiltError } from '../../errors';
import { type Cgroup, findUnifiedDirectory } from '../cgroup';

/** bpf(2) commands, types and flags, linux/bpf.h. */
const BPF = {
  PROG_LOAD: 5,
  PROG_ATTACH: 8,
  PROG_GET_FD_BY_ID: 13,
  OBJ_GET_INFO_BY_FD: 15,
  PROG_QUERY: 16,
} as const;
const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
const BPF_CGROUP_DEVICE = 6;
const BPF_F_ALLOW_MULTI = 2;
/** Kernel 5.6. */
const BPF_F_REPLACE = 4;
/** Enough of union bpf_attr for these commands; the kernel takes a shorter one for zeros. */
const ATTR_SIZE = 64;
const INSTRUCTION_SIZE = 8;
/** The kernel's BPF_CGROUP_MAX_PROGS. */
const MAX_PROGRAMS = 64;
/** struct bpf_prog_info up to the program's name, and that. */
const INFO_SIZE = 80;
const INFO_NAME = 64;
const NAME_SIZE = 16;

/** The verifier gives up with EAGAIN when a signal comes while it works (kernel/bpf/verifier.c, do_check); so often libbpf tries, too. */
const LOADS = 5;

/** By which silt knows its program among those of others (systemd's is `sd_devices`). */
const NAME = 'silt_devices';

/**
 * Attaches a device program (compileDeviceProgram) to a container's cgroup v2 directory: what the devices controller is on v1.
 * The program lives as long as the cgroup.
 * @throws SiltError SYSCALL_FAILED naming the step; E2BIG for more rules than the verifier takes.
 */
export function attachDeviceFilter(kernel: Kernel, cgroup: Cgroup, program: Uint8Array): void {
  attach(kernel, cgroup, program, undefined);
}

/** Has the program take the place of the one that silt attached before, in one step; where there is none, it is attached. @throws as above. */
export function replaceDeviceFilter(kernel: Kernel, cgroup: Cgroup, program: Uint8Array): void {
  const directory = findUnifiedDirectory(cgroup);
  if (!directory) return;
  const present = attachedPrograms(kernel, directory.path).filter((id) => isOurs(nameOf(kernel, id)));
  attach(kernel, cgroup, program, present[0]);
}

/** A silt before this one gave its program no name. */
function isOurs(name: string): boolean {
  return name === NAME || name === '';
}

function attach(kernel: Kernel, cgroup: Cgroup, program: Uint8Array, replaced: number | undefined): void {
  const directory = findUnifiedDirectory(cgroup);
  if (!directory) return;
  for (let attempt = 1; ; attempt++) {
    try {
      attachTo(kernel, directory.path, program, replaced);
      return;
    } catch (error) {
      if (attempt === LOADS || !(error instanceof SiltError) || error.details.errno !== 'EAGAIN') throw error;
    }
  }
}

function attachTo(kernel: Kernel, directory: string, program: Uint8Array, replaced: number | undefined): void {
  const p = new ProgramBuilder();
  p.step('loading the device filter');
  const load = p.space(ATTR_SIZE, '{BPF_PROG_TYPE_CGROUP_DEVICE}');
  p.setU32(load, BPF_PROG_TYPE_CGROUP_DEVICE);
  p.setU32(load.plus(4), program.length / INSTRUCTION_SIZE);
  p.pointer(load.plus(8, 8), p.bytes(program));
  p.pointer(load.plus(16, 8), p.string('Apache-2.0'));
  setText(p, load.plus(48, NAME_SIZE), NAME);
  const filter = p.slot('filter');
  p.call('bpf', [BPF.PROG_LOAD, load, ATTR_SIZE], { out: filter });
  const present = replaced === undefined ? undefined : openProgram(p, replaced);
  p.step(`attaching the device filter to ${directory}`);
  const target = open(p, directory, 'O_RDONLY|O_DIRECTORY');
  const attr = p.space(ATTR_SIZE, '{BPF_CGROUP_DEVICE}');
  p.slotAt(attr, target, 32);
  p.slotAt(attr.plus(4, 4), filter, 32);
  p.setU32(attr.plus(8), BPF_CGROUP_DEVICE);
  p.setU32(attr.plus(12), present ? BPF_F_ALLOW_MULTI | BPF_F_REPLACE : BPF_F_ALLOW_MULTI);
  if (present) p.slotAt(attr.plus(16, 4), present, 32);
  p.call('bpf', [BPF.PROG_ATTACH, attr, ATTR_SIZE]);
  for (const fd of [target, filter, ...(present ? [present] : [])]) close(p, fd);
  kernel.run(p.build());
}

/** The ids of the device programs that are attached to this very cgroup. */
function attachedPrograms(kernel: Kernel, directory: string): number[] {
  const p = new ProgramBuilder();
  p.step(`asking for the device filters of ${directory}`);
  const target = open(p, directory, 'O_RDONLY|O_DIRECTORY');
  const ids = p.space(MAX_PROGRAMS * 4);
  const attr = p.space(ATTR_SIZE, '{BPF_CGROUP_DEVICE}');
  p.slotAt(attr, target, 32);
  p.setU32(attr.plus(4), BPF_CGROUP_DEVICE);
  p.pointer(attr.plus(16, 8), ids);
  p.setU32(attr.plus(24), MAX_PROGRAMS);
  p.call('bpf', [BPF.PROG_QUERY, attr, ATTR_SIZE]);
  close(p, target);
  const result = kernel.run(p.build());
  const found = result.at(ids);
  return Array.from({ length: result.at(attr).readUInt32LE(24) }, (_, i) => found.readUInt32LE(i * 4));
}

function nameOf(kernel: Kernel, id: number): string {
  const p = new ProgramBuilder();
  p.step(`looking at BPF program ${id}`);
  const fd = openProgram(p, id);
  const info = p.space(INFO_SIZE);
  const attr = p.space(ATTR_SIZE, '{bpf_prog_info}');
  p.slotAt(attr, fd, 32);
  p.setU32(attr.plus(4), INFO_SIZE);
  p.pointer(attr.plus(8, 8), info);
  p.call('bpf', [BPF.OBJ_GET_INFO_BY_FD, attr, ATTR_SIZE]);
  close(p, fd);
  const [name = ''] = kernel.run(p.build()).at(info).toString('latin1', INFO_NAME, INFO_SIZE).split('\0');
  return name;
}

function openProgram(p: ProgramBuilder, id: number): Slot {
  const fd = p.slot(`program ${id}`);
  const attr = p.space(ATTR_SIZE, `{program ${id}}`);
  p.setU32(attr, id);
  p.call('bpf', [BPF.PROG_GET_FD_BY_ID, attr, ATTR_SIZE], { out: fd });
  return fd;
}

/** Little endian, as {@link ProgramBuilder.setU32} writes. */
function setText(p: ProgramBuilder, at: Addr, text: string): void {
  const bytes = Buffer.alloc(at.size);
  bytes.write(text, 'latin1');
  for (let i = 0; i < at.size; i += 4) p.setU32(at.plus(i, 4), bytes.readUInt32LE(i));
}
