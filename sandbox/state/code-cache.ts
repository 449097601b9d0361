/**
 * Bundles with the code that V8 has made of them before. Node's own compile cache (module.enableCompileCache) holds what is compiled
 * when a file is loaded, which is next to nothing of a bundle: functions are compiled when they are first called. This one is made when
 * they have been called.
 */
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { Script } from 'node:vm';
import { siltRoot } from './root';

/** How the process ended that kept the code: with all that it was to do, or early. */
type How = 'done' | 'failed';

interface Kept {
  readonly code: Buffer;
  readonly how: How;
}

export interface CachedBundle {
  readonly exports: unknown;
  /**
   * Keeps the code of all functions that have been called so far, once, unless there was some to begin with.
   * @param how `failed`: something ended before it had called all that it would have. That is for others that fail, and for the first that
   * does not, which keeps more in its place: otherwise later processes would compile the rest each time.
   */
  readonly keep: (how: How) => void;
}

/** Part of what is kept with the code, to tell it from that of another Node or bundle. V8 checks its own version and flags. */
function identityOf(path: string): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
  return [process.version, path, dev, ino, size, mtimeNs, ctimeNs].join(' ');
}

/**
 * Loads a CommonJS bundle, as `load` (a `require` of its directory) would.
 * @param use which functions it will call, as a file's name: each use has a file of its own
 * @returns undefined when there is no such file, or nobody's cache can be trusted: only host root writes to silt's root
 */
export function loadCached(path: string, use: string, load: NodeJS.Require): CachedBundle | undefined {
  if (process.getuid?.() !== 0) return undefined;
  let wrapped: string;
  let identity: string;
  try {
    identity = identityOf(path);
    wrapped = readWrapped(path);
  } catch {
    return undefined;
  }
  const file = join(siltRoot(), 'cache', `code-${use}`);
  const identities = { done: identity, failed: `${identity} failed` };
  const kept = readKept(file, identities);
  const cachedData = kept?.code;
  const script = new Script(wrapped, { filename: path, ...(cachedData && { cachedData }) });
  const loaded = { exports: {} as unknown };
  type Wrapper = (exports: unknown, require: NodeJS.Require, module: object, file: string, directory: string) => void;
  (script.runInThisContext() as Wrapper)(loaded.exports, load, loaded, path, dirname(path));
  let held = script.cachedDataRejected === true ? undefined : kept?.how;
  const keep: CachedBundle['keep'] = (how) => {
    if (held === 'done' || held === how) return;
    write(file, script.createCachedData(), identities[how]);
    held = how;
  };
  return { exports: loaded.exports, keep };
}

const BEFORE = Buffer.from('(function (exports, require, module, __filename, __dirname) {');
const AFTER = Buffer.from('\n})');

/** A module as a function, read to where it stands in that: put together of strings it would be copied once more. */
function readWrapped(path: string): string {
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    const bytes = Buffer.allocUnsafeSlow(BEFORE.length + size + AFTER.length);
    bytes.set(BEFORE);
    if (readSync(file, bytes, BEFORE.length, size, 0) !== size) throw new Error(`${path} became shorter`);
    bytes.set(AFTER, BEFORE.length + size);
    // Bundles are ASCII: in one byte for each character V8 need not look for others.
    return bytes.toString('latin1');
  } finally {
    closeSync(file);
  }
}

/** The code lies at the front of the file, for its alignment; behind it what it is the code of. */
function readKept(file: string, identity: Readonly<Record<How, string>>): Kept | undefined {
  try {
    const bytes = readFileSync(file);
    for (const how of ['done', 'failed'] as const) {
      const end = bytes.length - Buffer.byteLength(identity[how]);
      if (end > 0 && bytes.toString('utf8', end) === identity[how]) return { code: bytes.subarray(0, end), how };
    }
  } catch {
    // There is none.
  }
  return undefined;
}

function write(file: string, code: Buffer, identity: string): void {
  const aside = `${file}.${process.pid}`;
  try {
    // Not silt's root too: one that is gone by now, as its pods are, is not made again for this.
    mkdirSync(dirname(file), { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return;
  }
  try {
    writeFileSync(aside, Buffer.concat([code, Buffer.from(identity)]), { mode: 0o600 });
    renameSync(aside, file);
  } catch {
    // No room for it, or nowhere to write: it is compiled again the next time.
  }
}
