/** What a container had when it was saved, the restored one has. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { checkpointCommandSuite, mustRun, openFiles, testIf, waitFor } from '../harness';
import { findProgram } from '../harness/peers';

const waiter = ['sh', '-c', 'echo here > /here; while [ ! -e /go ]; do sleep 0.02; done; exit 7'];

/** All but that of mounts, which with a user namespace is a copy in the end. */
const NAMESPACES = ['cgroup', 'ipc', 'net', 'pid', 'user', 'uts'];

checkpointCommandSuite('a restored container', (host) => {
  async function save(bundle: string, flags: readonly string[] = [], userns = 'auto'): Promise<string> {
    const id = host().newId();
    const image = join(host().directory, `image-${id}`);
    await host().silt.must([`--userns=${userns}`, 'run', '--detach', '--bundle', bundle, id]);
    await waitFor('it to run', async () => (await host().silt.run(['exec', id, 'cat', '/here'])).code === 0);
    await host().silt.must(['checkpoint', '--image-path', image, ...flags, id]);
    await host().silt.must(['delete', id]);
    return image;
  }

  const restore = (bundle: string, image: string, id: string): Promise<string> =>
    host().silt.must(['restore', '--detach', '--bundle', bundle, '--image-path', image, id]);

  test('has the limits of its cgroup and its environment', async () => {
    const process = { env: ['PATH=/bin', 'KEPT=of the checkpoint'] };
    const limited = (memory: number, pids: number, quota: number): string =>
      host().bundle(waiter, {
        process,
        linux: { resources: { memory: { limit: memory }, pids: { limit: pids }, cpu: { quota, period: 100_000 } } },
      });
    const same = limited(64 << 20, 50, 40_000);
    const image = await save(same);
    for (const [bundle, memory, pids, cpu] of [
      [same, 64 << 20, 50, 40_000],
      // The spec of the restore is what counts.
      [limited(80 << 20, 60, 30_000), 80 << 20, 60, 30_000],
    ] as const) {
      const id = host().newId();
      await restore(bundle, image, id);
      const pid = (JSON.parse(await host().silt.must(['state', id])) as { pid: number }).pid;
      expect(limitOf(pid, 'memory', ['memory.limit_in_bytes', 'memory.max'])).toBe(memory);
      expect(limitOf(pid, 'pids', ['pids.max'])).toBe(pids);
      expect(limitOf(pid, 'cpu', ['cpu.cfs_quota_us', 'cpu.max'])).toBe(cpu);
      expect(readFileSync(`/proc/${pid}/environ`, 'latin1')).toContain('KEPT=of the checkpoint\0');
      await host().silt.must(['delete', '--force', id]);
    }
  }, 120_000);

  test('ends as its program does, seen by who waits for it', async () => {
    const bundle = host().bundle(waiter);
    const image = await save(bundle, ['--file-locks', '--compression', 'none']);
    const id = host().newId();
    const work = join(host().directory, 'work');
    const waiting = host().silt.start(['restore', '--bundle', bundle, '--work-path', work, '--image-path', image, id]);
    await waitFor('it to go on', async () => (await host().silt.run(['exec', id, 'cat', '/here'])).code === 0);
    await host().silt.must(['exec', id, 'sh', '-c', ': > /go']);
    expect(await waiting.ended).toMatchObject({ code: 7 });
    expect(readFileSync(join(work, 'restore.log'), 'utf8')).toContain('Running post-resume scripts');
  }, 60_000);

  test('has its pid in the pid file, and its exit status for who waits for it afterwards', async () => {
    const bundle = host().bundle(waiter);
    const image = await save(bundle);
    const id = host().newId();
    const pidFile = join(host().directory, 'restored.pid');
    const flags = ['--detach', '--pid-file', pidFile, '--bundle', bundle, '--image-path', image];
    await host().silt.must(['restore', ...flags, id]);
    const { pid } = JSON.parse(await host().silt.must(['state', id])) as { pid: number };
    expect(readFileSync(pidFile, 'utf8')).toBe(`${pid}`);
    const waiting = host().silt.start(['wait', id]);
    await waitFor('wait to hold the process', () =>
      [...openFiles(waiting.child.pid!).values()].some((file) => /pidfd/.test(file)),
    );
    await host().silt.must(['exec', id, 'sh', '-c', ': > /go']);
    expect((await waiting.ended).stdout.toString()).toBe(`${JSON.stringify({ id, exitStatus: 7 })}\n`);
    await host().silt.must(['delete', id]);
  }, 60_000);

  const both = ['err line', 'out line'];

  /** Each runs `"$@"` with streams of a kind, one line of input on its way, and prints what comes out of it. */
  const streams: readonly (readonly [kind: string, commands: string, lines: readonly string[]])[] = [
    ['pipes', `printf 'line\\n' | "$@" 2>&1 | cat`, both],
    ['files', `printf 'line\\n' > in; "$@" < in > out 2> err; cat out err`, both],
    ['fifos', `mkfifo o e; cat o & cat e & printf 'line\\n' | "$@" > o 2> e; wait`, both],
    ['no input, a log', `printf 'before\\n' > log; "$@" < /dev/null >> log 2>&1; cat log`, ['before']],
    ['no output', `printf 'line\\n' | "$@" > /dev/null 2> /dev/null; echo $?`, ['7']],
  ];

  test('has the streams of its restore, of whatever kind they and those before are', async () => {
    const script = 'echo here > /here; while read word; do echo "out $word"; echo "err $word" >&2; done; exit 7';
    const bundle = host().bundle(['sh', '-c', script]);
    for (const [kind, commands, lines] of streams) {
      const place = join(host().directory, kind);
      mkdirSync(place);
      const id = host().newId();
      const image = join(place, 'image');
      const before = host().silt.words(['run', '--detach', '--bundle', bundle, id]);
      // A pipe whose writer has ended is one that can be read no more: this one is open for both.
      const start = `mkfifo in0; "$@" <> in0 ${kind === 'files' ? '> out0 2> err0' : '2>&1 | sleep 0'}`;
      await mustRun(['sh', '-c', start, 'sh', ...before], { env: host().environment, cwd: place });
      await waitFor('it to run', async () => (await host().silt.run(['exec', id, 'cat', '/here'])).code === 0);
      await host().silt.must(['checkpoint', '--image-path', image, id]);
      await host().silt.must(['delete', id]);
      const restore = host().silt.words(['restore', '--bundle', bundle, '--image-path', image, host().newId()]);
      const words = ['sh', '-c', commands, 'sh', ...restore];
      const { stdout } = await mustRun(words, { env: host().environment, cwd: place });
      expect([kind, stdout.toString().split('\n').filter(Boolean).sort()]).toEqual([kind, lines]);
    }
  }, 120_000);

  test('takes the place of one that was created, which is restored instead of started', async () => {
    const bundle = host().bundle(waiter);
    const image = await save(bundle);
    const id = host().newId();
    await host().silt.must(['create', '--bundle', bundle, id]);
    await host().silt.must(['restore', '--detach', '--image-path', image, id]);
    expect(await host().silt.must(['exec', id, 'cat', '/here'])).toBe('here\n');
    await host().silt.must(['delete', '--force', id]);
  }, 60_000);

  test('comes from a checkpoint of format 1 as well', async () => {
    const bundle = host().bundle(waiter);
    const image = await save(bundle);
    asFormat1(image);
    const id = host().newId();
    await restore(bundle, image, id);
    expect(await host().silt.must(['exec', id, 'cat', '/here'])).toBe('here\n');
    await host().silt.must(['delete', '--force', id]);
  }, 60_000);

  test('has as many processes as it had, of which few files were open at a time', async () => {
    const many = 200;
    const script = `i=0; while [ $i -lt ${many} ]; do i=$((i+1)); sleep 1000 & done; echo here > /here; wait`;
    const bundle = host().bundle(['sh', '-c', script]);
    const id = host().newId();
    await host().silt.must(['run', '--detach', '--bundle', bundle, id]);
    await waitFor('it to run', async () => (await host().silt.run(['exec', id, 'cat', '/here'])).code === 0);
    const image = join(host().directory, 'image-of-many');
    // There are several files for each process: more than may be open.
    const words = host().silt.words(['checkpoint', '--image-path', image, id]);
    await mustRun(['prlimit', '--nofile=600:600', ...words], { env: host().environment, timeoutMs: 60_000 });
    expect(readdirSync(image).length).toBeGreaterThan(5 * many);
    await host().silt.must(['delete', id]);
    const restored = host().newId();
    await restore(bundle, image, restored);
    const listing = await host().silt.must(['ps', restored]);
    expect(listing.split('\n').filter((line) => line.endsWith('sleep 1000'))).toHaveLength(many);
    await host().silt.must(['delete', '--force', restored]);
  }, 120_000);

  test('has the user namespace of the spec’s own mappings', async () => {
    const maps = [
      { containerID: 0, hostID: 231_072, size: 1000 },
      { containerID: 1000, hostID: 300_000, size: 64_536 },
    ];
    const namespaces = ['pid', 'network', 'ipc', 'uts', 'mount', 'user'].map((type) => ({ type }));
    const changes = { namespaces, linux: { uidMappings: maps, gidMappings: maps } };
    const script = 'busybox chown 1000:1000 /tmp; echo here > /here; while [ ! -e /go ]; do sleep 0.02; done; exit 7';
    const bundle = host().bundle(['sh', '-c', script], changes);
    const image = await save(bundle);
    const id = host().newId();
    await restore(bundle, image, id);
    const { pid } = JSON.parse(await host().silt.must(['state', id])) as { pid: number };
    const inForce = (file: string): number[][] =>
      readFileSync(`/proc/${pid}/${file}`, 'utf8')
        .trim()
        .split('\n')
        .map((line) => line.trim().split(/\s+/).map(Number));
    const given = maps.map(({ containerID, hostID, size }) => [containerID, hostID, size]);
    expect([inForce('uid_map'), inForce('gid_map')]).toEqual([given, given]);
    expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toContain('Uid:\t231072\t231072\t231072\t231072\n');
    expect(statSync(`/proc/${pid}/root/here`)).toMatchObject({ uid: 231_072, gid: 231_072 });
    expect(statSync(`/proc/${pid}/root/tmp`)).toMatchObject({ uid: 300_000, gid: 300_000 });
    expect(await host().silt.must(['exec', id, 'busybox', 'stat', '-c', '%u', '/here', '/tmp'])).toBe('0\n1000\n');
    await host().silt.must(['delete', '--force', id]);
  }, 60_000);

  testIf(findProgram('strace') !== undefined, 'no strace on this machine')(
    'is on disk, file by file, before its list is and it has its name',
    async () => {
      const { silt, directory, environment } = host();
      const id = host().newId();
      await silt.must(['run', '--detach', '--bundle', host().bundle(waiter), id]);
      // What CRIU finds out of the kernel, once, it finds out by tracing, which who is traced by strace cannot.
      await silt.must(['checkpoint', '--leave-running', '--image-path', join(directory, 'synced/first'), id]);
      const image = join(directory, 'synced/image');
      const trace = join(directory, 'trace');
      const strace = ['strace', '-f', '-y', '-e', 'signal=none', '-e', 'trace=fsync,rename', '-o', trace];
      const words = silt.words(['checkpoint', '--image-path', image, id]);
      await mustRun([...strace, ...words], { env: environment, timeoutMs: 60_000 });
      await silt.must(['delete', id]);
      const events = synced(readFileSync(trace, 'utf8'), dirname(image));
      const files = readdirSync(image).filter((name) => name !== 'checkpoint.json');
      const all = events.slice(0, files.length);
      expect(all.sort()).toEqual(files.sort());
      expect(events.slice(files.length)).toEqual(['checkpoint.json', 'the directory', 'renamed', 'the one above']);
    },
    60_000,
  );

  test('comes from a checkpoint that is not compressed: another way is refused', async () => {
    const { code, stderr } = await host().silt.run(['checkpoint', '--compression', 'flate-best-speed', 'nobody']);
    expect(code).not.toBe(0);
    expect(stderr).toContain('A checkpoint is not compressed');
  });

  test.each(['auto', 'none'])(
    'has had its createContainer hooks, in the host’s tree beside the root that is built, userns = "%s"',
    async (userns) => {
      const { silt, directory, rootfs } = host();
      const log = join(directory, `hooks-${userns}`);
      const given = join(directory, 'given');
      writeFileSync(given, 'of the hook\n');
      mkdirSync(join(rootfs, 'etc'), { recursive: true });
      writeFileSync(join(rootfs, 'etc/given'), 'of the image\n');
      // Its working directory is the root filesystem; what it leaves running is ended.
      const script = `mount --bind ${given} etc/given; sleep 1001 < /dev/null > /dev/null 2>&1 & echo ran >> ${log}`;
      const hook = { path: '/bin/sh', args: ['sh', '-ec', script], env: ['PATH=/usr/bin:/bin:/usr/sbin'] };
      const program = ['sh', '-c', 'echo here > /here; sleep 1000'];
      // A container with mounts of a hook's is not saved: nobody knows that they are not its own.
      const image = await save(host().bundle(program), [], userns);
      const bundle = host().bundle(program, { hooks: { createContainer: [hook] } });
      const id = host().newId();
      const words = [`--userns=${userns}`, 'restore', '--detach', '--bundle', bundle, '--image-path', image, id];
      await silt.must(words);
      expect(await silt.must(['exec', id, 'cat', '/etc/given'])).toBe('of the hook\n');
      expect(readFileSync(log, 'utf8')).toBe('ran\n');
      const running = await silt.must(['exec', id, 'busybox', 'ps', '-o', 'args']);
      expect([running.includes('sleep 1000'), running.includes('sleep 1001')]).toEqual([true, false]);
      await silt.must(['delete', '--force', id]);
    },
  );

  // What nvidia's hook does: by the pid into the mount namespace, where the root is built.
  test.each(['auto', 'none'])(
    'has had its prestart and createRuntime hooks, with a pid in its namespaces and its cgroup, userns = "%s"',
    async (userns) => {
      const { silt, directory, rootfs } = host();
      mkdirSync(join(rootfs, 'etc'), { recursive: true });
      const hooks = Object.fromEntries(
        ['prestart', 'createRuntime'].map((kind) => {
          const log = join(directory, `${kind}-${userns}`);
          writeFileSync(join(directory, `of-${kind}`), `of ${kind}\n`);
          writeFileSync(join(rootfs, `etc/${kind}`), 'of the image\n');
          const script = [
            `pid=$(sed 's/.*"pid":\\([0-9]*\\).*/\\1/')`,
            `sed -n '/^CapEff\\|^Seccomp:/p' /proc/$pid/status > ${log}; ls /proc/$pid/fd >> ${log}`,
            `cat /proc/$pid/cgroup >> ${log}`,
            `for kind in ${NAMESPACES.join(' ')}; do readlink /proc/$pid/ns/$kind; done >> ${log}`,
            `nsenter --mount=/proc/$pid/ns/mnt mount --bind ${directory}/of-${kind} ${rootfs}/etc/${kind}`,
          ].join('; ');
          return [kind, [{ path: '/bin/sh', args: ['sh', '-ec', script], env: ['PATH=/usr/bin:/bin:/usr/sbin'] }]];
        }),
      );
      // Its second process has the pid that silt's own might have had.
      const program = ['sh', '-c', 'sleep 1000 & sleep 1000 & sleep 1000 & echo here > /here; wait'];
      const image = await save(host().bundle(program), [], userns);
      const id = host().newId();
      const bundle = host().bundle(program, { hooks });
      await silt.must([`--userns=${userns}`, 'restore', '--detach', '--bundle', bundle, '--image-path', image, id]);
      expect(await silt.must(['exec', id, 'cat', '/etc/prestart', '/etc/createRuntime'])).toBe(
        'of prestart\nof createRuntime\n',
      );
      const { pid } = JSON.parse(await silt.must(['state', id])) as { pid: number };
      const links = NAMESPACES.map((kind) => `${readlinkSync(`/proc/${pid}/ns/${kind}`)}\n`);
      const nothing = 'CapEff:\t0000000000000000\nSeccomp:\t2\n';
      const where = nothing + readFileSync(`/proc/${pid}/cgroup`, 'utf8') + links.join('');
      for (const kind of ['prestart', 'createRuntime'])
        expect(readFileSync(join(directory, `${kind}-${userns}`), 'utf8')).toBe(where);
      expect(JSON.parse(await silt.must(['ps', '--format', 'json', id]))).toHaveLength(4);
      await silt.must(['delete', '--force', id]);
    },
  );
});

/** What strace has seen to be on disk, or renamed, below `parent`, in the order in which that was done. */
function synced(trace: string, parent: string): string[] {
  const begun = new Map<string, string>();
  return trace.split('\n').flatMap((line) => {
    const [, pid = '', path, rest = ''] =
      /^(\d+) +(?:fsync\(\d+<(.*?)>|rename\("(?:.*)", "(?:.*)"|<\.\.\.)(.*)$/.exec(line) ?? [];
    if (line.includes(' rename("')) return line.includes(`"${parent}/image") = 0`) ? ['renamed'] : [];
    if (path !== undefined) begun.set(pid, path);
    const ended = begun.get(pid);
    if (ended === undefined || !/ = 0$/.test(rest)) return [];
    begun.delete(pid);
    if (ended === parent) return ['the one above'];
    if (!ended.startsWith(`${parent}/`)) return [];
    const [, name] = ended.slice(parent.length + 1).split('/');
    return [name ?? 'the directory'];
  });
}

/** CRIU's images in a directory of their own. */
function asFormat1(image: string): void {
  const path = join(image, 'checkpoint.json');
  const manifest = JSON.parse(readFileSync(path, 'utf8').split('\n').slice(0, -2).join('\n')) as {
    version: number;
    files: { path: string; chunk: number; gmac?: string[]; sha256?: string[] }[];
  };
  mkdirSync(join(image, 'process'), { mode: 0o755 });
  for (const file of manifest.files.filter((one) => one.path.endsWith('.img'))) {
    const moved = join('process', file.path);
    renameSync(join(image, file.path), join(image, moved));
    file.path = moved;
    if (file.gmac === undefined) continue;
    const bytes = readFileSync(join(image, moved));
    file.sha256 = file.gmac.map((_, i) =>
      createHash('sha256')
        .update(bytes.subarray(i * file.chunk, (i + 1) * file.chunk))
        .digest('hex'),
    );
    delete file.gmac;
  }
  manifest.version = 1;
  const body = JSON.stringify(manifest, undefined, 1);
  writeFileSync(path, `${body}\n${createHash('sha256').update(body).digest('hex')}\n`);
}

/** A limit of the process's cgroup, by the names that the file has in v1 and v2. */
function limitOf(pid: number, controller: string, names: readonly string[]): number {
  const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n');
  const own = lines.find((line) => line.split(':')[1]?.split(',').includes(controller)) ?? lines.find((line) => line.startsWith('0::')); // prettier-ignore
  const path = own!.split(':').slice(2).join(':');
  const files = names.flatMap((name) => [`/sys/fs/cgroup/${controller}${path}/${name}`, `/sys/fs/cgroup${path}/${name}`]); // prettier-ignore
  const text = readFileSync(
    files.find((file) => existsSync(file))!,
    'utf8',
  );
  return Number(text.split(' ')[0]);
}
