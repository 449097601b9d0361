/** Limits under Docker: set at the start, changed while the container runs, and what happens at them. */
import { waitFor } from '../harness';
import { dockerSuite } from '../harness/docker';

/** What a container reads of its own limits, in v1's files or v2's. */
const LIMITS = `cd /sys/fs/cgroup
  cat memory/memory.limit_in_bytes 2>/dev/null || cat memory.max
  cat pids/pids.max 2>/dev/null || cat pids.max
  cat cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 cpu.max`;

dockerSuite('limits under docker', {}, (host) => {
  test('--memory, --pids-limit and --cpus are what the container finds in its cgroup', async () => {
    const flags = ['--memory=64m', '--pids-limit=40', '--cpus=0.5'];
    const { stdout } = await host().run(...flags, 'busybox', 'sh', '-c', LIMITS);
    expect(stdout.toString()).toBe(`${64 * 2 ** 20}\n40\n50000\n`);
  });

  test('more memory than allowed is the container’s end, and docker says why', async () => {
    const hungry = 'x=x; while :; do x=$x$x; done';
    const id = await host().background(['--memory=32m', '--memory-swap=32m'], `exec sh -c '${hungry}'`);
    await waitFor('its end', async () => (await host().inspect(id, '.State.Status')) === 'exited');
    expect(await host().inspect(id, '.State.OOMKilled')).toBe('true');
    expect(await host().inspect(id, '.State.ExitCode')).toBe('137');
    await host().must('rm', id);
  });

  test('--pids-limit holds', async () => {
    const script = 'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 9 & done; echo all';
    const { code, stdout, stderr } = await host().run('--pids-limit=6', 'busybox', 'sh', '-c', script);
    expect(stderr).toMatch(/can't fork/);
    expect([code, stdout.toString()]).toEqual([2, '']);
  });

  describe('of a running container', () => {
    let id = '';
    beforeAll(async () => {
      id = await host().background(['--memory=64m', '--memory-swap=64m']);
    }, 30_000);
    afterAll(() => host().must('rm', '--force', id));

    test('update changes them', async () => {
      await host().must('update', '--memory=48m', '--memory-swap=48m', '--cpus=0.25', '--pids-limit=33', id);
      expect(await host().shell(id, LIMITS)).toBe(`${48 * 2 ** 20}\n33\n25000\n`);
    });

    test('stats has what it uses', async () => {
      const format = '{{.MemUsage}} {{.PIDs}}';
      expect(await host().must('stats', '--no-stream', '--format', format, id)).toMatch(
        /^\d[\d.]*[KM]iB \/ 48MiB 1\n$/,
      );
    });
  });

  test('--ulimit, --oom-score-adj, --shm-size, --sysctl', async () => {
    const flags = [
      '--ulimit=nofile=77:88',
      '--oom-score-adj=123',
      '--shm-size=3m',
      '--sysctl=net.ipv4.ip_default_ttl=77',
    ];
    const script =
      'ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_default_ttl; df -k /dev/shm | tail -1';
    const { stdout } = await host().run(...flags, 'busybox', 'sh', '-c', script);
    expect(stdout.toString()).toMatch(/^77\n88\n123\n77\nshm +3072 /);
  });
});
