import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { release } from 'node:os';
import { cgroups } from '../../sandbox';
import { findProgram } from '../install/engines';

/** What the checks look at: files of the kernel, programs, mounts. Tests give another one. */
export interface HostView {
  readonly kernelRelease: string;
  readonly architecture: string;
  readonly uid: number;
  /** Text of a file, without closing white space; undefined when there is none or it cannot be read. */
  readonly read: (path: string) => string | undefined;
  readonly exists: (path: string) => boolean;
  /** Standard output of a program by name, undefined when it is not there or fails. */
  readonly run: (name: string, ...args: string[]) => string | undefined;
  readonly findProgram: (name: string) => string | undefined;
  /** statfs(2)'s type of the filesystem at a path, or undefined without the path. */
  readonly filesystemType: (path: string) => number | undefined;
  readonly hierarchies: () => cgroups.Hierarchies;
}

export const thisHost: HostView = {
  kernelRelease: release(),
  architecture: process.arch,
  uid: process.getuid!(),
  read: (path) => {
    try {
      return readFileSync(path, 'utf8').trimEnd();
    } catch {
      return undefined;
    }
  },
  exists: existsSync,
  run: (name, ...args) => {
    const program = findProgram(name);
    if (program === undefined) return undefined;
    const { spawnSync } = process.getBuiltinModule('node:child_process');
    const { status, stdout } = spawnSync(program, args, { encoding: 'utf8', timeout: 10_000 });
    return status === 0 ? stdout : undefined;
  },
  findProgram,
  filesystemType: (path) => {
    try {
      return statfsSync(path).type;
    } catch {
      return undefined;
    }
  },
  hierarchies: () => cgroups.readHierarchies(),
};
