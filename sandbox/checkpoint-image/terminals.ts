/**
 * The container's terminal in CRIU's images. A dump is told that the terminal is external, and so is /dev/tty: CRIU saves one of those only
 * together with a pty of its own. That leaves in the images one terminal for each open file description. Here each of them gets
 * a name of its own, so that a restore gives each its own description of the new terminal (O_NONBLOCK of one is not that of
 * another); and /dev/tty of a pty that a process of the container holds the master of becomes CRIU's matter again.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import { bytesOf, encodeFields, numberOf, parseFields, readImage, type WireField, writeImage } from './image-file';

/** An open file description of the container's terminal. */
export interface SavedTerminal {
  /** CRIU's key of it. */
  readonly key: string;
  /** As open(2) has them: CRIU sets none on what it is given. */
  readonly flags: number;
}

/** makedev(5, 0): /dev/tty, which is the opening process's controlling terminal. */
export const CONTROLLING_TERMINAL = 0x500;

/** makedev(5, 2): ptmx. */
const MASTER = 0x502;

/** Field numbers of tty_info_entry, tty_file_entry (CRIU's images/tty.proto), file_entry and reg_file_entry. */
const INFO = { id: 1, type: 2, sid: 6, rdev: 8, dev: 13, uid: 14, gid: 15 } as const;
const TTY = { info: 2, flags: 3, fown: 4, file: 6 } as const;
const FILE = { type: 1, id: 2, reg: 3, tty: 19 } as const;
const REGULAR = { type: 1, id: 1, flags: 2, position: 3, fown: 5, name: 6 } as const;
const TYPE = { pty: 1, controlling: 4, external: 5 } as const;

/** How CRIU calls a terminal, in its `--external` and `--inherit-fd`. */
export function terminalKey(rdev: number, dev: number): string {
  return `tty[${rdev.toString(16)}:${dev.toString(16)}]`;
}

/**
 * Changes the images in `directory` in place.
 * @param keys those of the terminal and of /dev/tty that CRIU was told of
 * @returns the terminal's descriptions, which a restore is to make.
 * @throws SiltError CHECKPOINT_FAILED for a /dev/tty of which nobody can tell what terminal it is.
 */
export function separateTerminals(directory: string, keys: readonly string[]): SavedTerminal[] {
  const path = join(directory, 'tty-info.img');
  if (!existsSync(path)) return [];
  const image = readImage(path);
  const infos = image.entries.map(parseFields);
  const inner = infos.filter((info) => numberOf(info, INFO.type) === TYPE.pty);
  const sessions = new Set(inner.map((info) => numberOf(info, INFO.sid)).filter((sid) => sid !== 0));
  const files = new TerminalFiles(directory);
  const terminals: SavedTerminal[] = [];
  const changed = infos.map((info) => {
    const [rdev, dev] = [numberOf(info, INFO.rdev), numberOf(info, INFO.dev)];
    if (numberOf(info, INFO.type) !== TYPE.external || !keys.includes(terminalKey(rdev, dev)))
      return withoutForeignOwner(info);
    if (rdev === CONTROLLING_TERMINAL && inner.length > 0) {
      const sid = numberOf(info, INFO.sid);
      if (sid === 0) throw undecided();
      if (sessions.has(sid)) {
        files.openControllingTerminal(numberOf(info, INFO.id));
        return replaced(withoutForeignOwner(info), { [INFO.type]: TYPE.controlling });
      }
    }
    // No device has the number 0.
    const number = terminals.length;
    terminals.push({ key: terminalKey(0, number), flags: files.flagsOf(numberOf(info, INFO.id)) });
    return replaced(info, { [INFO.rdev]: 0, [INFO.dev]: number });
  });
  writeImage(path, { magic: image.magic, entries: changed.map(encodeFields) });
  files.write();
  return terminals;
}

function undecided(): SiltError {
  const message =
    'a process has /dev/tty open, of a session that it has left, and there are terminals within the container: which one it is cannot be told';
  return new SiltError('CHECKPOINT_FAILED', message);
}

/** CRIU's list of open files, as far as it is about terminals. */
class TerminalFiles {
  readonly #path;
  readonly #magic;
  readonly #files: WireField[][];
  #lastId;

  constructor(directory: string) {
    this.#path = join(directory, 'files.img');
    const { magic, entries } = readImage(this.#path);
    this.#magic = magic;
    this.#files = entries.map(parseFields);
    this.#lastId = Math.max(0, ...this.#files.map((file) => numberOf(file, FILE.id)));
  }

  flagsOf(info: number): number {
    return numberOf(terminalOf(this.#files[this.#indexOf(info)]!), TTY.flags);
  }

  /** That file is opened by its path, as with what CRIU has saved as /dev/tty itself. CRIU gives each external terminal one file. */
  openControllingTerminal(info: number): void {
    const at = this.#indexOf(info);
    const terminal = terminalOf(this.#files[at]!);
    const id = ++this.#lastId;
    const regular: WireField[] = [
      varint(REGULAR.id, id),
      varint(REGULAR.flags, numberOf(terminal, TTY.flags)),
      varint(REGULAR.position, 0),
      { number: REGULAR.fown, wireType: 2, value: bytesOf(terminal, TTY.fown) },
      { number: REGULAR.name, wireType: 2, value: Buffer.from('/dev/tty') },
    ];
    this.#files[at] = this.#files[at]!.map((field) =>
      field.number === FILE.tty
        ? {
            ...field,
            value: encodeFields([...terminal.filter(({ number }) => number !== TTY.file), varint(TTY.file, id)]),
          }
        : field,
    );
    this.#files.push([
      varint(FILE.type, REGULAR.type),
      varint(FILE.id, id),
      { number: FILE.reg, wireType: 2, value: encodeFields(regular) },
    ]);
  }

  #indexOf(info: number): number {
    const at = this.#files.findIndex((file) => numberOf(terminalOf(file), TTY.info) === info);
    if (at >= 0) return at;
    throw new SiltError('CHECKPOINT_FAILED', `CRIU has saved no open file of its terminal ${info}`, {
      path: this.#path,
    });
  }

  write(): void {
    writeImage(this.#path, { magic: this.#magic, entries: this.#files.map(encodeFields) });
  }
}

/** The tty_file_entry of a file; empty for all other files. */
function terminalOf(file: readonly WireField[]): WireField[] {
  return parseFields(bytesOf(file, FILE.tty));
}

/** In a user namespace /dev/tty and ptmx are not CRIU's to chown: who made them is outside of it. */
function withoutForeignOwner(info: WireField[]): WireField[] {
  if (![CONTROLLING_TERMINAL, MASTER].includes(numberOf(info, INFO.rdev))) return info;
  return info.filter(({ number }) => number !== INFO.uid && number !== INFO.gid);
}

function replaced(fields: readonly WireField[], values: Readonly<Record<number, number>>): WireField[] {
  return fields.map((field) => {
    const value = values[field.number];
    return value === undefined ? field : { ...field, value: BigInt(value) };
  });
}

function varint(number: number, value: number): WireField {
  return { number, wireType: 0, value: BigInt(value) };
}
