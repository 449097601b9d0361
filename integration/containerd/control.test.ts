/** `ctr tasks` on a running container: kill, pause, resume, metrics, ls, ps, delete. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { containerdSuite, deleteTask, isAlive, sleep, taskPid, taskStatus, waitFor, type Containerd } from '../harness';

/** Starts `ctr run` with a shell script in the background and waits for its first word, `up`. */
async function startScript(
  host: Containerd,
  script: string,
): Promise<{ id: string; ended: Promise<{ code: number }> }> {
  const id = host.newId();
  const command = host.startCtr(host.runWords(id, ['sh', '-c', script], { flags: ['--rm'] }));
  await command.waitForOutput(/up\n/);
  return { id, ended: command.ended };
}

containerdSuite('ctr tasks', {}, (host) => {
  const kill = (id: string, signal: string): Promise<unknown> =>
    host().mustCtr(['tasks', 'kill', '--signal', signal, id]);

  test('kill -s TERM reaches the handler of the first process', async () => {
    const { id, ended } = await startScript(host(), "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done");
    await kill(id, 'TERM');
    expect((await ended).code).toBe(7);
  });

  test('kill -s KILL ends a process that ignores everything else, with status 137', async () => {
    const { id, ended } = await startScript(host(), "trap '' TERM INT HUP; echo up; while :; do sleep 0.05; done");
    await kill(id, 'TERM');
    await kill(id, 'KILL');
    expect((await ended).code).toBe(137);
  });

  test('kill --all reaches every process of the container', async () => {
    const { id, ended } = await startScript(host(), 'sleep 1001 & sleep 1002 & echo up; wait');
    const listing = (await host().mustCtr(['tasks', 'ps', id])).stdout.toString();
    const pids = [...listing.matchAll(/^(\d+)/gm)].map((match) => Number(match[1]));
    expect(pids.length).toBe(3);
    await host().mustCtr(['tasks', 'kill', '--all', '--signal', 'KILL', id]);
    expect((await ended).code).toBe(137);
    await waitFor('all processes to end', () => !pids.some(isAlive));
  });

  test('the end of the first process ends all others', async () => {
    const { id, ended } = await startScript(host(), 'sleep 1003 & echo up; sleep 0.3; exit 4');
    const listing = (await host().ctr(['tasks', 'ps', id])).stdout.toString();
    const pids = [...listing.matchAll(/^(\d+)/gm)].map((match) => Number(match[1]));
    expect((await ended).code).toBe(4);
    await waitFor('all processes to end', () => !pids.some(isAlive));
  });

  test('pause stops the processes, resume lets them go on', async () => {
    const mount = `type=bind,src=${host().seeds},dst=/mnt,options=rbind:rw`;
    const count = 'i=0; while :; do i=$((i+1)); echo $i > /mnt/count; sleep 0.01; done';
    const id = await host().startContainer(['sh', '-c', count], { flags: ['--mount', mount] });
    const read = (): string => {
      try {
        return readFileSync(join(host().seeds, 'count'), 'utf8');
      } catch {
        return '';
      }
    };
    const moves = (from: string): Promise<boolean> =>
      waitFor('the counter to move', () => read() !== from && read() !== '');
    await moves('');
    await host().mustCtr(['tasks', 'pause', id]);
    expect(await taskStatus(host(), id)).toBe('PAUSED');
    const stopped = read();
    await sleep(300);
    expect(read()).toBe(stopped);
    await host().mustCtr(['tasks', 'resume', id]);
    expect(await taskStatus(host(), id)).toBe('RUNNING');
    await moves(stopped);
    await host().remove(id);
  });

  test('a paused container can be killed and deleted', async () => {
    const id = await host().startContainer();
    const pid = await taskPid(host(), id);
    await host().mustCtr(['tasks', 'pause', id]);
    await host().ctr(['tasks', 'delete', '--force', id]);
    await host().mustCtr(['containers', 'delete', id]);
    await waitFor('its process to end', () => !isAlive(pid));
  });

  test('metrics tell memory, processor time and processes', async () => {
    const id = await host().startContainer([
      'sh',
      '-c',
      'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 1000 & wait',
    ]);
    const text = await waitFor('some processor time', async () => {
      const { stdout } = await host().mustCtr(['tasks', 'metrics', '--format', 'json', id]);
      const now = stdout.toString();
      return /"(usage_usec|usageUsec|total)":\s*"?[1-9]/.test(now) && /"current":\s*"?2\b/.test(now) ? now : undefined;
    });
    const metrics = JSON.parse(text) as { pids?: { current?: number | string }; memory?: object };
    expect(Number(metrics.pids?.current)).toBe(2);
    expect(metrics.memory).toBeDefined();
    const table = (await host().mustCtr(['tasks', 'metrics', id])).stdout.toString();
    expect(table).toMatch(/^memory\.usage(_in_bytes)?\s+[1-9]\d*/m);
    expect(table).toMatch(/^pids\.current\s+2\b/m);
    await host().remove(id);
  });

  test('ls and ps show the container and its processes by the host’s pids', async () => {
    const id = await host().startContainer(['sh', '-c', 'sleep 1004 & wait']);
    const pid = await taskPid(host(), id);
    expect(readFileSync(`/proc/${pid}/cmdline`, 'latin1')).toBe('sh\0-c\0sleep 1004 & wait\0');
    const pids = await waitFor('two processes', async () => {
      const listing = (await host().mustCtr(['tasks', 'ps', id])).stdout.toString();
      const found = [...listing.matchAll(/^(\d+)/gm)].map((match) => Number(match[1]));
      return found.length === 2 ? found : undefined;
    });
    expect(pids).toContain(pid);
    expect(pids.map((each) => readFileSync(`/proc/${each}/cmdline`, 'latin1').split('\0')[0]).sort()).toEqual([
      'sh',
      'sleep',
    ]);
    await host().remove(id);
  });

  test('delete tells the exit status of a container that has ended', async () => {
    const id = await host().startContainer(['sh', '-c', 'exit 3']);
    await waitFor('its end', async () => (await taskStatus(host(), id)) === 'STOPPED');
    expect(await deleteTask(host(), id)).toBe(3);
    await host().mustCtr(['containers', 'delete', id]);
  });

  test('delete of a running container is refused, delete -f kills it first', async () => {
    const id = await host().startContainer();
    const pid = await taskPid(host(), id);
    const refused = await host().ctr(['tasks', 'delete', id]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('must be stopped before deletion');
    expect(isAlive(pid)).toBe(true);
    expect(await deleteTask(host(), id)).toBe(137);
    expect(isAlive(pid)).toBe(false);
    await host().mustCtr(['containers', 'delete', id]);
  });

  test('kill of a process that has ended says so', async () => {
    const id = await host().startContainer(['true']);
    await waitFor('its end', async () => (await taskStatus(host(), id)) === 'STOPPED');
    const result = await host().ctr(['tasks', 'kill', '--signal', 'TERM', id]);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/process already finished|not found/);
    await host().remove(id);
  });
});
