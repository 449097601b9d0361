/**
 * The only door to silt's native code: short syscall programs in this process, starting `silt-interp`, sealed memfds,
 * and waiting for fds in the event loop. docs/syscall-programs.md has the format of programs; `syscall/` builds them.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What `watch` waits for and reports; a set of bits. */
export const WatchEvents = {
  Readable: 1,
  Writable: 2,
  /** The other end of a socket closed or shut down its writing half. */
  Disconnect: 4,
} as const;

/** A running `watch`. It keeps the event loop alive, unless unref'ed, and itself from being collected until closed. */
export interface WatchHandle {
  /**
   * Ends the watch: there is no callback after this. May be called at any time and more than once. The fd stays open;
   * close it after this, not before, or the kernel goes on reporting a file that has no number any more (epoll(7)).
   */
  close(): void;
  /** Lets the event loop live on while this is open (the state at the start). */
  ref(): void;
  /** Lets the event loop end although this is open. */
  unref(): void;
  /** Waits for other events from now on; 0 pauses. Throws EBADF once closed. */
  change(events: number): void;
}

/**
 * Called when the fd is ready. `error` is 0 or a positive errno; after an error (libuv says EBADF for every EPOLLERR,
 * such as a pipe that lost its last reader) the watch has stopped and only `close` or `change` make sense.
 */
export type WatchCallback = (events: number, error: number) => void;

/** A started interpreter. */
export interface Spawned {
  readonly pid: number;
  /** Close-on-exec and the caller's to close. Readable once the process has ended; waitid(P_PIDFD) reaps it. */
  readonly pidfd: number;
}

/** What silt.node exports. Its errors are Node's own in shape: `code` such as 'ENOENT', `errno` negative, `syscall`. */
export interface NativeAddon {
  /**
   * Checks and runs a program in this process and on this thread: a call that blocks blocks the event loop, and a
   * program that forks, execs or changes credentials or namespaces does so to Node. All of those belong to `spawn`.
   *
   * The program runs in place, so what its calls wrote into the image is there afterwards. It can be run again: slots start
   * from 0 and the addresses of kind-1 relocations are written anew, but everything else in the image is as the last run left
   * it, fields of slot relocations included. The kernel is given addresses inside of `program`: sizes that it is
   * told must fit, which the check cannot see.
   *
   * `slots` must have exactly the program's number of slots and holds their values afterwards, also after a failure.
   * Returns -1 on success, else index of the failed instruction * 4096 + errno. Throws `code` PROGRAM_INVALID,
   * with the reason in the message, before anything has run.
   */
  run(program: Uint8Array, slots: BigInt64Array): number;

  /**
   * {@link run} on a second thread, while this one goes on: until `finish`, both arrays are the program's. False, and nothing is done,
   * when that thread has another program or cannot be made. It has this process's fds, working directory and umask; it is made at the
   * first start, with the credentials and the seccomp filters that this thread has then, and ends with the environment.
   */
  start(program: Uint8Array, slots: BigInt64Array): boolean;

  /** Waits, without the event loop, for the program that `start` has taken, and returns what `run` would. To be called once for each. */
  finish(): number;

  /**
   * Writes the headers of a tar entry that needs nothing special (plain-headers.h) to the beginning of `out`, which has at least 1536
   * bytes. `name` begins with `./` and has a byte in each character; `fields` are the type's character, mode, user, group, size of the
   * contents, and seconds and nanoseconds of the modification time. Returns their length; 0 for an entry that needs more.
   */
  plainHeaders(out: Uint8Array, name: string, fields: Float64Array): number;

  /**
   * Walks a tree and writes to `out` the tar entries of what is like most, until something is not (pack-plain.h). `names`, `places` and `used` are
   * {@link readNames}'. `levels` has six numbers for each directory that is being read, of which the first is the caller's: its fd; how much of `names` and
   * `places` was in use before its own names; the index in `places` of its next name, and the one behind its last; the length of its name in `path`. That is
   * the name of the deepest of them as the archive has it, in 100 bytes. `ids` has three numbers (container's, host's, size) for each range of user ids, then
   * of group ids. `sends` gets three numbers of each larger file, see {@link startWriting}. `job` has the index of the deepest directory; how many entries
   * to write; where to write in `out` and up to where; how many files are in `sends`, and of how many bytes there may be more; the size of the largest contents that
   * are read, and sent; the number of ranges of user ids. Afterwards all of these say where the walk is, and how many entries were written: so it
   * can go on. Returns 0 when the first directory has no more names, 1 when there is no room, 2 when the next name is something else or cannot be
   * read, 3 when so many entries were written. Directories behind the first one are opened and closed here; the fds of those in which the walk is, and in
   * `sends`, are the caller's.
   */
  packPlain(
    names: Uint8Array,
    places: Uint32Array,
    used: Uint32Array,
    levels: Uint32Array,
    path: Uint8Array,
    ids: Uint32Array,
    job: Uint32Array,
    out: Uint8Array,
    sends: Uint32Array,
  ): 0 | 1 | 2 | 3;

  /**
   * Begins to write bytes to a file or pipe at its offset, on a second thread, and between them the contents of files (archive-part.h). `sends` has three numbers
   * for each of `count` files: its fd, in front of which of the bytes it belongs, and how much of it. What has been sent is closed. False, and nothing is done, when that
   * thread, which is that of {@link start}, has something else to do or cannot be made.
   */
  startWriting(out: number, bytes: Uint8Array, sends: Uint32Array, count: number, outcome: Uint32Array): boolean;

  /**
   * Waits, without the event loop, for what `startWriting` has begun: to be called once for each. Its `outcome` has four numbers then: how many files were sent, and
   * closed; how much of the next one was; how much of the bytes was written; 0, or the errno why that is not all (ENODATA for a file that is shorter).
   */
  finishWriting(): void;

  /**
   * Reads the names in a directory, without `.` and `..`, and sorts them by their bytes. Each goes to `bytes` as its DT_*, its length, its
   * bytes and a NUL, and where it begins goes to `places`. `used` says how much of both is in use, and is advanced. Returns 0 or a
   * positive errno; EOVERFLOW (75) when there is not enough room. Then `used` is as it was.
   */
  readNames(directory: number, bytes: Uint8Array, places: Uint32Array, used: Uint32Array): number;

  /**
   * Applies entries like most of a tar archive to a directory, on this thread and a second one, until one is different in any way
   * (unpack-plain.h). `job` has the fd of the directory; the archive's, or -1 when it is in `memory`; the archive's offset at which the first
   * entry begins, which is `memory`'s, too; the archive's size, or where what is in memory ends; an offset, no later than that in memory, from which
   * on no entry is begun; the most entries, bytes of contents, and components of a name; and room for three more numbers. Afterwards it says
   * at what offset the first entry begins that was not applied, how many were, and the bytes of their contents; and if one failed, what was being done
   * (enum silt_unpack_step), the errno, and where it begins: its name is in `name`, which has at least 1027 bytes. Returns that
   * name's length. Borrows the fds, and closes all others. Throws for a job that is none.
   */
  unpackPlain(job: Float64Array, memory: Uint8Array, name: Uint8Array): number;

  /**
   * Starts the interpreter in `exeFd` (see `openInterpreter`) with the program at its fd 3, `reportFd` at 4 and
   * `donated` at 5, 6, … in order; /dev/null at 0, 1 and 2; nothing else is open. Borrows all fds: the caller still owns its
   * own. Signals are at their defaults and unblocked, the environment is empty; session, working directory, limits and namespaces
   * are inherited. It is a child of this process that nothing else reaps. Blocks until the exec is done, some
   * 50 µs. Throws with the errno and the name of the step when that fails, and then leaves nothing behind.
   */
  spawn(exeFd: number, programFd: number, reportFd: number, donated: Int32Array): Spawned;

  /**
   * Calls back whenever `fd` is ready (level-triggered: again and again until the cause is gone). For pidfds, eventfds,
   * sockets, pipes and terminals; regular files are EPERM. Borrows the fd, which becomes non-blocking — as that
   * is a property of the open file, every process that shares it sees it. One watch per fd at a time: a second one
   * throws EEXIST. What the callback throws is an uncaught exception.
   */
  watch(fd: number, events: number, callback: WatchCallback): WatchHandle;

  /**
   * A memfd with these bytes, offset 0, close-on-exec, the caller's to close. `seal` makes content and size final for
   * everyone. Only `executable` ones can be executed where the kernel can tell (6.3 and later).
   */
  memfd(name: string, bytes: Uint8Array, seal: boolean, executable?: boolean): number;

  /** SHA-256, by the OpenSSL within Node: 32 bytes. For what is small: node:crypto, which would load more than it, takes 7 ms. */
  sha256(bytes: Uint8Array): Uint8Array<ArrayBuffer>;

  /**
   * GMAC (NIST SP 800-38D, AES-128) under a key and nonce of zeros: 16 bytes. Damage it finds like any sum of 128 bits, in a tenth of the time
   * that SHA-256 takes; on purpose anyone can make other bytes with the same one.
   */
  gmac(bytes: Uint8Array): Uint8Array<ArrayBuffer>;

  /**
   * SHA-256, or GMAC, of the chunks, of so many bytes each and the last one shorter, between two offsets of a file: on a thread of libuv's pool,
   * and without bringing the bytes to JavaScript. `out` has 32 bytes (16) for each and must not be used before the callback. That is told how many
   * were made: fewer than there are for a file that ends sooner (error 0) or cannot be read (a positive errno). Borrows the fd until
   * then.
   */
  digestChunks(
    fd: number,
    start: number,
    end: number,
    chunk: number,
    out: Uint8Array,
    isGmac: boolean,
    callback: (count: number, error: number) => void,
  ): void;

  /** Why a program was refused, by the reason number of a failure record. */
  readonly reasons: readonly string[];
}

/**
 * Where silt.node and silt-interp are: the environment's SILT_NATIVE_DIR, else beside the running bundle, else
 * build/native of the source tree.
 */
export function nativeDirectory(): string {
  const configured = process.env['SILT_NATIVE_DIR'];
  if (configured !== undefined && configured !== '') return configured;
  const inTree = join(__dirname, '..', 'build', 'native');
  return !existsSync(join(__dirname, 'silt.node')) && existsSync(join(inTree, 'silt.node')) ? inTree : __dirname;
}

const loaded = new Map<string, NativeAddon>();

/**
 * Loads silt.node, once for each path. Without a path it is the one that this process has loaded, if any: a process that has left the
 * host's filesystem finds no other. Throws what dlopen says when it is not there or built for another Node.
 */
export function loadNative(
  path: string = loaded.keys().next().value ?? join(nativeDirectory(), 'silt.node'),
): NativeAddon {
  const known = loaded.get(path);
  if (known !== undefined) return known;
  const module = { exports: {} as NativeAddon };
  process.dlopen(module, path);
  loaded.set(path, module.exports);
  return module.exports;
}

/**
 * A sealed memfd with silt-interp, for `spawn`; close-on-exec and the caller's to close. One serves any number of
 * starts. Sealed, so that nothing that runs from it can change it for the next one through /proc/self/exe.
 */
export function openInterpreter(path: string = join(nativeDirectory(), 'silt-interp'), native = loadNative()): number {
  return native.memfd('silt-interp', readFileSync(path), true, true);
}
