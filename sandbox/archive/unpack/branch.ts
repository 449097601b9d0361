import type { ByteString } from '../codec/bytes';

/**
 * A directory that is open, or below which one is. Those above it know it by its name for as long, so that opening and closing one
 * looks at no others.
 */
export class Branch {
  readonly #above: Branch | undefined;
  readonly #name: ByteString;
  readonly #below = new Map<ByteString, Branch>();
  #isOpen = false;

  private constructor(above: Branch | undefined, name: ByteString) {
    this.#above = above;
    this.#name = name;
  }

  /** The upper itself. */
  static root(): Branch {
    return new Branch(undefined, '' as ByteString);
  }

  /** Names in it at or below which directories are open. */
  get below(): ReadonlyMap<ByteString, Branch> {
    return this.#below;
  }

  /** Opens a directory by its path below this one, which is open or the root. @returns its branch. */
  open(path: ByteString): Branch {
    let at: Branch = this; // eslint-disable-line @typescript-eslint/no-this-alias
    if (path !== '') for (const name of path.split('/') as ByteString[]) at = at.#child(name);
    at.#isOpen = true;
    return at;
  }

  /** The directory is closed; what is open below it stays. */
  close(): void {
    this.#isOpen = false;
    this.#leave();
  }

  #child(name: ByteString): Branch {
    const known = this.#below.get(name);
    if (known) return known;
    // A copy: a slice would keep the whole path in memory.
    const own = Buffer.from(name, 'latin1').toString('latin1') as ByteString;
    const made = new Branch(this, own);
    this.#below.set(own, made);
    return made;
  }

  #leave(): void {
    if (this.#isOpen || this.#below.size > 0 || this.#above === undefined) return;
    this.#above.#below.delete(this.#name);
    this.#above.#leave();
  }
}
