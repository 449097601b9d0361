/** userfaultfd(2): a process's faults and what it does with its memory, and the bringing of contents. */
import { readSync } from 'node:fs';
import type { NativeAddon } from '../../native';
import { errnoName, type Kernel, ProgramBuilder } from '../../syscall';

/** linux/userfaultfd.h: _IOR(0xaa, 2, …), _IOWR(0xaa, 3, …), _IOWR(0xaa, 4, …) and _IOWR(0xaa, 0x3f, …). */
const UFFDIO = { api: 0xc018aa3f, wake: 0x8010aa02, copy: 0xc028aa03, zeropage: 0xc020aa04 } as const;
/** `struct uffd_msg` and its `event`. */
const MESSAGE = 32;
const EVENT = { pagefault: 0x12, fork: 0x13, remap: 0x14, remove: 0x15, unmap: 0x16 } as const;

export type MemoryEvent =
  | { readonly kind: 'fault'; readonly address: number }
  /** `fd` is the child's userfaultfd, and the receiver's to close. */
  | { readonly kind: 'fork'; readonly fd: number }
  | { readonly kind: 'move'; readonly from: number; readonly to: number; readonly size: number }
  /** The range is empty from now on, or gone. */
  | { readonly kind: 'drop'; readonly start: number; readonly end: number };

/** Reads the next event of a non-blocking userfaultfd; undefined when there is none now. */
export function readEvent(fd: number): MemoryEvent | undefined {
  const bytes = Buffer.alloc(MESSAGE);
  try {
    if (readSync(fd, bytes) < MESSAGE) return undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return undefined;
    throw error;
  }
  const word = (at: number): number => Number(bytes.readBigUInt64LE(8 + at));
  switch (bytes[0]) {
    case EVENT.pagefault:
      return { kind: 'fault', address: word(8) };
    case EVENT.fork:
      return { kind: 'fork', fd: bytes.readUInt32LE(8) };
    case EVENT.remap:
      return { kind: 'move', from: word(0), to: word(8), size: word(16) };
    case EVENT.remove:
    case EVENT.unmap:
      return { kind: 'drop', start: word(0), end: word(8) };
    default:
      throw new Error(`the kernel tells of a change of memory that silt does not know: ${bytes[0]}`);
  }
}

/** UFFD_API, and the events of forks, moves, removals and unmappings, which are CRIU's choice for lazy pages. */
const API = { version: 0xaan, features: 0x4en } as const;

/** Asks for the features of a new userfaultfd. @throws SiltError SYSCALL_FAILED: those of forks take CAP_SYS_PTRACE of the host. */
export function enableEvents(kernel: Kernel, fd: number): void {
  const p = new ProgramBuilder();
  const argument = Buffer.alloc(24);
  argument.writeBigUInt64LE(API.version, 0);
  argument.writeBigUInt64LE(API.features, 8);
  p.step('asking for a userfaultfd’s events').call('ioctl', [
    fd,
    UFFDIO.api,
    p.bytes(argument, '{UFFD_API, events}', 8),
  ]);
  kernel.run(p.build());
}

/** What became of bytes that were to be brought. */
export interface Brought {
  /** How many are there now. */
  readonly bytes: number;
  /** Why the next one is not: EAGAIN (an event is to be read first), EEXIST (something is there), ENOENT (no such memory), ESRCH, ENOMEM, … */
  readonly errno: string | undefined;
}

/** The system calls that bring contents. They are built once, and told anew what to work on. */
export class Bringer {
  readonly #copy: Call;
  readonly #zero: Call;
  readonly #wake: Call;

  /** @param most how many bytes are brought at once */
  constructor(native: Pick<NativeAddon, 'run'>, most: number) {
    this.#copy = new Call(native, UFFDIO.copy, 40, most);
    this.#zero = new Call(native, UFFDIO.zeropage, 32, 0);
    this.#wake = new Call(native, UFFDIO.wake, 16, 0);
  }

  /** UFFDIO_COPY: also wakes whoever waits for it. */
  copy(fd: number, address: number, bytes: Buffer): Brought {
    bytes.copy(this.#copy.data);
    return this.#result(fd, this.#copy, address, bytes.length, { address: 0, size: 16, result: 32 });
  }

  /** UFFDIO_ZEROPAGE. */
  zero(fd: number, address: number, size: number): Brought {
    return this.#result(fd, this.#zero, address, size, { address: 0, size: 8, result: 24 });
  }

  /** UFFDIO_WAKE. */
  wake(fd: number, address: number, size: number): void {
    this.#wake.argument.writeBigUInt64LE(BigInt(address), 0);
    this.#wake.argument.writeBigUInt64LE(BigInt(size), 8);
    this.#wake.run(fd);
  }

  #result(
    fd: number,
    call: Call,
    address: number,
    size: number,
    at: { readonly address: number; readonly size: number; readonly result: number },
  ): Brought {
    const { argument } = call;
    argument.writeBigUInt64LE(BigInt(address), at.address);
    argument.writeBigUInt64LE(BigInt(size), at.size);
    argument.writeBigInt64LE(0n, at.result);
    const outcome = call.run(fd);
    // Set when anything was tried: what is there now, or a negative errno; the call itself says EAGAIN where that is not all.
    const done = Number(argument.readBigInt64LE(at.result));
    if (done > 0) return { bytes: done, errno: done < size ? 'EAGAIN' : undefined };
    return { bytes: 0, errno: errnoName(done < 0 ? -done : -outcome) };
  }
}

/** An ioctl(2) whose argument is a struct, and that may have the address of data at its offset 8. */
class Call {
  readonly data: Buffer;
  readonly argument: Buffer;
  readonly #fd: Buffer;
  readonly #program: Buffer;
  readonly #slots: BigInt64Array<ArrayBuffer>;
  readonly #result: number;

  constructor(
    private readonly native: Pick<NativeAddon, 'run'>,
    request: number,
    size: number,
    most: number,
  ) {
    const p = new ProgramBuilder();
    const data = p.space(most, 'data', 4096);
    const argument = p.space(size, 'argument');
    if (most > 0) p.pointer(argument.plus(8, 8), data);
    const fd = p.space(8, 'fd');
    const result = p.slot('result');
    p.step('bringing memory');
    p.call('ioctl', [p.word(fd, 32, 'userfaultfd'), request, argument], { out: result, tolerate: 'all' });
    const program = p.build();
    this.#program = program.encode();
    this.#slots = new BigInt64Array(program.slots.length);
    this.#result = result.index;
    const at = (place: { offset: number; size: number }): Buffer =>
      this.#program.subarray(program.imageOffset + place.offset, program.imageOffset + place.offset + place.size);
    this.data = at(data);
    this.argument = at(argument);
    this.#fd = at(fd);
  }

  run(fd: number): number {
    this.#fd.writeInt32LE(fd);
    this.native.run(this.#program, this.#slots);
    return Number(this.#slots[this.#result]);
  }
}
