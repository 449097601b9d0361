import { closeSync, constants, existsSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import { C, type Kernel, open, type Program, ProgramBuilder, read, tryLock, write } from '../../syscall';
import { type Cgroup, freeze, FREEZE_TIMEOUT_MS, isFrozen, type KeepFrozen, readFreezerState, thaw } from '../cgroup';

/**
 * Who wants a container frozen: the user, who paused it, and any number of leases, each held by a process that reads the
 * container's files. It is frozen while anyone does.
 *
 * The truth is in the container's state directory, so that the shim and any command line agree without a conversation:
 * the file `paused` exists while the user wants it, and each lease holds a shared flock(2) on the file `leases`. Every
 * change is made under an exclusive flock on `freeze.lock`.
 *
 * A lease is held by a process of its own, a syscall program that waits for the end of a pipe: when the one who asked for
 * the lease dies, however it dies, the pipe ends and the container thaws.
 */
export class FreezeRecord {
  readonly #paused: string;
  readonly #leases: string;
  readonly #lock: string;

  /** @param directory of the container's state; never made here, so that none comes back that is being removed */
  constructor(
    private readonly kernel: Kernel,
    private readonly cgroup: Cgroup,
    directory: string,
  ) {
    this.#paused = join(directory, 'paused');
    this.#leases = join(directory, 'leases');
    this.#lock = join(directory, 'freeze.lock');
  }

  get paused(): boolean {
    return existsSync(this.#paused);
  }

  /** Paused, leased, or left so by somebody who was killed: a process that stands still, and cannot die on cgroup v1. */
  get frozen(): boolean {
    return this.paused || isFrozen(this.cgroup);
  }

  /** @throws SiltError when the cgroup does not freeze in time; then it is thawed and not paused. */
  async pause(): Promise<void> {
    await this.#locked(async () => {
      await freeze(this.cgroup);
      writeFileSync(this.#paused, '');
    });
  }

  /** The user no longer wants it frozen; it thaws unless a lease is held. */
  async resume(): Promise<void> {
    await this.#locked(() => {
      rmSync(this.#paused, { force: true });
      if (!this.#isLeased()) thaw(this.cgroup);
      return Promise.resolve();
    });
  }

  /**
   * Freezes the container until the returned function is called, or this process ends. A container that the user paused
   * stays paused. Where somebody who has a lease has thawed it, as CRIU does in the middle of a checkpoint, its processes stand still by other
   * means, and it is left so: CRIU's code in them would stand still, too, and CRIU wait for ever. It freezes them again at its end.
   * @param control a pipe whose end ends the lease, kept: another process that has its second fd prolongs the lease
   * @param always freeze it whoever has thawed it: for who has thawed it itself
   * @throws SiltError TIMEOUT when it does not freeze within `timeoutMs`; there is no lease then.
   */
  async lease(
    [controlRead, controlWrite] = this.kernel.pipe(),
    { timeoutMs = FREEZE_TIMEOUT_MS, always = false }: { readonly timeoutMs?: number; readonly always?: boolean } = {},
  ): Promise<() => Promise<void>> {
    let lease: Lease | undefined;
    try {
      await this.#locked(async () => {
        const thawed = !isFrozen(this.cgroup) && readFreezerState(this.cgroup) !== 'freezing';
        const letRun = !always && thawed && this.#isLeased();
        lease = this.#startLease([controlRead, controlWrite]);
        await lease.held();
        if (!letRun) await freeze(this.cgroup, { timeoutMs });
      });
      return lease!.release;
    } catch (error) {
      if (lease === undefined) for (const fd of [controlRead, controlWrite]) closeSync(fd);
      await lease?.release();
      throw error;
    }
  }

  /**
   * For who signals all of it: frozen by a lease of its own if nobody else wants it frozen, and with whom it is frozen for if it is.
   * Never frozen again when one who has a lease has let it run, as CRIU does in the middle of a checkpoint: nobody would thaw it.
   */
  readonly keepFrozen: KeepFrozen = async (timeoutMs) => {
    let lease: Lease | undefined;
    try {
      await this.#locked(async () => {
        const others = this.#isLeased();
        const frozen = isFrozen(this.cgroup);
        const mayFreeze = !others && !frozen && !this.paused && readFreezerState(this.cgroup) !== 'freezing';
        if (!mayFreeze && !(others && frozen)) return;
        lease = this.#startLease(this.kernel.pipe());
        await lease.held();
        if (mayFreeze) await freeze(this.cgroup, { timeoutMs });
      }, timeoutMs);
    } catch (error) {
      await lease?.release();
      throw error;
    }
    return lease?.release;
  };

  /** Starts the process that holds a lease; `control` is kept. */
  #startLease([controlRead, controlWrite]: readonly [number, number]): Lease {
    const started = this.kernel.start(this.#leaseProgram(), { control: controlRead });
    closeSync(controlRead);
    return {
      held: async () => {
        if (await started.reports.next()) return;
        throw new SiltError('INTERNAL', 'cannot freeze: the process that was to hold the lease was killed');
      },
      release: async () => {
        closeSync(controlWrite);
        await this.kernel.ended(started);
      },
    };
  }

  /** Holds the lease; at the end of the pipe thaws, unless another lease is held or the user has paused. */
  #leaseProgram(): Program {
    const p = new ProgramBuilder();
    p.step('taking a lease on the container’s freezer');
    p.call('setpgid', [0, 0]);
    const leases = open(p, this.#leases, 'O_RDWR|O_CREAT', { mode: 0o600 });
    p.call('flock', [leases, C.LOCK_SH], { retry: true });
    p.call('sendto', [p.report, p.bytes(Buffer.from('held')), 4, C.MSG_NOSIGNAL, 0, 0]);
    read(p, p.donated('control'), 1);
    p.step('ending a lease on the container’s freezer');
    // The container may have been deleted meanwhile, and its directory with it.
    const lock = open(p, this.#lock, 'O_RDWR', { tolerate: ['ENOENT'] });
    p.call('flock', [lock, C.LOCK_EX], { retry: true, tolerate: ['EBADF'] });
    const end = p.label();
    const others = p.slot('others');
    p.call('flock', [leases, C.LOCK_EX | C.LOCK_NB], { out: others, tolerate: ['EAGAIN'] });
    p.jumpIfNotZero(others, end);
    const paused = p.slot('paused');
    p.call('faccessat', [C.AT_FDCWD, p.string(this.#paused), 0], { out: paused, tolerate: ['ENOENT'] });
    p.jumpIfZero(paused, end);
    const { file, value } = thawWrite(this.cgroup);
    const freezer = open(p, file, 'O_WRONLY', { tolerate: ['ENOENT'] });
    write(p, freezer, value, { tolerate: 'all' });
    p.place(end);
    return p.build();
  }

  /**
   * Runs `body` under the lock. Waiting is done in the event loop, never in flock(2): the holder may be this very process,
   * in the middle of a freeze that takes its time.
   * @throws SiltError TIMEOUT when it is not to be had within `patienceMs`.
   */
  async #locked<T>(body: () => Promise<T>, patienceMs = Infinity): Promise<T> {
    const fd = openSync(this.#lock, 'a');
    const deadline = performance.now() + patienceMs;
    try {
      while (!tryLock(this.kernel, fd)) {
        if (performance.now() > deadline) throw new SiltError('TIMEOUT', `${this.#lock} is held by another process`);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      return await body();
    } finally {
      closeSync(fd);
    }
  }

  /** Whether anybody has a lease. Under the lock. */
  #isLeased(): boolean {
    const leases = openSync(this.#leases, constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      return !tryLock(this.kernel, leases);
    } finally {
      closeSync(leases);
    }
  }
}

/** A process that holds a lease. */
interface Lease {
  /** Settles when it does. @throws SiltError INTERNAL. */
  readonly held: () => Promise<void>;
  readonly release: () => Promise<void>;
}

/** What thaws a cgroup, as one write. */
function thawWrite(cgroup: Cgroup): { file: string; value: string } {
  const freezer = cgroup.directories.find(({ controllers }) => controllers.includes('freezer'));
  if (freezer?.version === 1) return { file: `${freezer.path}/freezer.state`, value: 'THAWED' };
  return { file: `${cgroup.directories[0]!.path}/cgroup.freeze`, value: '0' };
}
