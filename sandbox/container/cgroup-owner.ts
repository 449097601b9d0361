import type { Kernel } from '../../syscall';
import type { Cgroup, LimitsInForce, Unit, Write } from '../cgroup';
import {
  annotatedProperties,
  limitProperties,
  type Property,
  setUnitProperties,
  startPlaceholder,
  startUnit,
  stopUnit,
  systemdRuns,
} from '../systemd';

/** What holds a cgroup until the container's process is in it. */
export interface Holder {
  /** A process that is in it; undefined: none is needed. */
  readonly pid?: number;
  /** May be called again. */
  release(): Promise<void>;
}

/** Whose a container's cgroup is. Silt makes and writes its files itself; an owner beside it hears of all of that, before it is done. */
export interface CgroupOwner {
  /** What it will be told when the cgroup begins. Pure. @throws SiltError for what it cannot be told. */
  plan(writes: readonly Write[], annotations: Readonly<Record<string, string>>): readonly Property[];
  /** Makes the cgroup its own. @throws SiltError; nothing is left then. */
  begin(kernel: Kernel, id: string, properties: readonly Property[]): Promise<Holder>;
  /** Tells it of limits; `inForce` as for {@link limitProperties}. @throws SiltError. */
  tell(writes: readonly Write[], inForce?: LimitsInForce): Promise<void>;
  /** Whether the container may not run while it is told: its device table is not its own for a moment. */
  readonly disturbs: boolean;
  /** Makes it forget the cgroup. May be called again. @throws SiltError. */
  end(): Promise<void>;
}

export function ownerOf(cgroup: Cgroup): CgroupOwner {
  return cgroup.unit ? new SystemdOwner(cgroup, cgroup.unit) : SILT_ALONE;
}

const SILT_ALONE: CgroupOwner = {
  plan: () => [],
  begin: () => Promise.resolve({ release: () => Promise.resolve() }),
  tell: () => Promise.resolve(),
  disturbs: false,
  end: () => Promise.resolve(),
};

/** The cgroup is a unit of systemd's. @throws SiltError SYSTEMD_FAILED from everything that asks it. */
class SystemdOwner implements CgroupOwner {
  constructor(
    private readonly cgroup: Cgroup,
    private readonly unit: Unit,
  ) {}

  plan(writes: readonly Write[], annotations: Readonly<Record<string, string>>): readonly Property[] {
    return [...limitProperties(writes), ...annotatedProperties(annotations)];
  }

  async begin(kernel: Kernel, id: string, properties: readonly Property[]): Promise<Holder> {
    const placeholder = await startPlaceholder(kernel);
    try {
      await startUnit(this.unit, { id, pid: placeholder.pid, mode: this.cgroup.mode, properties });
      return placeholder;
    } catch (error) {
      await placeholder.release();
      throw error;
    }
  }

  async tell(writes: readonly Write[], inForce?: LimitsInForce): Promise<void> {
    await setUnitProperties(this.unit, limitProperties(writes, inForce));
  }

  /** On v1 systemd denies every device for a moment when it is told of anything. */
  get disturbs(): boolean {
    return this.cgroup.mode !== 'v2';
  }

  async end(): Promise<void> {
    if (systemdRuns()) await stopUnit(this.unit);
  }
}
