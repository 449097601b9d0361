/**
 * Dockers that know shims (23 and later) and annotations (24): silt as `runtimeType` and as their OCI runtime. What the other files here
 * try in detail with 20.10, each with one test, and the examples that gVisor has for its seeds, with the runtime's name changed.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun, runCommand, siltTest, Terminal, testIf, waitFor } from '../harness';
import { canBridge, dockerSuite, dockerWays } from '../harness/docker';

const bridges = canBridge();
const PATIENT = 'trap "exit 3" TERM; echo said; echo wrong >&2; while :; do sleep 0.05; done';
const SIZE = { rows: 31, columns: 97 };
const annotation = (archive: string): string => `--annotation=dev.gvisor.tar.rootfs.upper=${archive}`;

dockerSuite('a newer docker', { dockers: 'newer', bridge: bridges }, (host) => {
  /** `silt tar rootfs-upper` of a container, as the page about it has it. */
  const snapshot = async (root: string, name: string): Promise<string> => {
    const archive = join(host().directory, `${name}.tar`);
    const words = [
      'silt',
      `--root=${root}`,
      'tar',
      'rootfs-upper',
      '--file',
      archive,
      await host().inspect(name, '.Id'),
    ];
    await mustRun(words, { env: host().environment });
    return archive;
  };
  /** Under containerd the operator says where seeds may lie. */
  const SEEDS_ALLOWED = (): string =>
    `allow-rootfs-tar-annotation = true\nrootfs-tar-directories = [${JSON.stringify(host().directory)}]\n`;

  describe.each(dockerWays)('with silt as its $way', ({ way, runtime, plain }) => {
    const words = (...args: string[]): string[] => host().words(['run', '--rm', `--runtime=${runtime}`, ...args]);
    const says = async (id: string, text: string): Promise<void> => {
      await waitFor(text, async () => (await host().must('logs', id)).includes(text));
    };
    const ended = async (id: string): Promise<string> => {
      await waitFor('its end', async () => (await host().inspect(id, '.State.Status')) === 'exited');
      return host().inspect(id, '.State.ExitCode');
    };
    const stateRoot = (): string =>
      way === 'shim' ? join(host().directory, 'silt/moby') : join(host().execRoot, 'runtime-runc/moby');

    describe('a container that runs', () => {
      let web = '';
      beforeAll(async () => {
        const check = ['--health-cmd=test -e /tmp/healthy', '--health-interval=100ms', '--health-retries=1'];
        web = await host().background(['--memory=64m', '--memory-swap=64m', ...check], PATIENT, runtime);
        await says(web, 'said');
      }, 60_000);

      test('exec: user, environment, working directory, status', async () => {
        const flags = ['--user=guest', '--env=A=1', '--workdir=/data'];
        const { code, stdout } = await host().docker('exec', ...flags, web, 'sh', '-c', 'id -u; echo $A; pwd; exit 5');
        expect([code, stdout.toString()]).toEqual([5, '1000\n1\n/data\n']);
      });

      test('exec -it has a terminal of the caller’s size', async () => {
        const terminal = await Terminal.open(host().words(['exec', '-it', web, 'sh']), SIZE, {
          env: host().environment,
        });
        try {
          await terminal.waitForText(/# /);
          terminal.type('until stty size | grep "31 97"; do :; done; exit 4\r');
          await terminal.waitForText(/\n31 97\n/);
          expect(await terminal.ended()).toBe(4);
        } finally {
          await terminal.close();
        }
      });

      test('exec -i reads stdin to its end', async () => {
        const stdin = Buffer.alloc(300_000);
        const read = host().words(['exec', '--interactive', web, 'wc', '-c']);
        expect((await mustRun(read, { env: host().environment, stdin })).stdout.toString().trim()).toBe('300000');
      });

      test('a health check is run in it and its outcome shown', async () => {
        const health = (wanted: string): Promise<boolean> =>
          waitFor(wanted, async () => (await host().inspect(web, '.State.Health.Status')) === wanted);
        await health('unhealthy');
        await host().shell(web, 'touch /tmp/healthy');
        await health('healthy');
      });

      test('logs, top, stats, update', async () => {
        const { stdout, stderr } = await host().docker('logs', web);
        expect([stdout.toString(), stderr]).toEqual(['said\n', 'wrong\n']);
        expect(await host().must('top', web)).toMatch(/trap/);
        await host().must('update', '--memory=48m', '--memory-swap=48m', web);
        expect(await host().must('stats', '--no-stream', '--format={{.MemUsage}}', web)).toMatch(/ \/ 48MiB\n$/);
      });

      test('pause and unpause', async () => {
        await host().must('pause', web);
        expect(await host().inspect(web, '.State.Status')).toBe('paused');
        expect((await host().docker('exec', web, 'true')).stderr).toMatch(/is paused/);
        await host().must('unpause', web);
        expect(await host().shell(web, 'echo on')).toBe('on\n');
      });

      testIf(bridges, 'this machine has no bridges')('others reach it on a bridge, and share its network', async () => {
        await host().must('exec', '--detach', web, 'sh', '-c', 'echo answer > /tmp/a; httpd -f -p 80 -h /tmp');
        const address = (await host().shell(web, 'hostname -i')).trim();
        const ask = `until wget -q -O - http://${address}/a; do :; done`;
        expect((await mustRun(words('busybox', 'sh', '-c', ask), { env: host().environment })).stdout.toString()).toBe(
          'answer\n',
        );
        const shared = words(`--network=container:${web}`, 'busybox', 'hostname', '-i');
        expect((await mustRun(shared, { env: host().environment })).stdout.toString()).toBe(`${address}\n`);
      });

      test('restart, stop, start again, kill', async () => {
        const first = await host().inspect(web, '.State.Pid');
        await host().must('restart', '--time=10', web);
        expect(await host().inspect(web, '.State.Pid')).not.toBe(first);
        await waitFor('its words', async () => (await host().must('logs', web)) === 'said\nsaid\n');
        await host().must('stop', web);
        expect(await ended(web)).toBe('3');
        await host().must('start', web);
        expect(await host().shell(web, 'echo on')).toBe('on\n');
        await host().must('kill', web);
        expect(await ended(web)).toBe('137');
        await host().must('rm', web);
      });
    });

    test('run -i: output, status, stdin, and what is not there', async () => {
      const script = 'cat; echo err >&2; exit 7';
      const { code, stdout, stderr } = await runCommand(words('-i', 'busybox', 'sh', '-c', script), {
        env: host().environment,
        stdin: 'typed\n',
        timeoutMs: 30_000,
      });
      expect([code, stdout.toString(), stderr]).toEqual([7, 'typed\n', 'err\n']);
      expect(await host().docker('run', '--rm', `--runtime=${runtime}`, 'busybox', 'nosuch')).toMatchObject({
        code: 127,
        stderr: expect.stringMatching(/exec: "nosuch": executable file not found in \$PATH/) as string,
      });
    });

    test('run -it: a terminal whose size follows', async () => {
      const terminal = await Terminal.open(words('-it', 'busybox', 'sh'), SIZE, { env: host().environment });
      try {
        await terminal.waitForText(/# /);
        terminal.type('until stty size | grep "40 120"; do :; done; exit 3\r');
        await terminal.resizeUntil(/\n40 120\n/, { rows: 40, columns: 120 });
        expect(await terminal.ended()).toBe(3);
      } finally {
        await terminal.close();
      }
    });

    test('more memory than allowed is told; --restart=on-failure tries again', async () => {
      const flags = ['--memory=32m', '--memory-swap=32m', '--restart=on-failure:1'];
      const id = await host().background(flags, 'echo try; x=x; while :; do x=$x$x; done', runtime);
      const count = (): Promise<string> => host().inspect(id, '.RestartCount');
      await waitFor(
        'a restart',
        async () => (await count()) === '1' && (await host().inspect(id, '.State.Status')) === 'exited',
      );
      expect(await host().inspect(id, '.State.OOMKilled')).toBe('true');
      expect(await host().must('logs', id)).toBe('try\ntry\n');
      await host().must('rm', id);
    });

    test('--privileged, and the pid and ipc namespaces of another container', async () => {
      const other = await host().background(['--ipc=shareable'], undefined, runtime);
      const read = 'readlink /proc/self/ns/ipc; readlink /proc/self/ns/pid';
      const flags = [`--ipc=container:${other}`, `--pid=container:${other}`];
      expect(
        (await mustRun(words(...flags, 'busybox', 'sh', '-c', read), { env: host().environment })).stdout.toString(),
      ).toBe(await host().shell(other, read));
      await host().must('rm', '--force', other);
      const mounts = words('--privileged', 'busybox', 'sh', '-c', 'mount -t tmpfs none /tmp && ls /dev/kmsg');
      expect((await mustRun(mounts, { env: host().environment })).stdout.toString()).toBe('/dev/kmsg\n');
    });

    test('cp, diff, commit and a restart, where writes go to docker’s own layer', async () => {
      const given = join(host().directory, `given-${plain}`);
      mkdirSync(given);
      writeFileSync(join(given, 'file'), 'given\n');
      const id = await host().background([], 'trap exit TERM; while :; do sleep 0.05; done', plain);
      await host().shell(id, 'echo new > /new; rm /etc/group');
      await host().must('cp', given, `${id}:/tmp/given`);
      await host().must('cp', `${id}:/new`, join(given, 'out'));
      expect(await host().shell(id, 'cat /tmp/given/file')).toBe('given\n');
      expect(readFileSync(join(given, 'out'), 'utf8')).toBe('new\n');
      const lines = (await host().must('diff', id)).trim().split('\n');
      expect(lines).toEqual(expect.arrayContaining(['A /new', 'D /etc/group', 'A /tmp/given/file']));
      await host().must('commit', id, `committed-${way}`);
      const { stdout } = await mustRun(words(`committed-${way}`, 'cat', '/new'), { env: host().environment });
      expect(stdout.toString()).toBe('new\n');
      await host().must('rmi', `committed-${way}`);
      await host().must('restart', id);
      expect(await host().shell(id, 'cat /new')).toBe('new\n');
      await host().must('rm', '--force', id);
    });

    siltTest(
      'a snapshot and a seed, as gVisor’s examples have them: what one container wrote another starts with',
      async () => {
        await host().background([`--name=${runtime}-one`], undefined, runtime);
        await host().shell(`${runtime}-one`, 'echo saved > /page; rm /etc/group');
        const archive = await snapshot(stateRoot(), `${runtime}-one`);
        writeFileSync(join(host().directory, 'silt.toml'), SEEDS_ALLOWED());
        const read = ['sh', '-c', 'cat /page; ls /etc/group 2>/dev/null || echo gone'];
        const { stdout } = await mustRun(words(annotation(archive), 'busybox', ...read), { env: host().environment });
        expect(stdout.toString()).toBe('saved\ngone\n');
        await host().must('rm', '--force', `${runtime}-one`);
      },
    );

    siltTest('where writes go to docker’s own layer a seed goes there too, once', async () => {
      const READ = 'cat /page; ls /data; ls /etc/group 2>/dev/null || echo gone';
      const one = await host().background([], undefined, plain);
      await host().shell(one, 'echo saved > /page; rm /etc/group; rm -r /data; mkdir /data; echo own > /data/own');
      const archive = await snapshot(stateRoot(), one);
      await host().must('rm', '--force', one);
      const two = await host().background([annotation(archive)], 'trap exit TERM; while :; do sleep 0.05; done', plain);
      expect(await host().shell(two, READ)).toBe('saved\nown\ngone\n');
      expect((await host().must('diff', two)).split('\n')).toEqual(
        expect.arrayContaining(['A /page', 'D /data/of-the-image', 'A /data/own', 'D /etc/group']),
      );
      await host().shell(two, 'echo changed >> /page');
      await host().must('commit', two, `seeded-${way}`);
      const { stdout } = await mustRun(words(`seeded-${way}`, 'sh', '-c', READ), { env: host().environment });
      expect(stdout.toString()).toBe('saved\nchanged\nown\ngone\n');
      await host().must('rmi', `seeded-${way}`);
      await host().must('restart', two);
      expect(await host().shell(two, READ)).toBe('saved\nchanged\nown\ngone\n');
      await host().must('rm', '--force', two);
    });

    siltTest('a seed that nobody has allowed', async () => {
      writeFileSync(join(host().directory, 'silt.toml'), '');
      const { code, stderr } = await host().docker(...words(annotation('/x.tar'), 'busybox', 'true').slice(1));
      expect(code).toBe(125);
      // Who calls the command line is root, and reads what it likes.
      expect(stderr).toMatch(
        way === 'shim'
          ? /seeds by annotation are off; set allow-rootfs-tar-annotation = true/
          : /seeding from \/x\.tar: cannot open the archive: there is no such file/,
      );
    });
  });
});
