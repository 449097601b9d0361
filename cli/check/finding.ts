/** One thing that silt can use, and whether this host has it. */
export interface Finding {
  readonly feature: string;
  /**
   * `ok`: it is there. `missing`: nothing works without it. `limited`: silt works, and what `todo` names does not. `absent`: an optional
   * thing that this host does not have.
   */
  readonly status: 'ok' | 'missing' | 'limited' | 'absent';
  readonly found: string;
  /** What to do about it, or what is not to be had without it. */
  readonly todo?: string;
}
