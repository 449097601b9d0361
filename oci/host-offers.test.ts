import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { resctrlOfHost } from './host-offers';

const roots: string[] = [];
afterAll(() => roots.forEach((root) => rmSync(root, { recursive: true })));

function hostWith(files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'silt-host-'));
  roots.push(root);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

test.each<[string, string, string, RegExp]>([
  ['no resctrl', 'nodev\ttmpfs\n\text4\n', '', /^this host has none either: .* leave it out$/],
  ['resctrl', 'nodev\tresctrl\n', 'tmpfs /run tmpfs rw 0 0\n', /has it, not mounted; mount it on \/sys\/fs\/resctrl/],
  [
    'a mounted resctrl',
    'nodev\tresctrl\n',
    'resctrl /r resctrl rw 0 0\n',
    /has it, mounted on \/r: a createRuntime hook/,
  ],
])('of a host with %s', (_, filesystems, mounts, words) => {
  expect(resctrlOfHost(hostWith({ 'proc/filesystems': filesystems, 'proc/self/mounts': mounts }))).toMatch(words);
});
