/** `--overlay2=none`: what a container writes reaches the engine's own upper, where the engine finds it. */
import { existsSync, lstatSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import {
  commandLineSuite,
  containerdSuite,
  deleteTask,
  readTar,
  siltTest,
  tarArchive,
  waitFor,
  type CommandResult,
} from '../harness';
import { annotation, engineUpper, mountOverlay, seedEntries, seedFlags, snapshot } from './overlay';

for (const userns of ['none', 'auto'] as const) {
  containerdSuite(`overlay2=none, user namespaces ${userns}`, { userns, overlay2: 'none' }, (host) => {
    siltTest('writes, deletions and owners reach the engine’s upper', async () => {
      const id = await host().startContainer();
      const script =
        'echo new > /root/new && chown 7:8 /root/new && rm /etc/group && rm -r /lower/replaced && mkdir /lower/replaced';
      expect(await host().exec(id, ['sh', '-c', script])).toMatchObject({ code: 0, stderr: '' });
      const upper = await engineUpper(host(), id);
      expect(readFileSync(join(upper, 'root/new'), 'utf8')).toBe('new\n');
      expect(statSync(join(upper, 'root/new'))).toMatchObject({ uid: 7, gid: 8 });
      expect(lstatSync(join(upper, 'etc/group'))).toMatchObject({ rdev: 0, uid: 0 });
      expect(lstatSync(join(upper, 'etc/group')).isCharacterDevice()).toBe(true);
      await host().remove(id);
    });

    siltTest('an image made of the container has what it wrote', async () => {
      const id = await host().startContainer();
      await host().exec(id, ['sh', '-c', 'echo committed > /root/file']);
      const { stdout } = await host().mustCtr(['snapshots', 'diff', id]);
      expect(gunzipSync(stdout).includes('committed\n')).toBe(true);
      await host().remove(id);
    });

    siltTest('a snapshot holds it, and another container starts from that', async () => {
      const id = await host().startContainer();
      await host().exec(id, ['sh', '-c', 'echo one > /root/one; chown 3:4 /root/one; rm /etc/group']);
      const { path, names } = await snapshot(host(), id, `none-${userns}.tar`);
      expect(names).toEqual(['', 'etc', 'etc/group', 'root', 'root/one']);
      const result = await host().run(['sh', '-c', 'cat /root/one; stat -c %u:%g /root/one; ls /etc/group'], {
        flags: ['--annotation', `${annotation}=${path}`],
      });
      expect(result.stdout.toString()).toBe('one\n3:4\n');
      expect(result.stderr).toContain('/etc/group');
      await host().remove(id);
    });

    siltTest('a seed goes to the engine’s upper, deletions and replaced directories with it', async () => {
      const path = join(host().seeds, 'none-seed.tar');
      writeFileSync(path, tarArchive(seedEntries));
      const id = await host().startContainer(['sleep', '1000'], { flags: seedFlags(path) });
      const seen = await host().exec(id, [
        'sh',
        '-c',
        'cat /srv/data; stat -c %u:%g /srv/data; ls /lower/replaced; ls /etc/group',
      ]);
      expect(seen.stdout.toString()).toBe('seeded\n1000:2000\nnew\n');
      const upper = await engineUpper(host(), id);
      expect(statSync(join(upper, 'srv/data'))).toMatchObject({ uid: 1000, gid: 2000 });
      expect(existsSync(join(upper, 'lower/replaced/new'))).toBe(true);
      await host().remove(id);
    });

    siltTest('a task that is started again goes on with what it wrote to its seed, and an image has both', async () => {
      const path = join(host().seeds, 'again-seed.tar');
      writeFileSync(path, tarArchive(seedEntries));
      const id = await host().startContainer(['sleep', '1000'], { flags: seedFlags(path) });
      await host().exec(id, ['sh', '-c', 'echo changed > /srv/data; rm /lower/replaced/new']);
      await deleteTask(host(), id);
      await host().mustCtr(['tasks', 'start', '--detach', id]);
      const seen = await host().exec(id, [
        'sh',
        '-c',
        'cat /srv/data; stat -c %u:%g /srv/data; ls /lower/replaced /etc/group',
      ]);
      expect(seen).toMatchObject({ code: 1, stderr: expect.stringContaining('/etc/group') as string });
      expect(seen.stdout.toString()).toBe('changed\n1000:2000\n/lower/replaced:\n');
      const image = gunzipSync((await host().mustCtr(['snapshots', 'diff', id])).stdout);
      const names = readTar(image).map(({ name }) => name);
      expect(names).toEqual(expect.arrayContaining(['etc/.wh.group', 'srv/data']));
      expect(names).not.toContain('lower/replaced/new');
      // What silt has noted about it stays with the host.
      expect((await snapshot(host(), id, 'again.tar')).names).toContain('srv/data');
      expect(readFileSync(join(host().seeds, 'again.tar')).includes('trusted.silt')).toBe(false);
      await host().remove(id);
    });

    siltTest(
      'a task that is started again with another archive in place of its seed goes on, and that is told',
      async () => {
        const path = join(host().seeds, 'replaced.tar');
        writeFileSync(path, tarArchive(seedEntries));
        const id = await host().startContainer(['sleep', '1000'], { flags: seedFlags(path) });
        await host().exec(id, ['sh', '-c', 'echo changed > /srv/data']);
        const told = (): number => host().log().split(`the seed ${path} is now another archive`).length - 1;
        const restart = async (): Promise<string> => {
          await deleteTask(host(), id);
          await host().mustCtr(['tasks', 'start', '--detach', id]);
          return (await host().exec(id, ['cat', '/srv/data'])).stdout.toString();
        };
        expect([await restart(), told()]).toEqual(['changed\n', 0]);
        // Its own snapshot, saved over the seed that it came from.
        await snapshot(host(), id, 'replaced.tar');
        expect(await restart()).toBe('changed\n');
        await waitFor('that to be told', () => told() === 1);
        await host().remove(id);
      },
    );

    for (const access of ['exclusive', 'shared'])
      siltTest(
        `with file-access=${access} what the host changes in the root is seen at once, and the other way round`,
        async () => {
          const id = await host().startContainer(undefined, {
            flags: ['--annotation', `dev.gvisor.flag.file-access=${access}`],
          });
          const upper = await engineUpper(host(), id);
          await host().exec(id, ['sh', '-c', 'echo old > /root/shared']);
          expect(readFileSync(join(upper, 'root/shared'), 'utf8')).toBe('old\n');
          writeFileSync(join(upper, 'root/shared'), 'from the host\n');
          // Nothing has looked for this name in vain, see docs/filesystem.md.
          writeFileSync(join(upper, 'root/made'), 'made there\n');
          expect((await host().exec(id, ['cat', '/root/shared', '/root/made'])).stdout.toString()).toBe('from the host\nmade there\n'); // prettier-ignore
          await host().remove(id);
        },
      );

    siltTest('an annotation of the container goes before the configuration', async () => {
      const id = await host().startContainer(['sleep', '1000'], {
        flags: ['--annotation', 'dev.gvisor.flag.overlay2=root:memory'],
      });
      await host().exec(id, ['sh', '-c', 'echo x > /root/x']);
      expect(existsSync(join(await engineUpper(host(), id), 'root/x'))).toBe(false);
      await host().remove(id);
    });
  });
}

commandLineSuite('overlay2=none, a root filesystem that is a directory', (host) => {
  siltTest('is not seeded, and what a seed would take away stays', async () => {
    const archive = join(host().directory, 'seed.tar');
    writeFileSync(archive, tarArchive(seedEntries));
    const bundle = host().bundle(['true'], { annotations: { [annotation]: archive } });
    const flags = ['--overlay2=none', '--userns=none'];
    const { code, stderr } = await host().silt.run([...flags, 'run', '--bundle', bundle, host().newId()]);
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/the seed \S+ needs an upper, .*; choose another overlay2 \(SEED_REFUSED\)/) as string,
    ]);
    expect(existsSync(join(host().rootfs, 'srv/data'))).toBe(false);
  });
});

commandLineSuite('overlay2=none, an overlay mounted by hand, in a pod with a user namespace', (host) => {
  siltTest('is found wanting before it is seeded, with the words that it has without a seed', async () => {
    const { root, upper, unmount } = await mountOverlay(host());
    const archive = join(host().directory, 'mapped.tar');
    writeFileSync(archive, tarArchive(seedEntries));
    const id = host().newId();
    const run = async (annotations: Record<string, string>): Promise<CommandResult> => {
      const bundle = host().bundle(['true'], { annotations, rootfs: root });
      return host().silt.run(['--overlay2=none', '--userns=auto', 'run', '--bundle', bundle, id]);
    };
    try {
      const without = await run({});
      const seeded = await run({ [annotation]: archive });
      // Where overlays can be idmapped, both run.
      expect(seeded).toMatchObject({ code: without.code, stderr: without.stderr });
      expect(existsSync(join(upper, 'srv/data'))).toBe(without.code === 0);
      if (without.code !== 0) expect(without.stderr).toContain(`${root} cannot be used in a pod with a user namespace`);
    } finally {
      await unmount();
    }
  });
});
