import { applyEdit, diffOf, type Edit, planEdit } from './edit';
import { chooseEngines, type Engines } from './engines';
import type { InstallFlags } from './flags';
import { print } from '../print';

/** What becomes of a configuration's text; undefined for no file, and for no change. */
type Change = (before: string | undefined, path: string) => string | undefined;

/** What an engine has to do before it sees the change. */
const RELOAD: Readonly<Record<keyof Engines, string>> = {
  docker: 'systemctl reload docker, or send SIGHUP to dockerd',
  containerd: 'restart containerd; containers run on meanwhile',
};

/**
 * Shows what changes, then changes it. All files are read and checked before the first one is written.
 * @throws SiltError ENGINE_CONFIG_INVALID, HOST_UNSUPPORTED.
 */
export function carryOut(flags: InstallFlags, changes: Readonly<Record<keyof Engines, Change>>): void {
  const dockerConfig = flags.dockerConfig ?? flags.config_file;
  const engines = chooseEngines({ ...flags, ...(dockerConfig === undefined ? {} : { dockerConfig }) });
  const edits: [keyof Engines, Edit][] = [];
  for (const engine of ['docker', 'containerd'] as const) {
    const path = engines[engine];
    if (path === undefined) continue;
    const edit = planEdit(path, (before) => changes[engine](before, path));
    if (edit) edits.push([engine, edit]);
    else print(`${path}: nothing to change\n`);
  }
  for (const [engine, edit] of edits) {
    print(diffOf(edit));
    if (flags.dryRun) continue;
    const backup = applyEdit(edit);
    const kept = backup === undefined ? '' : `, the old one is ${backup}`;
    print(`${edit.path}: written${kept}; now ${RELOAD[engine]}\n`);
  }
}
