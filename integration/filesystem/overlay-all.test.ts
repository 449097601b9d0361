/** `--overlay2=all`: what a container writes to its volumes is gone with it, and the host's files stay as they were. */
import { randomUUID } from 'node:crypto';
import { chownSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { containerdSuite, siltTest, type Containerd } from '../harness';
import { snapshot } from './overlay';

async function shell(host: Containerd, id: string, script: string): Promise<string> {
  const { stdout, stderr } = await host.exec(id, ['sh', '-c', script]);
  return stdout.toString() + stderr;
}

for (const [userns, medium] of [
  ['none', 'memory'],
  ['auto', 'memory'],
  ['auto', 'self'],
  ['auto', 'dir'],
] as const) {
  const filestores = join(tmpdir(), `silt-filestores-${randomUUID()}`);
  // Neither is done where all tests are skipped.
  beforeAll(() => {
    mkdirSync(filestores, { mode: 0o700 });
  });
  afterAll(() => rmSync(filestores, { recursive: true }));
  const mode = medium === 'dir' ? `all:dir=${filestores},size=64m` : `all:${medium}`;
  containerdSuite(
    `overlay2=all:${medium}, user namespaces ${userns}`,
    { userns, overlay2: mode, onlyPeer: 'system' },
    (host) => {
      let volume: string;
      let file: string;
      const mount = (source: string, destination: string, access = 'rw'): string[] => [
        '--mount',
        `type=bind,src=${source},dst=${destination},options=rbind:${access}`,
      ];
      const flags = (): string[] => [...mount(volume, '/volume'), ...mount(file, '/etc/one-file')];

      beforeEach(() => {
        volume = join(host().directory, `volume-${Date.now()}`);
        file = `${volume}.file`;
        mkdirSync(join(volume, 'below'), { recursive: true });
        writeFileSync(join(volume, 'kept'), 'of the host\n', { mode: 0o640 });
        writeFileSync(join(volume, 'below/gone'), 'of the host\n');
        chownSync(volume, 1000, 2000);
        chownSync(join(volume, 'kept'), 1000, 2000);
        writeFileSync(file, 'one line\n', { mode: 0o604 });
      });

      siltTest('what is written, changed and deleted in a volume does not reach the host', async () => {
        const id = await host().startContainer(undefined, { flags: flags() });
        const script =
          'cd /volume && stat -c "%u %g %a" . kept && echo changed >> kept && echo new > new && rm -r below && cat kept && ls';
        expect(await shell(host(), id, script)).toBe('1000 2000 755\n1000 2000 640\nof the host\nchanged\nkept\nnew\n');
        // The operator's directory shows nothing of the filestore.
        expect(readdirSync(filestores)).toEqual([]);
        expect(readdirSync(volume).sort()).toEqual(['below', 'kept']);
        expect(readFileSync(join(volume, 'kept'), 'utf8')).toBe('of the host\n');
        expect(readdirSync(join(volume, 'below'))).toEqual(['gone']);
        expect(statSync(volume)).toMatchObject({ uid: 1000, gid: 2000 });
        // A container is alone with what it wrote.
        const other = await host().startContainer(undefined, { flags: flags() });
        expect(await shell(host(), other, 'cat /volume/kept /volume/below/gone')).toBe('of the host\nof the host\n');
        await host().remove(id);
        await host().remove(other);
      });

      siltTest('so with a file, which is a copy', async () => {
        const id = await host().startContainer(undefined, { flags: flags() });
        const script = 'stat -c "%u %g %a" /etc/one-file; echo another >> /etc/one-file; cat /etc/one-file';
        expect(await shell(host(), id, script)).toBe('0 0 604\none line\nanother\n');
        expect(readFileSync(file, 'utf8')).toBe('one line\n');
        await host().remove(id);
      });

      siltTest('a read-only volume is the host’s own', async () => {
        const id = await host().startContainer(undefined, { flags: mount(volume, '/volume', 'ro') });
        writeFileSync(join(volume, 'later'), 'seen at once\n');
        expect(await shell(host(), id, 'cat /volume/later; touch /volume/x 2>/dev/null || echo refused')).toBe(
          'seen at once\nrefused\n',
        );
        await host().remove(id);
      });

      siltTest('a snapshot is of the root only', async () => {
        const id = await host().startContainer(undefined, { flags: flags() });
        await shell(host(), id, 'echo x > /volume/in-volume; echo x > /root/in-root');
        const { names } = await snapshot(host(), id, 'all.tar');
        expect(names).toContain('root/in-root');
        expect(names.filter((name) => name.includes('in-volume'))).toEqual([]);
        await host().remove(id);
      });
    },
  );
}
