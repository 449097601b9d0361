/** Docker's daemon.json: where a runtime is entered, by text edits that leave the rest of the file as somebody wrote it. */
import { applyEdits, type FormattingOptions, type JSONPath, modify } from 'jsonc-parser';
import { isDeepStrictEqual } from 'node:util';
import { refused } from './edit';

export const DOCKER_CONFIG = '/etc/docker/daemon.json';

export interface DockerRuntime {
  readonly name: string;
  /** The command that dockerd calls; with `shim`, the shim (Docker 23 and later). */
  readonly program: string;
  readonly args: readonly string[];
  readonly shim: boolean;
  /** Replace an entry of this name that says something else. */
  readonly clobber: boolean;
  readonly experimental: boolean;
  readonly cgroupDriver?: string;
}

interface DaemonJson {
  readonly runtimes?: Readonly<Record<string, object>>;
  readonly 'default-runtime'?: string;
  readonly 'exec-opts'?: readonly string[];
}

/** @returns the new text, or undefined when nothing is to be done. @throws SiltError ENGINE_CONFIG_INVALID. */
export function addToDocker(text: string | undefined, path: string, runtime: DockerRuntime): string | undefined {
  const found = read(text ?? '', path);
  const changes: [JSONPath, unknown][] = [];
  const { name, program, args, shim } = runtime;
  const entry = shim ? { runtimeType: program } : { path: program, ...(args.length > 0 ? { runtimeArgs: args } : {}) };
  const present = found.runtimes?.[name];
  if (present === undefined || (runtime.clobber && !isDeepStrictEqual(present, entry)))
    changes.push([['runtimes', name], entry]);
  if (runtime.experimental) changes.push([['experimental'], true]);
  if (runtime.cgroupDriver !== undefined) {
    const driver = `native.cgroupdriver=${runtime.cgroupDriver}`;
    const others = (found['exec-opts'] ?? []).filter((option) => !option.startsWith('native.cgroupdriver='));
    changes.push([['exec-opts'], [...others, driver]]);
  }
  return change(text, path, changes);
}

/** @throws SiltError ENGINE_CONFIG_INVALID when containers start with this runtime by default. */
export function removeFromDocker(text: string | undefined, path: string, name: string): string | undefined {
  if (text === undefined) return undefined;
  const found = read(text, path);
  if (found.runtimes?.[name] === undefined) return undefined;
  if (found['default-runtime'] === name)
    throw refused(path, `${name} is the default-runtime there; choose another one first`);
  const last = Object.keys(found.runtimes).length === 1;
  return change(text, path, [[last ? ['runtimes'] : ['runtimes', name], undefined]]);
}

function read(text: string, path: string): DaemonJson {
  if (text.trim() === '') return {};
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch (error) {
    throw refused(path, `it is not JSON: ${(error as Error).message}`, error);
  }
  const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);
  const { runtimes } = (isObject(found) ? found : {}) as { runtimes?: unknown };
  if (!isObject(found)) throw refused(path, 'it is no JSON object');
  if (runtimes !== undefined && !isObject(runtimes)) throw refused(path, 'its "runtimes" is no JSON object');
  return found as DaemonJson;
}

function change(text: string | undefined, path: string, changes: readonly [JSONPath, unknown][]): string | undefined {
  const original = text === undefined || text.trim() === '' ? '{}\n' : text;
  const expected = JSON.parse(original) as Record<string, unknown>;
  let now = original;
  for (const [at, value] of changes) {
    // As the first member: the formatter goes over the whole line behind which something is put.
    const options = { formattingOptions: formattingOf(original), getInsertionIndex: () => 0 };
    now = applyEdits(now, modify(now, at, value, options));
    set(expected, at, value);
  }
  // An editor's mistake must not cost somebody their Docker.
  if (!isDeepStrictEqual(JSON.parse(now), expected)) throw refused(path, 'the change could not be made in its text');
  return now === text || changes.length === 0 ? undefined : now;
}

function set(object: Record<string, unknown>, [first, ...rest]: JSONPath, value: unknown): void {
  const key = first as string;
  if (rest.length > 0) set((object[key] ??= {}) as Record<string, unknown>, rest, value);
  else if (value === undefined) Reflect.deleteProperty(object, key);
  else object[key] = value;
}

function formattingOf(text: string): FormattingOptions {
  const indent = /^([ \t]+)\S/m.exec(text)?.[1] ?? '    ';
  return { insertSpaces: !indent.startsWith('\t'), tabSize: indent.length, eol: text.includes('\r\n') ? '\r\n' : '\n' };
}
