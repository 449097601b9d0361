/** `docker run`, `exec`, `logs`, `top`, terminals: what a container runs, says and ends with. */
import { mustRun, Terminal } from '../harness';
import { dockerRuntime, dockerSuite } from '../harness/docker';

const SIZE = { rows: 31, columns: 97 };

dockerSuite('docker run and exec', {}, (host) => {
  test('prints what the container prints, each on its own stream, and ends with its status', async () => {
    const { code, stdout, stderr } = await host().run('busybox', 'sh', '-c', 'echo out; echo err >&2; exit 7');
    expect({ code, stdout: stdout.toString(), stderr }).toEqual({ code: 7, stdout: 'out\n', stderr: 'err\n' });
  });

  test.each([
    ['is not there', 'nosuch', 127, /exec: "nosuch": executable file not found in \$PATH/],
    ['is not there by its path', '/no/such', 127, /exec: "\/no\/such": (stat \/no\/such: )?no such file or directory/],
    ['is a directory', '/etc', 126, /exec: "\/etc": (is a directory|permission denied)/],
    ['is no program', '/etc/passwd', 126, /exec: "\/etc\/passwd": permission denied/],
  ])('what %s ends with docker’s status for it', async (_, command, status, message) => {
    const { code, stderr } = await host().run('busybox', command);
    expect(stderr).toMatch(message);
    expect(code).toBe(status);
  });

  test('stdin reaches the container, up to its end', async () => {
    const words = host().words(['run', '--rm', '--interactive', `--runtime=${dockerRuntime}`, 'busybox', 'cat']);
    const { stdout } = await mustRun(words, { env: host().environment, stdin: 'typed' });
    expect(stdout.toString()).toBe('typed');
  });

  test('with a terminal: it has the size of the caller’s, also when that changes', async () => {
    const words = host().words(['run', '--rm', '-it', `--runtime=${dockerRuntime}`, 'busybox', 'sh']);
    const terminal = await Terminal.open(words, SIZE, { env: host().environment });
    try {
      await terminal.waitForText(/# /);
      terminal.type('until stty size | grep "31 97"; do :; done; tty\r');
      await terminal.waitForText(/\n31 97\n[\s\S]*\/dev\/(pts\/0|console)\n/);
      terminal.type('until stty size | grep "40 120"; do :; done\r');
      await terminal.resizeUntil(/\n40 120\n/, { rows: 40, columns: 120 });
      terminal.type('exit 3\r');
      expect(await terminal.ended()).toBe(3);
    } finally {
      await terminal.close();
    }
  });

  describe('in a running container', () => {
    let web = '';
    beforeAll(async () => {
      web = await host().background(['--env=OWN=1'], 'echo said; echo wrong >&2; exec sleep 1000');
    }, 30_000);
    afterAll(() => host().must('rm', '--force', web));

    test('exec: user, environment, working directory, status', async () => {
      const flags = ['--user=guest', '--env=MORE=2', '--workdir=/tmp'];
      const { code, stdout } = await host().docker(
        'exec',
        ...flags,
        web,
        'sh',
        '-c',
        'id -u; echo $OWN$MORE; pwd; exit 5',
      );
      expect(stdout.toString()).toBe('1000\n12\n/tmp\n');
      expect(code).toBe(5);
    });

    test('exec: of what is not there is an error with docker’s status', async () => {
      const { code, stdout, stderr } = await host().docker('exec', web, 'nosuch');
      expect(`${stdout.toString()}${stderr}`).toMatch(/exec: "nosuch": executable file not found in \$PATH/);
      // dockerd's own choice: 127 would be the shell's.
      expect(code).toBe(126);
    });

    test('exec --detach returns at once', async () => {
      await host().must('exec', '--detach', web, 'sh', '-c', 'echo detached > /tmp/file');
      expect(await host().shell(web, 'until cat /tmp/file 2>/dev/null; do :; done')).toBe('detached\n');
    });

    test('exec --interactive reads stdin to its end', async () => {
      const words = host().words(['exec', '--interactive', web, 'wc', '-c']);
      const { stdout } = await mustRun(words, { env: host().environment, stdin: Buffer.alloc(300_000) });
      expect(stdout.toString().trim()).toBe('300000');
    });

    test('exec -it has a terminal of its own', async () => {
      const terminal = await Terminal.open(host().words(['exec', '-it', web, 'sh']), SIZE, { env: host().environment });
      try {
        await terminal.waitForText(/# /);
        terminal.type('until stty size | grep "31 97"; do :; done; tty\r');
        await terminal.waitForText(/\n31 97\n[\s\S]*\/dev\/pts\/\d\n/);
        terminal.type('exit 4\r');
        expect(await terminal.ended()).toBe(4);
      } finally {
        await terminal.close();
      }
    });

    test('logs has both streams', async () => {
      const { stdout, stderr } = await host().docker('logs', web);
      expect([stdout.toString(), stderr]).toEqual(['said\n', 'wrong\n']);
    });

    test('top lists its processes, and with other options of ps', async () => {
      expect(await host().must('top', web)).toMatch(/ sleep 1000\n$/);
      expect(await host().must('top', web, '-o', 'pid,args')).toMatch(/^PID +COMMAND\n\d+ +sleep 1000\n$/);
    });
  });

  test('the environment, host name and user are what was asked for', async () => {
    const flags = ['--hostname=named', '--env=A=b c', '--user=1000:0', '--workdir=/data'];
    const { stdout } = await host().run(...flags, 'busybox', 'sh', '-c', 'hostname; echo "$A"; id -u; id -g; pwd');
    expect(stdout.toString()).toBe('named\nb c\n1000\n0\n/data\n');
  });

  test('--init puts an init in front, which passes signals on and reaps', async () => {
    const id = await host().background(['--init'], 'trap "exit 9" TERM; (sleep 0.01 &) ; while :; do sleep 0.05; done');
    expect(await host().shell(id, 'cat /proc/1/comm')).toMatch(/^(docker-init|tini)/);
    await host().must('stop', id);
    expect(await host().inspect(id, '.State.ExitCode')).toBe('9');
    await host().must('rm', id);
  });
});
