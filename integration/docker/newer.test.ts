/**
 * Dockers that know shims (23 and later) and annotations (24): silt as `runtimeType`, and the examples that gVisor has for its seeds,
 * with the runtime's name changed.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isSilt, mustRun, siltTest, Terminal, waitFor } from '../harness';
import { dockerSuite } from '../harness/docker';

const shim = isSilt ? 'silt-shim' : 'runc';

dockerSuite('a newer docker, with silt as its shim', { dockers: 'newer', firstRuntime: shim }, (host) => {
  let web = '';
  const PATIENT = 'trap "exit 3" TERM; echo said; echo wrong >&2; while :; do sleep 0.05; done';
  beforeAll(async () => {
    web = await host().background(['--memory=64m'], PATIENT, shim);
    await waitFor('its words', async () => (await host().must('logs', web)).includes('said'));
  }, 30_000);

  test('run: output, status, and what is not there', async () => {
    const run = (...command: string[]): ReturnType<ReturnType<typeof host>['docker']> =>
      host().docker('run', '--rm', `--runtime=${shim}`, 'busybox', ...command);
    const { code, stdout, stderr } = await run('sh', '-c', 'echo out; echo err >&2; exit 7');
    expect([code, stdout.toString(), stderr]).toEqual([7, 'out\n', 'err\n']);
    expect(await run('nosuch')).toMatchObject({
      code: 127,
      stderr: expect.stringMatching(/exec: "nosuch": executable file not found in \$PATH/) as string,
    });
  });

  test('exec: user, environment, working directory, status', async () => {
    const flags = ['--user=guest', '--env=A=1', '--workdir=/data'];
    const { code, stdout } = await host().docker('exec', ...flags, web, 'sh', '-c', 'id -u; echo $A; pwd; exit 5');
    expect([code, stdout.toString()]).toEqual([5, '1000\n1\n/data\n']);
  });

  test('exec -it has a terminal of the caller’s size', async () => {
    const words = host().words(['exec', '-it', web, 'sh']);
    const terminal = await Terminal.open(words, { rows: 31, columns: 97 }, { env: host().environment });
    try {
      await terminal.waitForText(/# /);
      terminal.type('until stty size | grep "31 97"; do :; done; exit 4\r');
      await terminal.waitForText(/\n31 97\n/);
      expect(await terminal.ended()).toBe(4);
    } finally {
      await terminal.close();
    }
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
    await host().must('unpause', web);
    expect(await host().shell(web, 'echo on')).toBe('on\n');
  });

  test('stop, start again, kill', async () => {
    const id = await host().background([], PATIENT, shim);
    await waitFor('its words', async () => (await host().must('logs', id)).includes('said'));
    await host().must('stop', id);
    expect(await host().inspect(id, '.State.ExitCode')).toBe('3');
    await host().must('start', id);
    expect(await host().shell(id, 'echo on')).toBe('on\n');
    await host().must('kill', id);
    await waitFor('its end', async () => (await host().inspect(id, '.State.Status')) === 'exited');
    expect(await host().inspect(id, '.State.ExitCode')).toBe('137');
    await host().must('rm', id);
  });

  test('more memory than allowed is told', async () => {
    const flags = ['--memory=32m', '--memory-swap=32m'];
    const id = await host().background(flags, 'x=x; while :; do x=$x$x; done', shim);
    await waitFor('its end', async () => (await host().inspect(id, '.State.Status')) === 'exited');
    expect(await host().inspect(id, '.State.OOMKilled')).toBe('true');
    await host().must('rm', id);
  });

  describe('snapshots and seeds, as gVisor’s examples have them', () => {
    const seed = (archive: string): string => `--annotation=dev.gvisor.tar.rootfs.upper=${archive}`;
    const snapshot = async (root: string, name: string): Promise<string> => {
      const id = await host().inspect(name, '.Id');
      const archive = join(host().directory, `${name}.tar`);
      const words = ['silt', `--root=${root}`, 'tar', 'rootfs-upper', '--file', archive, id];
      await mustRun(words, { env: host().environment });
      return archive;
    };

    for (const [how, runtime] of [
      ['runtime', 'silt'],
      ['shim', 'silt-shim'],
    ] as const) {
      siltTest(`as ${how}: what one container wrote another starts with`, async () => {
        const root = how === 'shim' ? join(host().directory, 'silt/moby') : join(host().execRoot, 'runtime-runc/moby');
        await host().background([`--name=${runtime}-one`], undefined, runtime);
        await host().shell(`${runtime}-one`, 'echo saved > /page; rm /etc/group');
        const archive = await snapshot(root, `${runtime}-one`);
        // Under containerd the operator says where seeds may lie.
        writeFileSync(
          join(host().directory, 'silt.toml'),
          `allow-rootfs-tar-annotation = true\nrootfs-tar-directories = [${JSON.stringify(host().directory)}]\n`,
        );
        const read = ['sh', '-c', 'cat /page; ls /etc/group 2>/dev/null || echo gone'];
        const printed = await host().must('run', '--rm', `--runtime=${runtime}`, seed(archive), 'busybox', ...read);
        expect(printed).toBe('saved\ngone\n');
        await host().must('rm', '--force', `${runtime}-one`);
      });
    }

    siltTest('as shim: a seed that nobody has allowed is refused, with what to do', async () => {
      writeFileSync(join(host().directory, 'silt.toml'), '');
      const { code, stderr } = await host().docker(
        'run',
        '--rm',
        '--runtime=silt-shim',
        seed('/x.tar'),
        'busybox',
        'true',
      );
      expect(code).toBe(125);
      expect(stderr).toMatch(/seeds by annotation are off; set allow-rootfs-tar-annotation = true/);
    });
  });
});
