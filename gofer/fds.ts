/** Names of the fds that the gofer's part of a program is given. */

/** A detached mount that holds the upper and the work directory of the root's overlay. */
export const UPPER = 'upper';
/** A detached mount with whiteouts of what the application must not see of the engine's root filesystem. */
export const COVER = 'cover';
/** The pod's user namespace. */
export const USERNS = 'userns';
/** A detached mount of the tmpfs that all containers of the pod have for shared memory. */
export const SHARED_MEMORY = 'shared_memory';
