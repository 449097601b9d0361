/** `root`, `mounts` and `hooks` of the spec (config.md). */
import { parseMountOptions } from '../mount-options';
import type { Hook, Hooks, Mount, Root } from '../spec';
import { idMappings } from './ids';
import { absolutePath, boolean, type Check, integer, list, nonEmpty, object, refuse, string } from './shape';

export const root: Check<Root> = object<Root>({ path: nonEmpty, readonly: boolean }, ['path']);

const mountShape = object<Mount>(
  {
    destination: nonEmpty,
    type: string,
    source: string,
    options: list(nonEmpty),
    uidMappings: idMappings,
    gidMappings: idMappings,
  },
  ['destination'],
);

function mount(value: unknown, path: string): Mount {
  const found = mountShape(value, path);
  const options = parseMountOptions(found.options ?? []);
  const bind = options.bind || found.type === 'bind';
  if (options.copyUp && found.type !== 'tmpfs')
    throw refuse(`${path}.options`, `"tmpcopyup" is an option of a tmpfs, and this is ${found.type ?? 'a bind mount'}`);
  if (options.remount) {
    if (options.copyUp || options.idmap !== 'none')
      throw refuse(`${path}.options`, '"remount" changes a mount that is there, which is neither filled nor idmapped');
  } else if (bind) {
    if (!found.source) throw refuse(`${path}.source`, `a bind mount needs a source to show at ${found.destination}`);
    const [data] = options.data;
    // The kernel would ignore them: a bind mount shows a filesystem that is configured already.
    if (data)
      throw refuse(
        `${path}.options`,
        `${JSON.stringify(data.key)} is an option of a filesystem, and a bind mount takes none`,
      );
  } else if (!found.type) {
    throw refuse(
      `${path}.type`,
      `is required for a mount that is no bind mount; did you mean the option "rbind" for ${found.destination}?`,
    );
  }
  checkIdMappings(found, bind, options.idmap !== 'none', path);
  return found;
}

function checkIdMappings(found: Mount, bind: boolean, asked: boolean, path: string): void {
  const uids = found.uidMappings ?? [];
  const gids = found.gidMappings ?? [];
  if (uids.length === 0 && gids.length === 0 && !asked) return;
  if (!bind) throw refuse(path, 'only a bind mount can have id mappings');
  if (uids.length > 0 !== gids.length > 0) {
    const missing = uids.length === 0 ? 'uidMappings' : 'gidMappings';
    throw refuse(`${path}.${missing}`, 'is required beside the other one: a mount maps both kinds of id or neither');
  }
}

export const mounts: Check<Mount[]> = list(mount);

const hook = object<Hook>(
  { path: absolutePath, args: list(string), env: list(string), timeout: integer(1, 0x7fffffff) },
  ['path'],
);

export const hooks: Check<Hooks> = object<Hooks>({
  prestart: list(hook),
  createRuntime: list(hook),
  createContainer: list(hook),
  startContainer: list(hook),
  poststart: list(hook),
  poststop: list(hook),
});
