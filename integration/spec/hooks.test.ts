/** Hooks (config.md, "POSIX-platform Hooks"): when each runs, where, and what a failing one does. */
import { existsSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  commandLineSuite,
  containerdSuite,
  type Json,
  mustRun,
  shellSpec,
  siltProgram,
  siltTest,
  SpecBench,
  waitFor,
} from '../harness';

const KINDS = ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'] as const;
const STATUS: Json = {
  prestart: 'creating',
  createRuntime: 'creating',
  createContainer: 'creating',
  startContainer: 'created',
  poststart: 'running',
  poststop: 'stopped',
};

// Hooks in the container's namespaces are root of the pod: without user namespaces, so that they may write where the test looks.
containerdSuite('hooks', { userns: 'none', onlyPeer: 'system', besideRunc: true }, (host) => {
  let bench: SpecBench;
  beforeAll(() => {
    bench = new SpecBench(host());
  });

  /** A spec with these hooks; startContainer's path is in the container, where the script is too. */
  const withHooks = (hooks: Json, script = 'echo ran', change: (spec: Json) => void = () => undefined): Json =>
    shellSpec(script, (spec) => {
      spec['hooks'] = hooks;
      change(spec);
    });
  const failing = (kind: string): Json[] => [
    { path: '/bin/true' },
    { path: '/bin/sh', args: ['sh', '-c', `echo out of ${kind}; echo no ${kind} >&2; exit 3`] },
    { path: '/bin/sh', args: ['sh', '-c', 'echo never >> /tmp/never'] },
  ];

  test('all six kinds run in their order, with the container’s state on stdin', async () => {
    const log = join(bench.directory, 'order');
    const hooks: Json = {};
    for (const kind of KINDS) {
      const script = kind === 'startContainer' ? 'cat > /mnt/state' : `{ echo ${kind}; cat; echo; } >> ${log}`;
      hooks[kind] = [{ path: '/bin/sh', args: ['sh', '-c', script], env: ['PATH=/bin:/usr/bin'] }];
    }
    const spec = withHooks(hooks, 'cat /mnt/state', (it) => (it['annotations'] = { 'a.b/c': 'd' }));
    const inside = JSON.parse(await bench.output(spec)) as Json;
    // runc says its own version of the spec.
    const ociVersion = bench.isRunc ? (expect.any(String) as string) : '1.0.2';
    expect(inside).toMatchObject({ ociVersion, status: 'created', pid: 1, annotations: { 'a.b/c': 'd' } });
    const lines = readFileSync(log, 'utf8').trim().split('\n');
    const outside = KINDS.filter((kind) => kind !== 'startContainer');
    expect(lines.filter((_, i) => i % 2 === 0)).toEqual(outside);
    const states = lines.filter((_, i) => i % 2 === 1).map((line) => JSON.parse(line) as Json);
    // runc 1.1 tells poststart hooks what it tells those before.
    const wanted: Json = bench.isRunc ? { ...STATUS, poststart: 'created' } : STATUS;
    expect(states.map(({ status }) => status as string)).toEqual(outside.map((kind) => wanted[kind] as string));
    for (const state of states) {
      expect([state['id'], state['bundle']]).toEqual([inside['id'], inside['bundle']]);
      expect(state).toMatchObject({ ociVersion, annotations: { 'a.b/c': 'd' } });
    }
    const [prestart, createRuntime, createContainer, poststart, poststop] = states;
    expect(prestart!['pid']).toBeGreaterThan(1);
    expect([createRuntime!['pid'], poststart!['pid']]).toEqual([prestart!['pid'], prestart!['pid']]);
    expect(createContainer!['pid']).toBe(1);
    expect(poststop!['pid'] ?? 0).toBe(0);
  });

  // runc 1.1 drops entries of a name that comes again.
  siltTest('arguments and environment are as written, none added', async () => {
    const log = join(bench.directory, 'exact');
    const hook = {
      path: bench.script(
        'exact',
        `tr '\\0' '\\n' < /proc/$$/cmdline > ${log}; tr '\\0' '\\n' < /proc/$$/environ >> ${log}`,
      ),
      args: ['zero', 'one two', ''],
      env: ['A=1', 'A=2', 'B='],
    };
    await bench.output(
      withHooks({ createRuntime: [{ ...hook, path: '/bin/sh', args: ['-sh', hook.path, 'one two', ''] }] }),
    );
    const lines = readFileSync(log, 'utf8').split('\n');
    expect(lines.slice(0, 4)).toEqual(['-sh', hook.path, 'one two', '']);
    expect(lines.slice(4, -1)).toEqual(['A=1', 'A=2', 'B=']);
  });

  test('a startContainer hook without an environment has that of the process', async () => {
    const hook = { path: '/bin/sh', args: ['sh', '-c', 'echo $ONE $HOME > /mnt/env'] };
    const spec = withHooks({ startContainer: [hook] }, 'cat /mnt/env', (it) => {
      (it['process'] as Json)['env'] = ['PATH=/bin', 'ONE=two', 'HOME=/here'];
    });
    expect(await bench.output(spec)).toBe('two /here');
  });

  test('before the pivot the pid is in the container’s namespaces, where a hook can mount into the root filesystem', async () => {
    const file = join(bench.directory, 'driver');
    writeFileSync(file, 'a driver of the host\n');
    const hook = bench.script(
      'like-nvidia',
      [
        'pid=$(sed "s/.*\\"pid\\":\\([0-9]*\\).*/\\1/")',
        `readlink /proc/$pid/ns/mnt /proc/$pid/ns/net /proc/$pid/ns/pid > ${bench.directory}/namespaces`,
        `cat /proc/$pid/cgroup > ${bench.directory}/cgroup`,
        `nsenter --mount=/proc/$pid/ns/mnt sh -c 'touch ${bench.rootfs}/etc/driver && mount --bind ${file} ${bench.rootfs}/etc/driver'`,
      ].join('\n'),
    );
    const output = await bench.output(
      withHooks(
        { createRuntime: [{ path: hook }] },
        'cat /etc/driver; readlink /proc/self/ns/net; readlink /proc/self/ns/pid',
      ),
    );
    const [driver, network, pid] = output.split('\n');
    expect(driver).toBe('a driver of the host');
    const [mount, ...others] = readFileSync(join(bench.directory, 'namespaces'), 'utf8').trim().split('\n');
    expect(others).toEqual([network, pid]);
    expect(mount).not.toBe(readlinkSync('/proc/self/ns/mnt'));
    expect(readFileSync(join(bench.directory, 'cgroup'), 'utf8')).toContain(host().namespace);
  });

  test('createContainer runs in the container’s namespaces, with the host’s files and the built root as working directory', async () => {
    const script = `pwd > ${bench.directory}/where; readlink /proc/self/ns/net >> ${bench.directory}/where; echo made > etc/made; ls proc/1 > /dev/null`;
    const hook = { path: '/bin/sh', args: ['sh', '-c', script], env: ['PATH=/bin:/usr/bin'] };
    const output = await bench.output(
      withHooks({ createContainer: [hook] }, 'cat /etc/made; readlink /proc/self/ns/net'),
    );
    const [made, network] = output.split('\n');
    expect(made).toBe('made');
    expect(readFileSync(join(bench.directory, 'where'), 'utf8')).toBe(`${bench.rootfs}\n${network}\n`);
    // What the hook wrote is the container's, not the image's.
    if (existsSync(join(bench.rootfs, 'etc/made'))) rmSync(join(bench.rootfs, 'etc/made'));
  });

  test.each(['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart'])(
    'a %s hook that fails ends the start, with what it printed',
    async (kind) => {
      const after = join(bench.directory, `after-${kind}`);
      const poststop = [{ path: '/bin/sh', args: ['sh', '-c', `echo gone > ${after}`] }];
      const message = await bench.refusal(withHooks({ [kind]: failing(kind), poststop }, 'sleep 100'));
      expect(message).toMatch(/error running (\w+ )?hook/);
      expect(message).toContain(`no ${kind}`);
      await waitFor('poststop', () => existsSync(after));
    },
  );

  siltTest('the error of a hook names its kind, its number and its program', async () => {
    const message = await bench.refusal(withHooks({ createRuntime: failing('createRuntime') }));
    expect(message).toContain(
      'error running createRuntime hook #1: /bin/sh ended with exit status 3; stdout: out of createRuntime; stderr: no createRuntime',
    );
    const missing = await bench.refusal(withHooks({ createContainer: [{ path: '/no/such/hook' }] }));
    expect(missing).toContain('hook #0: /no/such/hook cannot be run: no such file or directory');
  });

  siltTest('a hook that takes too long is ended, and with it what it started', async () => {
    const pids = join(bench.directory, 'pids');
    const hook = { path: bench.script('slow', `sleep 1000 & echo $! > ${pids}; wait`), timeout: 1 };
    const message = await bench.refusal(withHooks({ createRuntime: [hook] }));
    expect(message).toContain('ran past its timeout of 1 s and was killed');
    const child = readFileSync(pids, 'utf8').trim();
    await waitFor('the end of what the hook started', () => !existsSync(`/proc/${child}`));
  });

  // runc 1.1 runs none after one that failed.
  siltTest('a poststop hook that fails is no failure of the deletion, and the next one runs', async () => {
    const after = join(bench.directory, 'after-poststop');
    const poststop = [{ path: '/bin/false' }, { path: '/bin/sh', args: ['sh', '-c', `echo gone > ${after}`] }];
    expect(await bench.output(withHooks({ poststop }))).toBe('ran');
    await waitFor('the second hook', () => existsSync(after));
  });

  siltTest('in a user namespace createContainer and startContainer are its root', async () => {
    const hooks = {
      createContainer: [{ path: '/bin/sh', args: ['sh', '-c', 'cat /proc/self/uid_map > tmp/create'] }],
      startContainer: [{ path: '/bin/sh', args: ['sh', '-c', 'id -u > /tmp/start'] }],
    };
    const spec = withHooks(hooks, 'cat /tmp/create /tmp/start', (it) => {
      const linux = it['linux'] as Json;
      (linux['namespaces'] as Json[]).push({ type: 'user' });
      linux['uidMappings'] = linux['gidMappings'] = [{ containerID: 0, hostID: 100000, size: 65536 }];
    });
    expect((await bench.output(spec)).trim().split(/\s+/)).toEqual(['0', '100000', '65536', '0']);
  });

  siltTest('under the command line create, start and delete, each a process of its own, run their hooks', async () => {
    const log = join(bench.directory, 'by-hand');
    const say = (kind: string): Json => ({ path: '/bin/sh', args: ['sh', '-c', `echo ${kind} >> ${log}`] });
    const startContainer = [{ path: '/bin/sh', args: ['sh', '-c', 'echo $$ > /mnt/inside'] }];
    const spec = withHooks(
      { createRuntime: [say('create')], startContainer, poststart: [say('start')], poststop: [say('delete')] },
      'test -s /mnt/inside && exec sleep 100',
    );
    (spec['linux'] as Json)['cgroupsPath'] = `/${host().namespace}/by-hand`;
    writeFileSync(join(bench.directory, 'config.json'), JSON.stringify(spec));
    const silt = async (...words: string[]): Promise<string> => {
      // The process has the command's own stdio, and would keep the ends of pipes open.
      const script = 'exec "$@" > /dev/null 2>&1';
      await mustRun(['sh', '-c', script, 'sh', siltProgram, '--root', join(bench.directory, 'state'), ...words]);
      return readFileSync(log, 'utf8').trim().split('\n').join(' ');
    };
    expect(await silt('create', '--bundle', bench.directory, 'by-hand')).toBe('create');
    expect(await silt('start', 'by-hand')).toBe('create start');
    expect(await silt('delete', '--force', 'by-hand')).toBe('create start delete');
  });

  siltTest('silt run of a container whose startContainer hook fails ends with the hook’s error', async () => {
    const { code, stderr } = await bench.siltRun(withHooks({ startContainer: failing('startContainer') }));
    expect(code).toBe(1);
    expect(stderr).toContain('error running startContainer hook #1: ');
  });
});

// What runc's hooks_so.bats and nvidia's hooks do: mount files of the host into the root filesystem before the pivot.
commandLineSuite('hooks that mount', (host) => {
  const spec = (linux: object = {}): { bundle: string } => {
    const { directory, rootfs } = host();
    for (const kind of ['createRuntime', 'createContainer'])
      writeFileSync(join(directory, `of-${kind}`), `${kind} of the host\n`);
    writeFileSync(join(rootfs, 'etc/createRuntime'), 'of the image\n');
    const bind = (kind: string, place: string): string => `mount --bind ${directory}/of-${kind} ${place}`;
    // The root filesystem is its working directory.
    const inPlace = `touch etc/createContainer; ${bind('createContainer', 'etc/createContainer')}`;
    const byPid = `pid=$(sed 's/.*"pid":\\([0-9]*\\).*/\\1/'); exec nsenter --mount=/proc/$pid/ns/mnt ${bind('createRuntime', `${rootfs}/etc/createRuntime`)}`;
    const hook = (script: string): object[] => [{ path: '/bin/sh', args: ['sh', '-ec', script], env: ['PATH=/usr/bin:/bin:/usr/sbin'] }]; // prettier-ignore
    const hooks = { createRuntime: hook(byPid), createContainer: hook(inPlace) };
    const script = 'cat /etc/createRuntime /etc/createContainer; cat /proc/self/uid_map';
    return { bundle: host().bundle(['sh', '-c', script], { hooks, linux }) };
  };
  const mounted = 'createRuntime of the host\ncreateContainer of the host\n';

  test.each(['auto', 'none'])('show what they mounted, userns=%s, as with runc', async (userns) => {
    const { bundle } = spec();
    const said = await host().silt.must([`--userns=${userns}`, 'run', '--bundle', bundle, host().newId()]);
    expect(said.slice(0, mounted.length)).toBe(mounted);
    // With `auto` the container is in a user namespace all the same.
    expect(/^\s*0\s+0\s/m.test(said.slice(mounted.length))).toBe(userns === 'none');
    expect(await host().runc.must(['run', '--bundle', bundle, host().newId()])).toContain(mounted);
  });

  test('and fail where the spec asks for a user namespace, whose root they are: nothing is skipped in silence', async () => {
    const namespaces = ['pid', 'network', 'ipc', 'uts', 'mount', 'user'].map((type) => ({ type }));
    const mappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    const { bundle } = spec({ namespaces, uidMappings: mappings, gidMappings: mappings });
    const { code, stderr } = await host().silt.run(['run', '--bundle', bundle, host().newId()]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/error running createContainer hook #0: .*mount: .*HOOK_FAILED/s);
  });

  // pivot_root(2) moves the root of what is left in the mount namespace: what it executes next would be the image's.
  test.each([
    ['in its cgroup', ''],
    [
      'that has left the cgroup',
      'for f in $(find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs); do echo $$ > $f; done 2> /dev/null; ',
    ],
  ])('what they leave running %s is ended before the pivot, and executes nothing of the image', async (_, leave) => {
    const { directory, rootfs } = host();
    writeFileSync(join(rootfs, 'bin/payload'), '#!/bin/sh\ncat /proc/self/uid_map > /tmp/executed\n', { mode: 0o755 });
    const log = join(directory, 'left');
    // The first line says that it runs, and no hook ends before that.
    const loop = `${leave}echo $$ > ${log}; while :; do /bin/payload; sleep 0.02; done`;
    const script = `rm -f ${log}; setsid sh -c '${loop}' < /dev/null > /dev/null 2>&1 & until test -s ${log}; do sleep 0.02; done`;
    const hook = { path: '/bin/sh', args: ['sh', '-c', script], env: ['PATH=/usr/bin:/bin'] };
    const words = 'sleep 0.5; ls /tmp; echo that is all; busybox ps -o args';
    const bundle = host().bundle(['sh', '-c', words], { hooks: { createContainer: [hook] } });
    for (const userns of ['auto', 'none']) {
      const said = await host().silt.must([`--userns=${userns}`, 'run', '--bundle', bundle, host().newId()]);
      expect(said).toMatch(/^that is all\n/);
      expect(said).not.toContain('/bin/payload');
      expect(readFileSync(log, 'utf8')).toMatch(/^\d+\n$/);
    }
  });
});

// The pod is the command's that runs the hook until its end.
commandLineSuite('hooks that call the runtime', (host) => {
  const calling = (kind: string, calls: readonly string[][], runtime = host().silt): { hooks: object; log: string } => {
    const log = join(host().directory, `${kind}.calls`);
    rmSync(log, { force: true });
    const lines = calls.map((words) => `${runtime.words(words).join(' ')} >> ${log} 2>&1; echo "= $?" >> ${log}`);
    const env = Object.entries({ ...host().environment, PATH: '/usr/bin:/bin' }).map(
      ([key, value]) => `${key}=${value}`,
    );
    return { hooks: { [kind]: [{ path: '/bin/sh', args: ['sh', '-c', lines.join('\n')], env }] }, log };
  };

  test('for what takes the pod’s lock are told at once who holds it', async () => {
    const [pod, id] = [host().newId(), host().newId()];
    const sandbox = host().bundle(['sleep', '1000'], {
      annotations: { 'io.kubernetes.cri.container-type': 'sandbox' },
    });
    await host().silt.must(['run', '--detach', '--bundle', sandbox, pod]);
    const annotations = { 'io.kubernetes.cri.container-type': 'container', 'io.kubernetes.cri.sandbox-id': pod };
    const calls = [
      ['update', '--pids-limit', '77', pod],
      ['pause', pod],
      ['delete', '--force', id],
      ['state', pod],
    ];
    const { hooks, log } = calling('createRuntime', calls);
    const bundle = host().bundle(['true'], { annotations, hooks });
    await host().silt.must(['run', '--bundle', bundle, id]);
    const said = readFileSync(log, 'utf8');
    expect(said.match(/^= .*/gm)).toEqual(['= 1', '= 1', '= 1', '= 0']);
    const told = said.match(
      /pod \S+ is held by process \d+ \(.* run --bundle .*\), which waits for this command to end.*POD_BUSY/g,
    );
    expect(told).toHaveLength(3);
    await host().silt.must(['delete', '--force', pod]);
  });

  test('once it has ended are told so, too', async () => {
    const id = host().newId();
    const { hooks, log } = calling('poststop', [['delete', '--force', id], ['state', id]]); // prettier-ignore
    await host().silt.must(['run', '--bundle', host().bundle(['true'], { hooks }), id]);
    const said = readFileSync(log, 'utf8');
    expect(said).toMatch(/which waits for this command to end: it is run by a hook of this pod's .*POD_BUSY/);
    expect(said.match(/^= .*/gm)).toEqual(['= 1', '= 1']);
  });

  test('once it has started may change it, as with runc', async () => {
    for (const runtime of [host().silt, host().runc]) {
      const id = host().newId();
      const { hooks, log } = calling('poststart', [['update', '--pids-limit', '77', id], ['pause', id], ['resume', id]], runtime); // prettier-ignore
      await runtime.must(['run', '--bundle', host().bundle(['sleep', '1'], { hooks }), id]);
      expect(readFileSync(log, 'utf8')).toBe('= 0\n= 0\n= 0\n');
    }
  });
});
