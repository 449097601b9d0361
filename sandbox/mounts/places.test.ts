import { closeSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative, openInterpreter } from '../../native';
import { Kernel } from '../../syscall';
import { mountPlaces } from './places';

const interpreter = openInterpreter();
const kernel = new Kernel(loadNative(), -1);
const olderKernel = new Kernel(loadNative(), interpreter, [6, 1]);
afterAll(() => closeSync(interpreter));

let top: string;
let below: string;
beforeEach(() => {
  // Not on an overlay, of which layers could not be made.
  const base = mkdtempSync(join(tmpdir(), 'silt-places-'));
  [top, below] = [join(base, 'top'), join(base, 'below')];
  for (const layer of [top, below]) mkdirSync(join(layer, 'etc'), { recursive: true });
});
afterEach(() => rmSync(join(top, '..'), { recursive: true }));

const placesOf = (...destinations: string[]): Record<string, string> =>
  Object.fromEntries(mountPlaces(kernel, [top, below], destinations));

test('a link to what is not there is followed to its place', () => {
  symlinkSync('/run/systemd/resolve/stub.conf', join(below, 'etc/resolv.conf'));
  symlinkSync('../var/hosts', join(top, 'etc/hosts'));
  expect(placesOf('/etc/resolv.conf', '/etc/hosts', '/etc/hostname')).toEqual({
    '/etc/resolv.conf': '/run/systemd/resolve/stub.conf',
    '/etc/hosts': '/var/hosts',
  });
});

test('what leads somewhere is left to the kernel', () => {
  mkdirSync(join(below, 'run'));
  symlinkSync('/run', join(below, 'var'));
  writeFileSync(join(below, 'run/file'), '');
  expect(placesOf('/var/file', '/var')).toEqual({});
});

test('links on the way, links to links, and links that would climb out', () => {
  symlinkSync('/gone', join(below, 'a'));
  symlinkSync('a', join(top, 'b'));
  symlinkSync('../../../../../../x', join(top, 'up'));
  expect(placesOf('/b/c', '/up/y')).toEqual({ '/b/c': '/gone/c', '/up/y': '/x/y' });
});

test('a link of a lower layer that a higher one hides is none', () => {
  symlinkSync('/gone', join(below, 'etc/resolv.conf'));
  writeFileSync(join(top, 'etc/resolv.conf'), '');
  expect(placesOf('/etc/resolv.conf')).toEqual({});
});

test('what lies in an earlier mount is that one’s matter', () => {
  symlinkSync('/gone', join(below, 'etc/resolv.conf'));
  expect(placesOf('/etc', '/etc/resolv.conf')).toEqual({});
  expect(placesOf('/etc/resolv.conf', '/etc')).toEqual({ '/etc/resolv.conf': '/gone' });
});

test('a ring of links is the kernel’s to refuse', () => {
  symlinkSync('b', join(top, 'a'));
  symlinkSync('a', join(top, 'b'));
  expect(placesOf('/a')).toEqual({});
});

test('layers are looked into by the ways of older kernels too, however many they are', () => {
  symlinkSync('/run/systemd/resolve/stub.conf', join(below, 'etc/resolv.conf'));
  const many = Array.from({ length: 200 }, (_, i) => join(top, `../layer-${i}`));
  for (const [i, layer] of many.entries()) {
    mkdirSync(join(layer, 'made'), { recursive: true });
    symlinkSync(`/of/${i}`, join(layer, 'link'));
  }
  const places = mountPlaces(olderKernel, [top, ...many, below], ['/etc/resolv.conf', '/link']);
  expect(Object.fromEntries(places)).toEqual({
    '/etc/resolv.conf': '/run/systemd/resolve/stub.conf',
    '/link': '/of/0',
  });
  // One layer is looked into without an overlay.
  expect(mountPlaces(olderKernel, [below], ['/etc/resolv.conf']).size).toBe(1);
});

test('a layer that is not there is named by its step, on older kernels too', () => {
  symlinkSync('/gone', join(top, 'link'));
  const missing = join(top, '../missing');
  for (const one of [kernel, olderKernel])
    expect(() => mountPlaces(one, [top, missing], ['/link'])).toThrow(
      /mounting the layers of the image: open_tree: ENOENT/,
    );
});
