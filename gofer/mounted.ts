import { readFileSync } from 'node:fs';

/** A mount of this process's mount namespace. */
export interface Mounted {
  readonly point: string;
  readonly type: string;
  /** Options of the filesystem itself, as it shows them. */
  readonly options: readonly string[];
}

/** The mounts that /proc/self/mountinfo lists (proc(5)), in the order in which they were made. */
export function readMounts(mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')): Mounted[] {
  return mountinfo.split('\n').flatMap((line) => {
    const [before = '', behind = ''] = line.split(' - ');
    const point = before.split(' ')[4];
    const [type = '', , options = ''] = behind.split(' ');
    return point === undefined ? [] : [{ point: unescape(point), type, options: options.split(',').map(unescape) }];
  });
}

/** The mount that a path lies on; later ones lie above earlier ones of the same place. */
export function mountOf(path: string, mounts: readonly Mounted[]): Mounted | undefined {
  const around = mounts.filter(({ point }) => liesIn(path, point));
  const longest = Math.max(0, ...around.map(({ point }) => point.length));
  return around.findLast(({ point }) => point.length === longest);
}

/** The mounts beneath a path, not that of the path itself. */
export function mountsBeneath(path: string, mounts: readonly Mounted[]): Mounted[] {
  return mounts.filter(({ point }) => point !== path && liesIn(point, path));
}

function liesIn(inner: string, outer: string): boolean {
  return inner === outer || inner.startsWith(outer.endsWith('/') ? outer : `${outer}/`);
}

/** Spaces and the like are octal there. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
}
