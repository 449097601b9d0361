import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import type { Mount } from '../../oci';
import type { Kernel } from '../../syscall';
import { ImageView } from './image-view';

/** As many links as the kernel follows in one path (path_resolution(7)). */
const MAX_LINKS = 40;

/**
 * Where mounts have to go whose destination leads, by symlinks of the image, to something that is not there. The gofer makes
 * what is missing of a path, and follows links with the kernel's help, but a program of system calls cannot make what a link
 * points to: so `/etc/resolv.conf -> /run/systemd/resolve/stub-resolv.conf` is followed here. The gofer opens the place like any
 * other, beneath the container's root: a link that is another one by then leads to a strange place inside, never out.
 *
 * @param layers of the root filesystem, the topmost first
 * @param destinations of the mounts, absolute and normalized, in their order: what an earlier one covers is left to the kernel
 * @returns the destinations that have another place
 */
export function mountPlaces(
  kernel: Kernel,
  layers: readonly string[],
  destinations: readonly string[],
): ReadonlyMap<string, string> {
  const places = new Map<string, string>();
  const plain = new Set<string>();
  const view = new ImageView(kernel, layers);
  const covered: string[] = [];
  try {
    for (const destination of destinations) {
      if (hasLink(layers, destination, plain)) {
        const place = follow(view, destination, covered);
        if (place !== undefined && !view.has(place.slice(1))) places.set(destination, place);
      }
      covered.push(places.get(destination) ?? destination);
    }
  } finally {
    view.close();
  }
  return places;
}

/** What other programs, and the masks over parts of it, take for granted at these places. */
const KERNEL_VIEWS: Readonly<Record<string, string>> = { '/proc': 'proc', '/sys': 'sysfs' };

/**
 * The image must not turn the kernel's own filesystems away to another place, as runc has it.
 * @throws SiltError SPEC_INVALID.
 */
export function refuseLinkedViews(layers: readonly string[], mounts: readonly Mount[]): void {
  for (const [i, { destination, type }] of mounts.entries()) {
    if (type === undefined || KERNEL_VIEWS[destination] !== type) continue;
    const top = layers
      .map((layer) => join(layer, destination))
      .find((path) => lstatSync(path, { throwIfNoEntry: false }));
    if (top === undefined || !isLink(top)) continue;
    const jsonPath = `$.mounts[${i}].destination`;
    const message = `${jsonPath}: filesystem "${type}" must be mounted on ordinary directory, and ${destination} of the image is a symbolic link`;
    throw new SiltError('SPEC_INVALID', message, { jsonPath });
  }
}

/** May a link of some layer be on the way? Saves mounting the layers for the usual image. `plain` keeps what is none. */
function hasLink(layers: readonly string[], destination: string, plain: Set<string>): boolean {
  const names = destination.split('/').slice(1);
  return names.some((_, i) => {
    const path = names.slice(0, i + 1).join('/');
    if (plain.has(path)) return false;
    if (layers.some((layer) => isLink(join(layer, path)))) return true;
    plain.add(path);
    return false;
  });
}

function isLink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink();
  } catch {
    // Not there, or not a directory on the way: then it is another layer's to say.
    return false;
  }
}

/** The path without links, or undefined when it passes a mount or does not end. */
function follow(view: ImageView, destination: string, covered: readonly string[]): string | undefined {
  const names = destination.split('/');
  const done: string[] = [];
  for (let links = 0; names.length > 0;) {
    const name = names.shift()!;
    if (name === '' || name === '.') continue;
    if (name === '..') {
      done.pop();
      continue;
    }
    const path = [...done, name].join('/');
    if (covered.some((mount) => `/${path}` === mount || `/${path}`.startsWith(`${mount}/`))) return undefined;
    const target = view.linkAt(path);
    if (target === undefined) {
      done.push(name);
      continue;
    }
    if (++links > MAX_LINKS) return undefined;
    if (target.startsWith('/')) done.length = 0;
    names.unshift(...target.split('/'));
  }
  return `/${done.join('/')}`;
}
