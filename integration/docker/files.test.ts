/**
 * Files under Docker: volumes, and what `docker cp`, `diff`, `commit` and a restart see of what a container writes. The latter is as
 * with runc for the runtime that docs/filesystem.md tells to enter for it; with silt's own layer it is not, and that is shown too.
 */
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun, siltTest } from '../harness';
import { dockerSuite, plainRuntime } from '../harness/docker';

dockerSuite('files under docker', {}, (host) => {
  const inside = async (flags: readonly string[], script: string): Promise<string> => {
    const { code, stdout, stderr } = await host().run(...flags, 'busybox', 'sh', '-c', script);
    if (code !== 0) throw new Error(`exit status ${code}: ${stderr}`);
    return stdout.toString();
  };

  describe('volumes', () => {
    let directory = '';
    beforeAll(() => {
      directory = join(host().directory, 'volume');
      mkdirSync(directory);
      writeFileSync(join(directory, 'file'), 'of the host\n');
    });

    test('a directory of the host, to read and write; what is written is the user’s who wrote it', async () => {
      const script = 'cat /v/file; echo written > /v/new; chown 12:34 /v/new; stat -c %u:%g /v/file';
      expect(await inside([`--volume=${directory}:/v`], script)).toBe('of the host\n0:0\n');
      expect(readFileSync(join(directory, 'new'), 'utf8')).toBe('written\n');
      expect(statSync(join(directory, 'new'))).toMatchObject({ uid: 12, gid: 34 });
    });

    test('read-only', async () => {
      await expect(inside([`--volume=${directory}:/v:ro`], 'touch /v/x')).rejects.toThrow(/Read-only file system/);
      expect(await inside([`--mount=type=bind,source=${directory},target=/v,readonly`], 'cat /v/file')).toBe(
        'of the host\n',
      );
    });

    test('a single file', async () => {
      const flags = [`--volume=${join(directory, 'file')}:/etc/one`];
      expect(await inside(flags, 'cat /etc/one')).toBe('of the host\n');
    });

    test('one of docker’s own starts with what the image has there, and is kept', async () => {
      expect(await inside(['--volume=own:/data'], 'cat /data/of-the-image; echo kept > /data/kept')).toBe(
        'of the image\n',
      );
      expect(await inside(['--volume=own:/else'], 'cat /else/kept')).toBe('kept\n');
      await host().must('volume', 'rm', 'own');
    });

    test('--volumes-from another container', async () => {
      const other = await host().background([`--volume=${directory}:/v`]);
      expect(await inside([`--volumes-from=${other}`], 'cat /v/file')).toBe('of the host\n');
      await host().must('rm', '--force', other);
    });

    test('--tmpfs with its options', async () => {
      const script = 'df -k /t | tail -1; stat -c %a /t; grep " /t " /proc/mounts';
      const shown = await inside(['--tmpfs=/t:size=2m,mode=700,noexec'], script);
      expect(shown).toMatch(/^tmpfs +2048 [\s\S]*\n700\ntmpfs \/t tmpfs [^ ]*noexec/);
    });
  });

  describe('what a container writes to its root filesystem', () => {
    const CHANGES =
      'echo new > /new; rm /etc/group; echo more >> /data/of-the-image; mkdir /dir; echo deep > /dir/file';
    const changed = async (runtime: string | undefined): Promise<string> => {
      const id = await host().background([], undefined, runtime);
      await host().shell(id, CHANGES);
      return id;
    };
    const copyOut = async (id: string, path: string): Promise<string> => {
      const { stdout } = await mustRun(host().words(['cp', `${id}:${path}`, '-']), { env: host().environment });
      return (await mustRun(['tar', '-xO'], { stdin: stdout })).stdout.toString();
    };

    describe(`of ${plainRuntime}`, () => {
      let id = '';
      beforeAll(async () => {
        id = await changed(plainRuntime);
      }, 30_000);
      afterAll(() => host().must('rm', '--force', id));

      test('cp copies out of it while it runs, and sees each change', async () => {
        expect(await copyOut(id, '/new')).toBe('new\n');
        await host().shell(id, 'echo newer > /tmp/next; mv /tmp/next /new');
        expect(await copyOut(id, '/new')).toBe('newer\n');
        expect(await copyOut(id, '/dir')).toBe('deep\n');
      });

      test('cp copies into it while it runs, files and directories', async () => {
        const directory = join(host().directory, 'given');
        mkdirSync(directory);
        writeFileSync(join(directory, 'file'), 'given\n');
        await host().must('cp', join(directory, 'file'), `${id}:/etc/given`);
        await host().must('cp', directory, `${id}:/tmp`);
        expect(await host().shell(id, 'cat /etc/given /tmp/given/file')).toBe('given\ngiven\n');
      });

      test('diff lists it', async () => {
        const lines = (await host().must('diff', id)).trim().split('\n');
        expect(lines).toEqual(
          expect.arrayContaining(['A /new', 'D /etc/group', 'C /data/of-the-image', 'A /dir/file']),
        );
      });

      test('commit makes an image of it', async () => {
        await host().must('commit', id, 'committed');
        const { stdout } = await host().run(
          'committed',
          'sh',
          '-c',
          'cat /new /data/of-the-image; ls /etc/group 2>/dev/null || echo gone',
        );
        expect(stdout.toString()).toBe('newer\nof the image\nmore\ngone\n');
        await host().must('rmi', 'committed');
      });

      test('export has it', async () => {
        const { stdout } = await mustRun(host().words(['export', id]), { env: host().environment });
        const names = (await mustRun(['tar', '-t'], { stdin: stdout })).stdout.toString().split('\n');
        expect(names).toEqual(expect.arrayContaining(['new', 'dir/file']));
      });

      siltTest('`silt tar rootfs-upper` saves it, from the overlay that Docker has mounted', async () => {
        const root = join(host().execRoot, `runtime-runc`, 'moby');
        const archive = join(host().directory, 'plain.tar');
        await mustRun(['silt', `--root=${root}`, 'tar', 'rootfs-upper', '--file', archive, id], {
          env: host().environment,
        });
        const lines = (await mustRun(['tar', '-tvf', archive])).stdout.toString().split('\n');
        expect(lines).toContainEqual(expect.stringMatching(/^-rw.* \.\/new$/));
        expect(lines).toContainEqual(expect.stringMatching(/^c.* 0,0 .* \.\/etc\/group$/));
        expect(lines).toContainEqual(expect.stringMatching(/^-rw.* \.\/dir\/file$/));
        expect(lines.filter((line) => line.includes('./bin'))).toEqual([]);
      });

      test('it is there after a restart', async () => {
        await host().must('restart', '--time=0', id);
        expect(await host().shell(id, 'cat /new')).toBe('newer\n');
      });
    });

    describe('with a layer of silt’s', () => {
      let id = '';
      beforeAll(async () => {
        id = await changed(undefined);
      }, 30_000);
      afterAll(() => host().must('rm', '--force', id));

      siltTest('docker sees the image’s files, and none of the changes', async () => {
        expect(await copyOut(id, '/etc/group')).toBe('root:x:0:\nguest:x:1000:\n');
        expect((await host().docker('cp', `${id}:/new`, '-')).stderr).toMatch(/new/);
        expect(await host().must('diff', id)).toBe('');
      });

      siltTest('`silt tar rootfs-upper` saves them, by the container’s id', async () => {
        const root = join(host().execRoot, 'runtime-runc', 'moby');
        const archive = join(host().directory, 'upper.tar');
        await mustRun(['silt', `--root=${root}`, 'tar', 'rootfs-upper', '--file', archive, id], {
          env: host().environment,
        });
        const names = (await mustRun(['tar', '-tf', archive])).stdout.toString().split('\n');
        expect(names).toEqual(expect.arrayContaining(['./new', './etc/group', './dir/file']));
      });

      siltTest('they are gone with a restart', async () => {
        await host().must('restart', '--time=0', id);
        expect(await host().shell(id, 'ls /new 2>&1 || true; cat /etc/group')).toMatch(/No such file[\s\S]*guest/);
      });
    });
  });
});
