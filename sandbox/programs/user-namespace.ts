import { type IdMaps, mapFileText } from '../../gofer';
import {
  C,
  close,
  fork,
  prctl,
  type Program,
  ProgramBuilder,
  read,
  type Slot,
  waitForChild,
  type Word,
  write,
} from '../../syscall';
import { report } from './reports';

/** A pipe on which a child waits until its parent has done what must come first: written its id maps, reported it. */
export interface Gate {
  readonly read: Word;
  readonly write: Word;
}

export function makeGate(p: ProgramBuilder): Gate {
  const pipe = p.space(8, 'gate');
  p.call('pipe2', [pipe, C.O_CLOEXEC]);
  return { read: p.word(pipe, 32, 'gate_read'), write: p.word(pipe.plus(4), 32, 'gate_write') };
}

/** In the child: waits for {@link openGate}; ends the process when the parent died instead. */
export function passGate(p: ProgramBuilder, gate: Gate, step = 'waiting for the id maps'): void {
  p.step(step);
  close(p, gate.write);
  const passed = read(p, gate.read, 1);
  const open = p.label();
  p.jumpIfNotZero(passed.count, open);
  p.call('exit_group', [1]);
  p.place(open);
}

/** In the parent. */
export function openGate(p: ProgramBuilder, gate: Gate): void {
  write(p, gate.write, 'x');
}

/** Writes /proc/PID/uid_map and gid_map of a child (user_namespaces(7)): each in one write, which the kernel takes whole or not at all. */
export function writeIdMaps(p: ProgramBuilder, pid: Slot, maps: IdMaps): void {
  for (const [file, ranges] of [
    ['uid_map', maps.uids],
    ['gid_map', maps.gids],
  ] as const) {
    p.step(`writing the ${file} of the new user namespace`);
    const fd = p.slot(file);
    p.call('openat', [C.AT_FDCWD, p.pathWithNumber('/proc/', pid, `/${file}`), C.O_WRONLY | C.O_CLOEXEC, 0], {
      out: fd,
    });
    const text = mapFileText(ranges);
    p.call('write', [fd, p.bytes(Buffer.from(text), JSON.stringify(text), 1), text.length]);
    close(p, fd);
  }
}

/** The program that makes a user namespace for its mappings alone, and reports its fd: `userns`. No process stays in it. */
export function userNamespaceProgram(maps: IdMaps): Program {
  const p = new ProgramBuilder();
  p.step('making a user namespace for the mappings of a mount');
  prctl(p, 'PR_SET_DUMPABLE', 0);
  p.call('setpgid', [0, 0]);
  const gate = makeGate(p);
  const { pid } = fork(p, 'owner', { flags: 'CLONE_NEWUSER' }, () => passGate(p, gate));
  writeIdMaps(p, pid, maps);
  p.step('opening the user namespace');
  const userns = p.slot('userns');
  p.call('openat', [C.AT_FDCWD, p.pathWithNumber('/proc/', pid, '/ns/user'), C.O_RDONLY | C.O_CLOEXEC, 0], {
    out: userns,
  });
  report(p, 'userns', [userns]);
  openGate(p, gate);
  waitForChild(p, pid);
  return p.build();
}
