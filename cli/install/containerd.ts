/** containerd's config.toml: where CRI's runtimes are, by edits of lines that leave comments and order as somebody wrote them. */
import { parse } from 'smol-toml';
import { isDeepStrictEqual } from 'node:util';
import { refused } from './edit';

export const CONTAINERD_CONFIG = '/etc/containerd/config.toml';

/** The plugin that has the runtimes, by the version of the file (containerd's docs/cri/config.md). */
const PLUGINS: Readonly<Record<number, string>> = {
  2: 'io.containerd.grpc.v1.cri',
  3: 'io.containerd.cri.v1.runtime',
  4: 'io.containerd.cri.v1.runtime',
};

/** Pod annotations that reach silt: without it, seeds and the like are dropped on the way, in silence. */
export const POD_ANNOTATIONS = 'dev.gvisor.*';

type Table = Record<string, unknown>;

/** What a configuration says of a runtime. */
export interface ContainerdRuntime {
  readonly version: number;
  /** Where the runtime's table is. */
  readonly path: readonly string[];
  readonly runtime: Readonly<{ runtime_type?: unknown; pod_annotations?: unknown }> | undefined;
  readonly isDefault: boolean;
  readonly criDisabled: boolean;
}

/** @throws SiltError ENGINE_CONFIG_INVALID for what is no TOML, and for versions that have no such table. */
export function readContainerdRuntime(text: string, path: string, name: string): ContainerdRuntime {
  const table = parseToml(text, path);
  const version = Object.keys(table).length === 0 ? 2 : Number(table['version'] ?? 1);
  const plugin = PLUGINS[version];
  if (plugin === undefined) {
    const todo = version < 2 ? 'bring it to version 2 or later with `containerd config migrate`' : 'use a newer silt';
    throw refused(path, `it is of version ${version}, which silt does not edit; ${todo}`);
  }
  const at = ['plugins', plugin, 'containerd', 'runtimes', name];
  const containerd = find(table, at.slice(0, 3));
  const disabled = table['disabled_plugins'];
  return {
    version,
    path: at,
    runtime: find(table, at),
    isDefault: containerd?.['default_runtime_name'] === name,
    criDisabled: Array.isArray(disabled) && disabled.some((one) => String(one).includes('cri')),
  };
}

export interface NewRuntime {
  readonly name: string;
  readonly runtimeType: string;
}

/** @returns the new text, or undefined when nothing is to be done. @throws SiltError ENGINE_CONFIG_INVALID. */
export function addToContainerd(text: string | undefined, path: string, runtime: NewRuntime): string | undefined {
  return withItsLineEnds(text, (lines) => addLines(lines, path, runtime));
}

/** Lines that end as those of Windows' editors do go on doing so, when all of them do. */
function withItsLineEnds(
  text: string | undefined,
  change: (text: string | undefined) => string | undefined,
): string | undefined {
  if (text === undefined || !text.includes('\r\n') || /(?<!\r)\n/.test(text)) return change(text);
  return change(text.replaceAll('\r\n', '\n'))?.replaceAll('\n', '\r\n');
}

function addLines(text: string | undefined, path: string, { name, runtimeType }: NewRuntime): string | undefined {
  const found = readContainerdRuntime(text ?? '', path, name);
  const expected = parseToml(text ?? '', path);
  const lines = (text ?? '').split('\n');
  if (!('version' in expected)) {
    expected['version'] = 2;
    lines.unshift('version = 2');
  }
  if (found.runtime === undefined) {
    const runtime = { runtime_type: runtimeType, pod_annotations: [POD_ANNOTATIONS] };
    make(expected, found.path, runtime);
    if (lines.at(-1) === '') lines.pop();
    lines.push('', header(found.path), ...keyLines(runtime, '  '), '');
    return checked(lines, expected, path, runtime);
  }
  const wanted: Table = {};
  if (found.runtime.runtime_type !== runtimeType) wanted['runtime_type'] = runtimeType;
  const annotations = found.runtime.pod_annotations;
  const passed = Array.isArray(annotations) ? (annotations as unknown[]) : [];
  if (!passed.includes(POD_ANNOTATIONS)) wanted['pod_annotations'] = [...passed, POD_ANNOTATIONS];
  if (Object.keys(wanted).length === 0) return undefined;
  Object.assign(find(expected, found.path)!, wanted);
  const section = sections(lines).find((one) => isDeepStrictEqual(one.path, found.path));
  if (section) for (const [key, value] of Object.entries(wanted)) setKey(lines, section.start, key, value);
  return checked(lines, expected, path, wanted);
}

/** @throws SiltError ENGINE_CONFIG_INVALID when containers start with this runtime by default. */
export function removeFromContainerd(text: string | undefined, path: string, name: string): string | undefined {
  return withItsLineEnds(text, (lines) => removeLines(lines, path, name));
}

function removeLines(text: string | undefined, path: string, name: string): string | undefined {
  if (text === undefined) return undefined;
  const found = readContainerdRuntime(text, path, name);
  if (found.runtime === undefined) return undefined;
  if (found.isDefault) throw refused(path, `${name} is the default_runtime_name there; choose another one first`);
  const lines = text.split('\n');
  const below = (one: Section): boolean => isDeepStrictEqual(one.path.slice(0, found.path.length), found.path);
  for (const { start, end } of sections(lines).filter(below).reverse()) {
    // The blank line that set it off goes with it.
    const from = start > 0 && lines[start - 1]!.trim() === '' ? start - 1 : start;
    lines.splice(from, lastOwn(lines, start, end) - from);
  }
  const expected = parseToml(text, path);
  const runtimes = find(expected, found.path.slice(0, -1))!;
  Reflect.deleteProperty(runtimes, name);
  const now = lines.join('\n');
  const rest = parseToml(now, path);
  // A table that was there only for this runtime has gone with its header.
  prune(expected, found.path.slice(0, -1));
  prune(rest, found.path.slice(0, -1));
  if (!same(rest, expected))
    throw refused(path, `remove ${header(found.path)} by hand: it is not written as a table of its own`);
  return now;
}

function parseToml(text: string, path: string): Table {
  try {
    return parse(text);
  } catch (error) {
    throw refused(path, `it is not TOML: ${(error as Error).message.split('\n')[0]}`, error);
  }
}

/** Of equal content; parsed tables have no prototype, and clones are without that difference. */
function same(one: Table, other: Table): boolean {
  return isDeepStrictEqual(structuredClone(one), structuredClone(other));
}

function find(table: Table, path: readonly string[]): Table | undefined {
  let at: unknown = table;
  for (const key of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined;
    at = (at as Table)[key];
  }
  return typeof at === 'object' && at !== null ? (at as Table) : undefined;
}

function make(table: Table, [first = '', ...rest]: readonly string[], value: Table): void {
  if (rest.length === 0) table[first] = value;
  else make((table[first] ??= {}) as Table, rest, value);
}

/** Takes empty tables away, from the innermost of the path outwards. */
function prune(table: Table, path: readonly string[]): void {
  for (let length = path.length; length > 0; length--) {
    const parent = find(table, path.slice(0, length - 1));
    const key = path[length - 1]!;
    const own = parent && find(parent, [key]);
    if (own && Object.keys(own).length === 0) Reflect.deleteProperty(parent, key);
  }
}

interface Section {
  readonly path: readonly string[];
  /** Index of the line with the header, and of the one behind the last. */
  readonly start: number;
  readonly end: number;
}

/** The tables that have a header. What looks like one in a string of several lines is found out by the closing check. */
function sections(lines: readonly string[]): Section[] {
  const found: { path: string[]; start: number }[] = [];
  lines.forEach((line, start) => {
    if (!/^\s*\[[^[]/.test(line)) return;
    try {
      const path: string[] = [];
      let table: Table = parse(line);
      for (let [key] = Object.keys(table); key !== undefined; [key] = Object.keys(table)) {
        path.push(key);
        table = table[key] as Table;
      }
      found.push({ path, start });
    } catch {
      // A line of a list or of a string.
    }
  });
  return found.map((one, i) => ({ ...one, end: found[i + 1]?.start ?? lines.length }));
}

/** Where a table's own lines end: comments and blank lines above the next header belong to that. */
function lastOwn(lines: readonly string[], start: number, end: number): number {
  if (end === lines.length) return lines.at(-1) === '' ? end - 1 : end;
  let last = end;
  while (last > start + 1 && /^\s*(#.*)?$/.test(lines[last - 1]!)) last--;
  return last;
}

/** Sets a key of the table whose header is at `start`: in its place, or as the first one. */
function setKey(lines: string[], start: number, key: string, value: unknown): void {
  const end = sections(lines).find((one) => one.start === start)!.end;
  const at = lines.findIndex((line, i) => i > start && i < end && new RegExp(`^\\s*${key}\\s*=`).test(line));
  const indent = /^\s*/.exec(lines[at > 0 ? at : start + 1] ?? '')![0];
  const [text = ''] = keyLines({ [key]: value }, indent);
  if (at < 0) lines.splice(start + 1, 0, text);
  else lines.splice(at, valueLines(lines, at), text);
}

/** How many lines a key's value takes: a list may be written one item a line. */
function valueLines(lines: readonly string[], at: number): number {
  for (let count = 1; at + count <= lines.length; count++) {
    try {
      parse(lines.slice(at, at + count).join('\n'));
      return count;
    } catch {
      // Not yet all of it.
    }
  }
  return 1;
}

function keyLines(table: Table, indent: string): string[] {
  return Object.entries(table).map(([key, value]) => `${indent}${key} = ${JSON.stringify(value)}`);
}

function header(path: readonly string[]): string {
  const names = path.map((name) => (/^[A-Za-z0-9_-]+$/.test(name) ? name : JSON.stringify(name)));
  return `[${names.join('.')}]`;
}

/** The text, once it means exactly what it should: an editor's mistake must not cost somebody their containerd. */
function checked(lines: readonly string[], expected: Table, path: string, added: Table): string {
  const text = lines.join('\n');
  let means: Table | undefined;
  try {
    means = parse(text);
  } catch {
    // Said below.
  }
  if (means === undefined || !same(means, expected)) {
    const byHand = Object.entries(added).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
    throw refused(path, `its tables are written in a way that silt cannot add to; set by hand: ${byHand.join(', ')}`);
  }
  return text;
}
