/** `exec` from the command line, its flags beside runc's. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { commandLineSuite, isAlive, waitFor, type Runtime } from '../harness';

commandLineSuite('exec', (host) => {
  const running = async (runtime: Runtime): Promise<string> => {
    const id = host().newId();
    await runtime.must(['run', '--detach', '--bundle', host().sleeper(), id]);
    return id;
  };

  test.each<[string, string[], string]>([
    ['the container’s user, environment and directory', [], 'id -u; id -g; pwd; env | grep -v SHLVL | sort'],
    ['another user', ['--user', '1000:1001'], 'id -u; id -g'],
    ['more groups', ['-g', '5', '-g', '6'], 'id -G'],
    ['another directory', ['--cwd', '/tmp'], 'pwd'],
    ['more environment', ['-e', 'A=b', '-e', 'PATH=/bin:/nowhere'], 'echo $A $PATH'],
    ['no new privileges', ['--no-new-privs'], 'grep NoNewPrivs /proc/self/status'],
    ['a further capability', ['--cap', 'CAP_SYSLOG'], 'grep CapEff /proc/self/status'],
    ['a status of its own', [], 'exit 77'],
  ])('%s', async (_, flags, script) => {
    const outcomes = [];
    for (const runtime of [host().silt, host().runc]) {
      const id = await running(runtime);
      const { code, stdout, stderr } = await runtime.run(['exec', ...flags, id, 'sh', '-c', script]);
      outcomes.push({ code, stdout: stdout.toString(), stderr });
      await runtime.must(['delete', '--force', id]);
    }
    expect(outcomes[0]).toEqual(outcomes[1]);
  });

  test('a cgroup that the container has made beneath its own', async () => {
    const { silt } = host();
    const unified = existsSync('/sys/fs/cgroup/cgroup.controllers');
    const id = host().newId();
    const mounts = [{ destination: '/cgroups', type: 'cgroup', source: 'cgroup', options: ['nosuid', 'nodev'] }];
    await silt.must(['run', '--detach', '--bundle', host().sleeper({ mounts }), id]);
    const exec = (cgroup: string, script: string) => silt.run(['exec', '--cgroup', cgroup, id, 'sh', '-c', script]);
    await exec('/', `mkdir /cgroups/${unified ? '' : 'pids/'}sub`);
    const sub = await exec(unified ? 'sub' : 'pids:sub', 'grep sub /proc/self/cgroup');
    expect(sub.stdout.toString()).toMatch(unified ? /^0::.*\/sub\n$/ : /^\d+:pids:.*\/sub\n$/);
    expect((await exec('..', 'true')).stderr).toContain('bad sub cgroup path');
    expect((await exec('none', 'true')).stderr).toContain('no such file or directory');
    if (!unified) expect((await exec('what:/', 'true')).stderr).toContain('unknown controller what');
    await silt.must(['delete', '--force', id]);
  });

  test('the process of a file', async () => {
    const file = join(host().directory, 'process.json');
    writeFileSync(file, JSON.stringify({ args: ['sh', '-c', 'echo $X; id -u; exit 4'], cwd: '/', env: ['PATH=/bin', 'X=y'], user: { uid: 5, gid: 5 } })); // prettier-ignore
    const id = await running(host().silt);
    const { code, stdout } = await host().silt.run(['exec', '--process', file, id]);
    expect([code, stdout.toString()]).toEqual([4, 'y\n5\n']);
    await host().silt.must(['delete', '--force', id]);
  });

  test('stdin, stdout and stderr are the caller’s own', async () => {
    const id = await running(host().silt);
    const result = await host().silt.run(['exec', id, 'sh', '-c', 'cat; echo bad >&2'], { stdin: 'through\n' });
    expect(result).toMatchObject({ code: 0, stderr: 'bad\n' });
    expect(result.stdout.toString()).toBe('through\n');
    await host().silt.must(['delete', '--force', id]);
  });

  test('in the background, with its pid in a file, until the container ends', async () => {
    const { silt } = host();
    const id = await running(silt);
    const file = join(host().directory, 'exec.pid');
    await silt.must(['exec', '--detach', '--pid-file', file, id, 'sleep', '1000']);
    const pid = Number(readFileSync(file, 'utf8'));
    expect(isAlive(pid)).toBe(true);
    expect(JSON.parse(await silt.must(['ps', '--format', 'json', id]))).toContain(pid);
    await silt.must(['delete', '--force', id]);
    await waitFor('the end of the exec', () => !isAlive(pid));
  });

  test('waits in a paused container when it is told that this is known', async () => {
    const { silt } = host();
    const id = await running(silt);
    await silt.must(['pause', id]);
    expect((await silt.run(['exec', id, 'true'])).stderr).toContain('cannot exec in a paused container');
    const waiting = silt.start(['exec', '--ignore-paused', id, 'echo', 'at last']);
    await waitFor('the process to be in the container', async () => {
      const pids = JSON.parse(await silt.must(['ps', '--format', 'json', id])) as number[];
      return pids.length > 1;
    });
    await silt.must(['resume', id]);
    expect((await waiting.ended).stdout.toString()).toBe('at last\n');
    await silt.must(['delete', '--force', id]);
  });
});
