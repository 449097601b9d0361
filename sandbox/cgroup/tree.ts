/** For tests: trees of plain files that stand in for cgroupfs. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export interface Tree {
  readonly root: string;
  /** Text of a file, by its path beneath the root. */
  readonly read: (name: string) => string;
  readonly write: (name: string, text: string) => void;
  readonly remove: () => void;
}

/** Makes a directory in the temporary directory with these files. */
export function makeTree(files: Readonly<Record<string, string>>): Tree {
  const root = mkdtempSync(path.join(tmpdir(), 'silt-cgroup-'));
  const write = (name: string, text: string): void => {
    mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    writeFileSync(path.join(root, name), text);
  };
  for (const [name, text] of Object.entries(files)) write(name, text);
  return {
    root,
    read: (name) => readFileSync(path.join(root, name), 'utf8'),
    write,
    remove: () => {
      rmSync(root, { recursive: true });
    },
  };
}
