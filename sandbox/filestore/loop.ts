import { closeSync } from 'node:fs';
import { SiltError } from '../../errors';
import { C, flags, type Kernel, open, openat, ProgramBuilder } from '../../syscall';

/** struct loop_config: fd, block size, struct loop_info64 from 8 on (its flags at 52), 64 reserved bytes. */
const LOOP_CONFIG_SIZE = 304;
const FLAGS_AT = 8 + 52;
const BLOCK_SIZE = 4096;
/** Between finding a free device and taking it, somebody else may take it. */
const ATTEMPTS = 32;

export interface LoopDevice {
  /** The caller's to close. The device is free again when this and what is mounted from it are gone, however that comes about. */
  readonly fd: number;
  readonly path: string;
}

/**
 * Attaches a file to a free loop device, without a second cache of it (direct I/O, where the file's filesystem has that).
 * @param file an fd open for reading and writing; borrowed
 * @throws SiltError HOST_UNSUPPORTED without loop devices.
 */
export function attachLoop(kernel: Kernel, file: number): LoopDevice {
  const p = new ProgramBuilder();
  p.step('opening /dev/loop-control');
  const opened = p.slot('control');
  open(p, '/dev/loop-control', 'O_RDWR', { out: opened, tolerate: 'all' });
  const control = kernel.run(p.build()).get(opened);
  if (control < 0)
    throw new SiltError(
      'HOST_UNSUPPORTED',
      'a filestore needs loop devices, and there is no /dev/loop-control here; load the module loop, or choose overlay2=root:memory',
    );
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const device = take(kernel, freeNumber(kernel, control), file);
      if (device) return device;
    }
  } finally {
    closeSync(control);
  }
  throw new SiltError('HOST_UNSUPPORTED', `every loop device that was free was taken by others, ${ATTEMPTS} times`);
}

function freeNumber(kernel: Kernel, control: number): number {
  const p = new ProgramBuilder();
  const number = p.slot('number');
  p.step('looking for a free loop device').call('ioctl', [control, flags('LOOP_CTL_GET_FREE'), 0], { out: number });
  return kernel.run(p.build()).get(number);
}

function take(kernel: Kernel, number: number, file: number): LoopDevice | undefined {
  const path = `/dev/loop${number}`;
  const p = new ProgramBuilder();
  p.step(`attaching a filestore to ${path}`);
  const device = openat(p, C.AT_FDCWD, path, 'O_RDWR');
  const config = p.space(LOOP_CONFIG_SIZE, '{file, AUTOCLEAR|DIRECT_IO}');
  p.setU32(config, file);
  p.setU32(config.plus(4), BLOCK_SIZE);
  p.setU32(config.plus(FLAGS_AT), C.LO_FLAGS_AUTOCLEAR | C.LO_FLAGS_DIRECT_IO);
  const taken = p.slot('taken');
  // Linux 5.8.
  p.call('ioctl', [device, flags('LOOP_CONFIGURE'), config], { out: taken, tolerate: ['EBUSY'] });
  const result = kernel.run(p.build());
  const fd = result.get(device);
  if (result.get(taken) === 0) return { fd, path };
  closeSync(fd);
  return undefined;
}
