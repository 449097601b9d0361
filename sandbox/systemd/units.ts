import { existsSync } from 'node:fs';
import { SiltError } from '../../errors';
import type { Mode, Unit } from '../cgroup';
import { CallFailed, Connection } from './connection';
import { type Property, property } from './property';

export interface UnitStart {
  /** The container's. */
  readonly id: string;
  /** A process that lives until the container's own are in the cgroup: a scope without one ends. */
  readonly pid: number;
  readonly mode: Mode;
  readonly properties: readonly Property[];
}

/** Whether systemd is this host's process 1 (sd_booted(3)). */
export function systemdRuns(): boolean {
  return existsSync('/run/systemd/system');
}

/**
 * Has systemd make the unit of a container: a scope below its slice with a first process in it, delegated, so that silt and the container
 * make what they want in it (systemd's CGROUP_DELEGATION.md). A name that ends in `.slice` makes a slice, which takes no process. On v1 it
 * makes it in the hierarchies that it knows; the others are its caller's.
 * @throws SiltError SYSTEMD_FAILED; CONTAINER_EXISTS when there is such a unit.
 */
export async function startUnit(unit: Unit, { id, pid, mode, properties }: UnitStart): Promise<void> {
  const place = unit.name.endsWith('.slice')
    ? [property('Wants', 'as', [unit.slice])]
    : [property('Slice', 's', unit.slice), property('PIDs', 'au', [pid]), property('Delegate', 'b', true)];
  const all = [
    property('Description', 's', `silt container ${id}`),
    ...place,
    ...[
      'MemoryAccounting',
      'CPUAccounting',
      'TasksAccounting',
      mode === 'v2' ? 'IOAccounting' : 'BlockIOAccounting',
    ].map((name) => property(name, 'b', true)),
    property('DefaultDependencies', 'b', false),
    ...properties,
  ];
  await connected(unit, async (connection) => {
    const start = (): Promise<void> =>
      connection.runJob(`starting ${unit.name}`, 'StartTransientUnit', 'ssa(sv)a(sa(sv))', [
        unit.name,
        'replace',
        all,
        [],
      ]);
    try {
      await start();
    } catch (error) {
      if (!isAnswer(error, 'UnitExists')) throw error;
      // One that has failed is kept until somebody takes note.
      await ignoring('NoSuchUnit', connection.ask('ResetFailedUnit', 's', [unit.name]));
      await start();
    }
  });
}

/** Changes what systemd knows of a unit, until the next boot. @throws SiltError SYSTEMD_FAILED. */
export async function setUnitProperties(unit: Unit, properties: readonly Property[]): Promise<void> {
  if (properties.length === 0) return;
  await connected(unit, async (connection) => {
    await connection.ask('SetUnitProperties', 'sba(sv)', [unit.name, true, properties]);
  });
}

/** Ends a unit and lets systemd forget it; one that has gone by itself is fine. @throws SiltError SYSTEMD_FAILED. */
export async function stopUnit(unit: Unit): Promise<void> {
  await connected(unit, async (connection) => {
    await ignoring('NoSuchUnit', connection.runJob(`stopping ${unit.name}`, 'StopUnit', 'ss', [unit.name, 'replace']));
    await ignoring('NoSuchUnit', connection.ask('ResetFailedUnit', 's', [unit.name]));
  });
}

async function connected(unit: Unit, body: (connection: Connection) => Promise<void>): Promise<void> {
  const connection = await Connection.open();
  try {
    await body(connection);
  } catch (error) {
    if (!(error instanceof CallFailed)) throw error;
    const code = isAnswer(error, 'UnitExists') ? 'CONTAINER_EXISTS' : 'SYSTEMD_FAILED';
    throw new SiltError(code, `systemd refuses the unit ${unit.name}: ${error.message}`, {}, { cause: error });
  } finally {
    connection.close();
  }
}

function isAnswer(error: unknown, name: string): boolean {
  return error instanceof CallFailed && error.errorName === `org.freedesktop.systemd1.${name}`;
}

async function ignoring(name: string, promise: Promise<unknown>): Promise<void> {
  try {
    await promise;
  } catch (error) {
    if (!isAnswer(error, name)) throw error;
  }
}
