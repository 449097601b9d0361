/**
 * Makes CRIU's images ready for a restore into namespaces that silt has made: CRIU is told that it had been in all of the
 * tasks' namespaces but the pid namespace, so that it makes none of the others; files are found by their paths from
 * the root that silt builds; and the process's stdio, whatever it was, becomes files that are given to CRIU by name.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Breath } from './breath';
import {
  bytesOf,
  encodeFields,
  type ImageFile,
  numberOf,
  parseFields,
  readImage,
  textOf,
  type WireField,
  writeImage,
} from './image-file';
import { STDIO } from '../programs/process';

/** What a process was given from outside: CRIU's keys of files, and the inodes of pipes and sockets. */
export interface OutsideFiles {
  readonly keys: readonly string[];
  readonly inodes: readonly number[];
}

export type StdioName = (typeof STDIO)[number];

/** Field numbers of file_entry (CRIU's images/fdinfo.proto) and fd_types. */
const FILE = { type: 1, id: 2, reg: 3, inotify: 13, usk: 16, fifo: 17, pipe: 18, timer: 12 } as const;
const TYPE = { reg: 1, pipe: 2, fifo: 3, unixSocket: 5, inotify: 8, timer: 17 } as const;
const REG = { id: 1, flags: 2, pos: 3, fown: 5, name: 6, mountId: 7, ext: 9 } as const;
const FIFO = { pipeId: 2, regularId: 3 } as const;
const PIPE = { pipeId: 2, flags: 3, fown: 4 } as const;
const SOCKET = { inode: 2, flags: 5, fown: 9, mountId: 17 } as const;
const TIMER = { ticks: 5, seconds: 7, nanoseconds: 8, intervalSeconds: 9, intervalNanoseconds: 10 } as const;
const INOTIFY = { watch: 5 } as const;
const WATCH = { handle: 7 } as const;
const HANDLE = { mountId: 5 } as const;
const FDINFO = { id: 1, type: 3, fd: 4 } as const;
/** task_kobj_ids_entry: every namespace but that of pids (5), which is new. */
const SHARED_NAMESPACES = [6, 7, 8, 9, 10, 11, 12];
const INVENTORY_ROOT_IDS = 3;
const MM_VMA = 14;
const VMA = { file: 4, status: 7 } as const;
/** A shared mapping of a file (VMA_FILE_SHARED of CRIU's image.h). */
const SHARED_MAPPING = 1 << 7;

/** The name under which CRIU is given a file, as the path of a regular file has it and as `inherit_fd` does. */
export function inheritKey(name: StdioName): string {
  return `silt-${name}`;
}

/** An open file description of a deleted file. */
export interface OpenedDeleted {
  /** CRIU's number of it. */
  readonly id: number;
  /** CRIU's key of the file. */
  readonly key: string;
  /** As open(2) has them. */
  readonly flags: number;
  readonly position: number;
}

/** The name under which CRIU is given a deleted file. */
export function deletedKey({ id }: Pick<OpenedDeleted, 'id'>): string {
  return `silt-deleted-${id}`;
}

/**
 * Changes the images in `directory` in place.
 * @param root pid of the first process within its pid namespace
 * @param deleted keys of deleted files
 * @returns the names of the stdio files that the processes have open, and how deleted files are open.
 */
export async function normaliseImages(
  directory: string,
  root: number,
  outside: OutsideFiles,
  deleted: readonly string[],
): Promise<{ stdio: StdioName[]; deleted: OpenedDeleted[] }> {
  shareNamespaces(directory, root);
  return rewriteFiles(directory, root, outside, deleted);
}

function shareNamespaces(directory: string, root: number): void {
  const ids = parseFields(readImage(join(directory, `ids-${root}.img`)).entries[0]!);
  const inventory = join(directory, 'inventory.img');
  const { magic, entries } = readImage(inventory);
  const fields = parseFields(entries[0]!);
  const own = parseFields(bytesOf(fields, INVENTORY_ROOT_IDS)).filter(
    ({ number }) => !SHARED_NAMESPACES.includes(number),
  );
  const shared = ids.filter(({ number }) => SHARED_NAMESPACES.includes(number));
  const changed = fields.map((field) =>
    field.number === INVENTORY_ROOT_IDS ? { ...field, value: encodeFields([...own, ...shared]) } : field,
  );
  writeImage(inventory, { magic, entries: [encodeFields(changed)] });
}

interface OpenFile {
  readonly id: number;
  readonly type: number;
  readonly fields: WireField[];
}

async function rewriteFiles(
  directory: string,
  root: number,
  outside: OutsideFiles,
  deleted: readonly string[],
): Promise<{ stdio: StdioName[]; deleted: OpenedDeleted[] }> {
  const path = join(directory, 'files.img');
  const image = readImage(path);
  const files = image.entries.map((entry): OpenFile => {
    const fields = parseFields(entry);
    return { id: numberOf(fields, FILE.id), type: numberOf(fields, FILE.type), fields };
  });
  const names = nameStdio(directory, root, files, outside);
  const opened = files.flatMap((file): OpenedDeleted[] => {
    const regular = part(file, FILE.reg);
    const key = textOf(regular, REG.name);
    if (!deleted.includes(key)) return [];
    return [{ id: file.id, key, flags: numberOf(regular, REG.flags), position: numberOf(regular, REG.pos) }];
  });
  const mapped = await openForMappings(directory, opened, Math.max(0, ...files.map(({ id }) => id)));
  const entries = files.map((file) => {
    const name = names.get(file.id);
    const gone = opened.find(({ id }) => id === file.id);
    if (name !== undefined) return encodeFields(asStdio(file, name));
    if (file.type === TYPE.timer) return encodeFields(withTimeLeft(file));
    return encodeFields(gone === undefined ? withoutMounts(file) : asGiven(file, deletedKey(gone), gone));
  });
  const owner = encodeFields([1, 2, 3, 4, 5].map((number) => varint(number, 0)));
  entries.push(...mapped.map((one) => encodeFields(regularFile(one.id, deletedKey(one), one, owner))));
  writeImage(path, { magic: image.magic, entries });
  const breath = new Breath();
  for (const fdinfo of readdirSync(directory).filter((one) => /^fdinfo-\d+\.img$/.test(one))) {
    retype(join(directory, fdinfo), new Set(names.keys()));
    await breath.take();
  }
  return { stdio: [...new Set(names.values())], deleted: [...opened, ...mapped] };
}

/** Which open files come from outside, and as which of the three each is given at a restore. */
function nameStdio(
  directory: string,
  root: number,
  files: readonly OpenFile[],
  outside: OutsideFiles,
): Map<number, StdioName> {
  const external = new Set(
    files.filter((file) => outside.keys.includes(textOf(part(file, FILE.reg), REG.name))).map(({ id }) => id),
  );
  const fds = fdsOf(directory, root);
  const names = new Map<number, StdioName>();
  for (const file of files) {
    const isOutside =
      file.type === TYPE.fifo
        ? external.has(numberOf(part(file, FILE.fifo), FIFO.regularId))
        : file.type === TYPE.pipe
          ? outside.inodes.includes(numberOf(part(file, FILE.pipe), PIPE.pipeId))
          : file.type === TYPE.unixSocket
            ? outside.inodes.includes(numberOf(part(file, FILE.usk), SOCKET.inode))
            : external.has(file.id);
    if (isOutside) names.set(file.id, fds.get(file.id) ?? byAccess(file, files));
  }
  return names;
}

/** The first process's fds 0, 1 and 2, by the id of their file. */
function fdsOf(directory: string, root: number): Map<number, StdioName> {
  const filesId = numberOf(parseFields(readImage(join(directory, `ids-${root}.img`)).entries[0]!), 2);
  const path = join(directory, `fdinfo-${filesId}.img`);
  const found = new Map<number, StdioName>();
  if (!existsSync(path)) return found;
  for (const entry of readImage(path).entries) {
    const fields = parseFields(entry);
    const name = STDIO[numberOf(fields, FDINFO.fd)];
    if (name !== undefined && !found.has(numberOf(fields, FDINFO.id))) found.set(numberOf(fields, FDINFO.id), name);
  }
  return found;
}

/** What the first process no longer has as its stdio: read from is stdin, written to is stdout. */
function byAccess(file: OpenFile, files: readonly OpenFile[]): StdioName {
  return (flagsOf(file, files) & 3) === 0 ? 'stdin' : 'stdout';
}

function flagsOf(file: OpenFile, files: readonly OpenFile[]): number {
  if (file.type === TYPE.pipe) return numberOf(part(file, FILE.pipe), PIPE.flags);
  if (file.type === TYPE.unixSocket) return 2;
  if (file.type !== TYPE.fifo) return numberOf(part(file, FILE.reg), REG.flags);
  const regular = numberOf(part(file, FILE.fifo), FIFO.regularId);
  const found = files.find(({ id }) => id === regular);
  return found ? numberOf(part(found, FILE.reg), REG.flags) : 0;
}

function asStdio(file: OpenFile, name: StdioName): WireField[] {
  return asGiven(file, inheritKey(name), { flags: name === 'stdin' ? 0 : 1, position: 0 });
}

function asGiven(file: OpenFile, key: string, how: { readonly flags: number; readonly position: number }): WireField[] {
  return regularFile(file.id, key, how, ownerOf(file));
}

/** A regular file whose path is a key; CRIU looks for that among the fds that it has been given before it opens anything. */
function regularFile(
  id: number,
  key: string,
  { flags, position }: { readonly flags: number; readonly position: number },
  fown: Buffer,
): WireField[] {
  const regular: WireField[] = [
    varint(REG.id, id),
    varint(REG.flags, flags),
    varint(REG.pos, position),
    { number: REG.fown, wireType: 2, value: fown },
    // CRIU cuts off the first character of a path.
    { number: REG.name, wireType: 2, value: Buffer.from(`/${key}`) },
  ];
  return [
    varint(FILE.type, TYPE.reg),
    varint(FILE.id, id),
    { number: FILE.reg, wireType: 2, value: encodeFields(regular) },
  ];
}

/**
 * CRIU counts a mapping of a file to any open file description of it, whatever that may do, since it would open the file anew
 * for it. Shared mappings of deleted files get descriptions of their own, which may both read and write.
 */
async function openForMappings(
  directory: string,
  opened: readonly OpenedDeleted[],
  lastId: number,
): Promise<OpenedDeleted[]> {
  const added = new Map<string, OpenedDeleted>();
  if (opened.length === 0) return [];
  const breath = new Breath();
  for (const name of readdirSync(directory).filter((one) => /^mm-\d+\.img$/.test(one))) {
    const { magic, entries } = readImage(join(directory, name));
    const changed = entries.map((entry) =>
      encodeFields(
        parseFields(entry).map((field) => {
          if (field.number !== MM_VMA || !Buffer.isBuffer(field.value)) return field;
          const vma = parseFields(field.value);
          const file = opened.find(({ id }) => id === numberOf(vma, VMA.file));
          if (file === undefined || (numberOf(vma, VMA.status) & SHARED_MAPPING) === 0) return field;
          const { key } = file;
          const own = added.get(key) ?? { id: lastId + 1 + added.size, key, flags: 2, position: 0 };
          added.set(key, own);
          const pointing = vma.map((one) => (one.number === VMA.file ? { ...one, value: BigInt(own.id) } : one));
          return { ...field, value: encodeFields(pointing) };
        }),
      ),
    );
    writeImage(join(directory, name), { magic, entries: changed });
    await breath.take();
  }
  return [...added.values()];
}

/** fown_entry, all of whose fields are required: nobody is told of this file's readiness. */
function ownerOf(file: OpenFile): Buffer {
  const given = [
    bytesOf(part(file, FILE.reg), REG.fown),
    bytesOf(part(file, FILE.pipe), PIPE.fown),
    bytesOf(part(file, FILE.usk), SOCKET.fown),
  ].find(({ length }) => length > 0);
  return given ?? encodeFields([1, 2, 3, 4, 5].map((number) => varint(number, 0)));
}

/** Without the mounts' ids of the old mount namespace CRIU opens paths from the root that it is in. */
function withoutMounts(file: OpenFile): WireField[] {
  const { type, fields } = file;
  if (type === TYPE.reg) return within(fields, [FILE.reg], REG.mountId);
  if (type === TYPE.unixSocket) return within(fields, [FILE.usk], SOCKET.mountId);
  if (type === TYPE.inotify) return within(fields, [FILE.inotify, INOTIFY.watch, WATCH.handle], HANDLE.mountId);
  return fields;
}

/**
 * A periodic timerfd that has expired and has not been read shows no time left (timerfd_create(2), "timerfd_gettime"), and CRIU
 * would set it to that, which disarms it. It gets its interval.
 */
function withTimeLeft({ fields }: OpenFile): WireField[] {
  return fields.map((field) => {
    if (field.number !== FILE.timer || !Buffer.isBuffer(field.value)) return field;
    const timer = parseFields(field.value);
    const at = (number: number): number => numberOf(timer, number);
    if (at(TIMER.ticks) === 0 || at(TIMER.seconds) + at(TIMER.nanoseconds) > 0) return field;
    const value = timer.map((one) => {
      if (one.number === TIMER.seconds) return { ...one, value: BigInt(at(TIMER.intervalSeconds)) };
      return one.number === TIMER.nanoseconds ? { ...one, value: BigInt(at(TIMER.intervalNanoseconds)) } : one;
    });
    return { ...field, value: encodeFields(value) };
  });
}

/** Leaves out the field `dropped` of the messages at the end of `path`, a field's number on each level. */
function within(fields: readonly WireField[], [next, ...path]: readonly number[], dropped: number): WireField[] {
  if (next === undefined) return fields.filter(({ number }) => number !== dropped);
  return fields.map((field) =>
    field.number === next && Buffer.isBuffer(field.value)
      ? { ...field, value: encodeFields(within(parseFields(field.value), path, dropped)) }
      : field,
  );
}

function retype(path: string, ids: ReadonlySet<number>): void {
  const image: ImageFile = readImage(path);
  const entries = image.entries.map((entry) => {
    const fields = parseFields(entry);
    if (!ids.has(numberOf(fields, FDINFO.id))) return entry;
    return encodeFields(
      fields.map((field) => (field.number === FDINFO.type ? { ...field, value: BigInt(TYPE.reg) } : field)),
    );
  });
  writeImage(path, { magic: image.magic, entries });
}

function part(file: OpenFile, number: number): WireField[] {
  return parseFields(bytesOf(file.fields, number));
}

function varint(number: number, value: number): WireField {
  return { number, wireType: 0, value: BigInt(value) };
}
