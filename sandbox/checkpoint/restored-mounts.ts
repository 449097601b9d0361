/** Mounts of a restored container that are made and filled before its root is built. */
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { type FilesystemStep, makeFilesystem, openTerminal, type RootPlan } from '../../gofer';
import { C, ProgramBuilder } from '../../syscall';
import type { Pod } from '../pod/pod';
import { openSeed, seedUpper } from '../seed/seed';
import type { AllowedDevice } from '../seed/unpacker-requests';
import type { Workshop } from '../workshop';
import { type InheritedFile, openDeleted } from './deleted';
import { terminalsOf } from '../checkpoint-image/manifest';
import type { RestoreRequest } from './restore-request';

export interface Prepared {
  readonly root: RootPlan;
  /** Fds by the names that the plan gives them. */
  readonly fds: Readonly<Record<string, number>>;
  /** The terminal's slave, opened for each of the manifest's; CRIU is given them. */
  readonly slaves: readonly number[];
  /** The terminal's master, until somebody takes it. */
  readonly master: number | undefined;
  /** Files without a name, opened. */
  readonly deleted: readonly InheritedFile[];
}

/** Makes the tmpfs mounts that the checkpoint has contents of, and the devpts of a terminal. */
export async function prepareMounts(workshop: Workshop, pod: Pod, request: RestoreRequest): Promise<Prepared> {
  const { kernel } = workshop;
  const { root } = request.plan;
  const { image } = request;
  const fds: Record<string, number> = {};
  const make = (step: FilesystemStep): FilesystemStep => {
    const p = new ProgramBuilder();
    p.step(`making the ${step.type} of ${step.destination}`);
    const slot = makeFilesystem(p, step);
    const given = `mount ${step.destination}`;
    fds[given] = kernel.run(p.build()).get(slot);
    return { ...step, given };
  };
  // Where the image has a link that leads nowhere, the plan names the place that it leads to.
  const saved = new Map(
    image.manifest.filesystems.flatMap(({ destination, place = destination, file }) => [
      [place, file],
      [destination, file],
    ]),
  );
  const devices = [...request.devices, ...devicesOf(root)];
  const slaves: number[] = [];
  let master: number | undefined;
  try {
    const mounts = [];
    for (const step of root.mounts) {
      if (step.kind !== 'filesystem') {
        mounts.push(step);
        continue;
      }
      const isPts = step.type === 'devpts' && step.destination === '/dev/pts' && root.terminal !== undefined;
      const file = step.type === 'tmpfs' ? saved.get(step.destination) : undefined;
      if (!isPts && file === undefined) {
        mounts.push(step);
        continue;
      }
      const made = make(step);
      mounts.push(made);
      const fd = fds[made.given!]!;
      if (file !== undefined) {
        const { idMaps } = pod;
        const { cgroup } = request.plan;
        const archive = openSeed(join(image.directory, file));
        try {
          await seedUpper(workshop, { archive, upper: fd, directory: '.', idMaps, cgroup, devices, isSaved: true });
        } finally {
          closeSync(archive);
        }
      } else {
        const p = new ProgramBuilder();
        p.step('opening a terminal in the container’s devpts');
        const terminal = openTerminal(p, fd, root.terminal!);
        const opened = kernel.run(p.build());
        master = opened.get(terminal.master);
        const place = opened.get(terminal.slave);
        try {
          for (const { flags } of terminalsOf(image.manifest))
            slaves.push(openSync(`/proc/self/fd/${place}`, C.O_RDWR | C.O_NOCTTY | (flags & C.O_NONBLOCK)));
        } finally {
          closeSync(place);
        }
      }
    }
    const deleted = await openDeleted(workshop, pod, request);
    const terminal = master === undefined ? {} : { terminalGiven: true };
    return { root: { ...root, mounts, ...terminal }, fds, slaves, master, deleted };
  } catch (error) {
    for (const fd of [...Object.values(fds), ...slaves, master]) if (fd !== undefined) closeSync(fd);
    throw error;
  }
}

/** The nodes that silt makes in /dev: what is in a tmpfs there has been saved with them. */
function devicesOf({ devices }: RootPlan): AllowedDevice[] {
  return devices.flatMap(({ type, major, minor }) =>
    type === 'S_IFIFO' ? [] : [{ type: type === 'S_IFBLK' ? ('block' as const) : ('char' as const), major, minor }],
  );
}
