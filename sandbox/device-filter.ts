import { close, type Kernel, open, ProgramBuilder } from '../syscall';
import { type Cgroup, findUnifiedDirectory } from './cgroup';

/** bpf(2) commands and types, linux/bpf.h. */
const BPF_PROG_LOAD = 5;
const BPF_PROG_ATTACH = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
const BPF_CGROUP_DEVICE = 6;
const BPF_F_ALLOW_MULTI = 2;
/** Enough of union bpf_attr for both commands; the kernel takes a shorter one for zeros. */
const ATTR_SIZE = 48;
const INSTRUCTION_SIZE = 8;

/**
 * Attaches a device program (compileDeviceProgram) to a container's cgroup v2 directory: what the devices controller is on v1.
 * The program lives as long as the cgroup.
 * @throws SiltError SYSCALL_FAILED naming the step; E2BIG for more rules than the verifier takes.
 */
export function attachDeviceFilter(kernel: Kernel, cgroup: Cgroup, program: Uint8Array): void {
  const directory = findUnifiedDirectory(cgroup);
  if (!directory) return;
  const p = new ProgramBuilder();
  p.step('loading the device filter');
  const load = p.space(ATTR_SIZE, '{BPF_PROG_TYPE_CGROUP_DEVICE}');
  p.setU32(load, BPF_PROG_TYPE_CGROUP_DEVICE);
  p.setU32(load.plus(4), program.length / INSTRUCTION_SIZE);
  p.pointer(load.plus(8, 8), p.bytes(program));
  p.pointer(load.plus(16, 8), p.string('Apache-2.0'));
  const filter = p.slot('filter');
  p.call('bpf', [BPF_PROG_LOAD, load, ATTR_SIZE], { out: filter });
  p.step(`attaching the device filter to ${directory.path}`);
  const target = open(p, directory.path, 'O_RDONLY|O_DIRECTORY');
  const attach = p.space(ATTR_SIZE, '{BPF_CGROUP_DEVICE}');
  p.slotAt(attach, target, 32);
  p.slotAt(attach.plus(4, 4), filter, 32);
  p.setU32(attach.plus(8), BPF_CGROUP_DEVICE);
  p.setU32(attach.plus(12), BPF_F_ALLOW_MULTI);
  p.call('bpf', [BPF_PROG_ATTACH, attach, ATTR_SIZE]);
  close(p, target);
  close(p, filter);
  kernel.run(p.build());
}
