/** `--overlay2=root:self` and `root:dir=…`: a container's upper in a file of the host's disk, which the application cannot find. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'; // prettier-ignore
import { join } from 'node:path';
import { commandLineSuite, containerdSuite, mustRun, siltTest, waitFor, type Containerd } from '../harness';
import { engineUpper, mountOverlay, overlayFlags, snapshot } from './overlay';

const FILESTORES = '.silt.filestores';

/** The loop devices in use, by number, with what the kernel says of their files. */
function loops(): Map<string, string> {
  const found = new Map<string, string>();
  for (const name of readdirSync('/sys/block').filter((one) => one.startsWith('loop'))) {
    const path = `/sys/block/${name}/loop/backing_file`;
    if (existsSync(path)) found.set(name, readFileSync(path, 'utf8').trim());
  }
  return found;
}

async function filestoreOf(host: Containerd, id: string): Promise<string> {
  return join(await engineUpper(host, id), FILESTORES, id);
}

async function shell(host: Containerd, id: string, script: string): Promise<string> {
  const { stdout, stderr } = await host.exec(id, ['sh', '-c', script]);
  return stdout.toString() + stderr;
}

for (const userns of ['none', 'auto'] as const) {
  containerdSuite(
    `overlay2=root:self, user namespaces ${userns}`,
    { userns, overlay2: 'root:self', onlyPeer: 'system' },
    (host) => {
      let before: Map<string, string>;
      beforeAll(() => (before = loops()));

      siltTest('writes go to a sparse file in the container’s own directory of the host', async () => {
        const id = await host().startContainer();
        const file = await filestoreOf(host(), id);
        expect(statSync(file).size).toBeGreaterThan(2 ** 30);
        expect(statSync(file).mode & 0o777).toBe(0o600);
        expect(statSync(file).blocks * 512).toBeLessThan(2 ** 20);
        await shell(host(), id, 'dd if=/dev/zero bs=1M count=20 of=/big; echo x > /root/x; sync');
        expect(statSync(file).blocks * 512).toBeGreaterThan(20 << 20);
        expect(readdirSync(await engineUpper(host(), id))).toEqual([FILESTORES]);
        // What a kubelet asks for: the usage of the container's snapshot.
        const usage = (await host().mustCtr(['snapshots', 'usage', '-b', id])).stdout.toString();
        expect(Number(/^\S+\s+(\d+)/m.exec(usage.split('\n')[1]!)?.[1])).toBeGreaterThan(20 << 20);
        const upper = await engineUpper(host(), id);
        await host().mustCtr(['tasks', 'kill', '--signal', 'SIGKILL', id]);
        await host().mustCtr(['tasks', 'delete', '--force', id]);
        expect(readdirSync(upper)).toEqual([]);
        await host().remove(id);
      });

      siltTest('the application cannot find the file', async () => {
        const id = await host().startContainer();
        const inode = statSync(await filestoreOf(host(), id)).ino;
        const name = `/${FILESTORES}/${id}`;
        const script = [
          'ls -a / | grep silt',
          `ls ${name} /../..${name}`,
          `head -c 1 ${name}`,
          `stat ${name}`,
          `ls -a /${FILESTORES}`,
          `ln ${name} /linked`,
          `find / -xdev -inum ${inode}`,
          'find / -xdev -name "*silt*"',
          'find / -xdev -size +100000000c',
          'grep -i silt /proc/mounts /proc/self/mountinfo',
          'cat /sys/block/loop*/loop/backing_file | grep -e silt -e snap',
          'grep -r silt /sys/block/loop*/loop/ 2> /dev/null',
        ];
        const seen = await shell(host(), id, `${script.join('; ')}; true`);
        expect(seen.split('\n').filter((line) => line !== '' && !line.includes('No such file'))).toEqual([]);
        await host().remove(id);
      });

      siltTest('the application may have a file of that name of its own, and does not reach the other', async () => {
        const id = await host().startContainer();
        const name = `/${FILESTORES}`;
        const size = statSync(await filestoreOf(host(), id)).size;
        expect(
          await shell(
            host(),
            id,
            `echo mine > ${name}; cat ${name}; rm ${name}; ls ${name} 2> /dev/null; mkdir ${name}; ls -a / | grep -c silt`,
          ),
        ).toBe('mine\n1\n');
        expect(statSync(await filestoreOf(host(), id)).size).toBe(size);
        await host().remove(id);
      });

      siltTest('is full when its size is reached, and says so', async () => {
        const id = await host().startContainer(['sleep', '1000'], { flags: overlayFlags('root:self,size=16m') });
        expect(statSync(await filestoreOf(host(), id)).size).toBe(16 << 20);
        expect(await shell(host(), id, 'dd if=/dev/zero of=/big bs=1M count=20')).toContain('No space left');
        expect(await shell(host(), id, 'rm /big; echo again > /small; cat /small')).toBe('again\n');
        await host().remove(id);
      });

      siltTest('what was in it cannot be read by whoever has its blocks or its loop device next', async () => {
        const secret = `of a container that is gone ${Date.now()}`;
        const holds = (path: string): boolean => {
          const { status } = spawnSync('grep', ['-q', '-a', '-F', '-m', '1', secret, path]);
          if (status !== 0 && status !== 1) throw new Error(`grep ${path}: ${status}`);
          return status === 0;
        };
        // Small enough to be read whole.
        const flags = overlayFlags('root:self,size=64m');
        const id = await host().startContainer(['sleep', '1000'], { flags });
        const file = await filestoreOf(host(), id);
        const mine = [...loops()].find(([, path]) => path.includes(id))?.[0];
        await shell(host(), id, `yes "${secret}" | head -c 8000000 > /secret; sync`);
        expect([holds(file), mine === undefined || holds(`/dev/${mine}`)]).toEqual([true, true]);
        await host().remove(id);
        if (mine !== undefined) {
          await waitFor('the loop device to be free', () => !loops().get(mine)?.includes(id));
          // It may be another container's by now.
          expect(loops().has(mine) || !holds(`/dev/${mine}`)).toBe(true);
        }
        const next = await host().startContainer(['sleep', '1000'], { flags });
        expect(holds(await filestoreOf(host(), next))).toBe(false);
        await host().remove(next);
        // Blocks that the disk hands out without writing to them.
        const space = join(host().directory, 'allocated');
        await mustRun(['fallocate', '-l', '32M', space]);
        expect([statSync(space).blocks * 512 >= 32 << 20, holds(space)]).toEqual([true, false]);
        rmSync(space);
      });

      siltTest('leaves no loop device', async () => {
        await waitFor('the loop devices to be free', () => [...loops().keys()].every((name) => before.has(name)), {
          timeoutMs: 10_000,
        });
      });
    },
  );
}

containerdSuite('overlay2=root:dir=…', { onlyPeer: 'system' }, (host) => {
  siltTest('the file in the operator’s directory never has a name, and goes with the container', async () => {
    const directory = join(host().directory, 'filestores');
    mkdirSync(directory);
    const flags = overlayFlags(`root:dir=${directory},size=64m`);
    const before = loops();
    const id = await host().startContainer(['sleep', '1000'], { flags });
    expect(readdirSync(directory)).toEqual([]);
    expect(await shell(host(), id, 'echo x > /x; cat /x; df -P / | tail -1 | grep -o "^overlay *[0-9]*"')).toMatch(
      /^x\noverlay +[56]\d{4}\n$/,
    );
    expect(readdirSync(await engineUpper(host(), id))).toEqual([]);
    expect(await shell(host(), id, `cat /sys/block/loop*/loop/backing_file | grep ${directory}`)).toBe('');
    const { names } = await snapshot(host(), id, 'dir.tar');
    expect(names).toEqual(['', 'x']);
    await host().remove(id);
    await waitFor('the loop device to be free', () => [...loops().keys()].every((name) => before.has(name)), {
      timeoutMs: 10_000,
    });
  });

  siltTest('a directory that is not there is named', async () => {
    const result = await host().run(['true'], { flags: overlayFlags('root:dir=/no/such/directory') });
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('cannot make a filestore in /no/such/directory: ENOENT');
  });
});

commandLineSuite('containers that have one root filesystem', (host) => {
  const roots = {
    'a directory': () => Promise.resolve({ root: host().rootfs }),
    'an overlay mounted by hand': () => mountOverlay(host()),
  };
  const cases = Object.entries(roots).flatMap(([what, make]) =>
    ['none', 'auto'].map((userns) => [what, userns, make] as const),
  );
  test.each(cases)(
    '%s, do not see each other’s filestores, whoever came first, user namespaces %s',
    async (_what, userns, make) => {
      const { root: rootfs, unmount } = { unmount: () => Promise.resolve(), ...(await make()) };
      const start = async (mode: string): Promise<string> => {
        const id = host().newId();
        await host().silt.must([`--userns=${userns}`, `--overlay2=${mode}`, 'run', '--detach', '--bundle', host().sleeper({ rootfs }), id]); // prettier-ignore
        return id;
      };
      const ids: string[] = [];
      try {
        for (const mode of ['root:memory', 'root:self', 'root:self']) ids.push(await start(mode));
        expect(readdirSync(join(rootfs, FILESTORES)).sort()).toEqual(ids.slice(1).sort());
        for (const id of ids) {
          const look = `ls -a / | grep silt; ls /${FILESTORES} /${FILESTORES}/${ids[1]} 2> /dev/null; mkdir /${FILESTORES} && ls /${FILESTORES}`;
          const seen = await host().silt.run(['exec', id, 'sh', '-c', look]);
          expect([seen.code, seen.stdout.toString()]).toEqual([0, '']);
        }
        await host().silt.must(['delete', '--force', ids[1]!]);
        expect(readdirSync(join(rootfs, FILESTORES))).toEqual([ids[2]]);
        for (const id of [ids[0]!, ids[2]!]) await host().silt.must(['delete', '--force', id]);
        expect(existsSync(join(rootfs, FILESTORES))).toBe(false);
      } finally {
        for (const id of ids) await host().silt.run(['delete', '--force', id]);
        await unmount();
      }
    },
  );

  test.each(['a link', 'a link that leads nowhere', 'a file'])(
    '%s of the image in place of the filestores is refused',
    async (what) => {
      const [away, place] = [join(host().directory, 'away'), join(host().rootfs, FILESTORES)];
      mkdirSync(away);
      if (what === 'a file') writeFileSync(place, 'of the image');
      else symlinkSync(what === 'a link' ? away : join(away, 'nothing'), place);
      const words = ['--overlay2=root:self', 'run', '--bundle', host().bundle(['true']), host().newId()];
      const { code, stderr } = await host().silt.run(words);
      expect([code, stderr]).toEqual([
        1,
        expect.stringContaining(`cannot make a filestore in ${host().rootfs}: ${FILESTORES} there is no directory`),
      ]);
      expect(readdirSync(away)).toEqual([]);
      rmSync(place);
      rmSync(away, { recursive: true });
    },
  );
});
