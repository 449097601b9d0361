/** `process` of the spec, looked at from inside. */
import { chownSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { containerdSuite, type Json, shellSpec, siltTest, SpecBench } from '../harness';

containerdSuite('process', { onlyPeer: 'system', besideRunc: true }, (host) => {
  let bench: SpecBench;
  beforeAll(() => {
    bench = new SpecBench(host());
  });

  /** What a script prints in a container whose process has these members. */
  const inside = async (script: string, process: Json, linux: Json = {}): Promise<string> => {
    const spec = shellSpec(script, (it) => {
      Object.assign(it['process'] as Json, process);
      Object.assign(it['linux'] as Json, linux);
    });
    const { code, stdout, stderr } = await bench.commandRun(spec);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return stdout.toString().trimEnd();
  };

  // runc 1.1 reads none of the members that the next ones are about, and is silent on them.
  siltTest('the I/O priority and the scheduling attributes', async () => {
    const output = await inside('ionice -p $$; cut -d" " -f19,41 /proc/$$/stat', {
      ioPriority: { class: 'IOPRIO_CLASS_BE', priority: 6 },
      scheduler: { policy: 'SCHED_BATCH', nice: 7 },
    });
    expect(output).toBe('best-effort: prio 6\n7 3');
  });

  siltTest('a deadline scheduler, which is nobody’s in a user namespace', async () => {
    const scheduler = { policy: 'SCHED_DEADLINE', runtime: 42_000, deadline: 1_000_000, period: 1_000_000 };
    // Its number in sched.h is 6; such a process has no children without SCHED_FLAG_RESET_ON_FORK.
    const script = 'cut -d" " -f41 /proc/$$/stat';
    const flags = ['SCHED_FLAG_RESET_ON_FORK'];
    expect(await inside(script, { scheduler: { ...scheduler, flags } })).toBe('6');
    const cpu = { cpus: '0' };
    const spec = shellSpec('true', (it) => {
      (it['process'] as Json)['scheduler'] = scheduler;
      Object.assign(it['linux'] as Json, { resources: { cpu } });
    });
    expect((await bench.commandRun(spec)).stderr).toMatch(
      availableParallelism() > 1 ? /process scheduler can't be used together with AllowedCPUs/ : /^$/,
    );
  });

  siltTest('a personality for programs of 32 bits', async () => {
    expect(await inside('cat /proc/self/personality', {}, { personality: { domain: 'LINUX32' } })).toBe('00000008');
  });

  siltTest('CPUs that are no list are refused by their path', async () => {
    const spec = shellSpec('true', (it) => {
      (it['process'] as Json)['execCPUAffinity'] = { initial: '3-1' };
    });
    expect((await bench.commandRun(spec)).stderr).toContain(
      '$.process.execCPUAffinity.initial: "3-1" is no list of CPUs',
    );
  });

  test('of several entries of one name in the environment the last one counts, and an empty HOME is the user’s', async () => {
    const env = ['PATH=/bin', 'A=1', 'HOME=', 'A=2'];
    expect(await inside('env | grep -E "^(A|HOME)=" | sort', { env, user: { uid: 1000, gid: 1000 } })).toBe(
      'A=2\nHOME=/tmp',
    );
  });

  siltTest('a user namespace of several ranges: the root directory has the owner that the image gives it', async () => {
    const rootfs = bench.makeRootfs('ranges');
    chownSync(rootfs, 5, 5);
    const ranges = [
      { containerID: 0, hostID: 100_000, size: 1 },
      { containerID: 1, hostID: 300_000, size: 1000 },
    ];
    const spec = shellSpec('stat -c %u:%g / /etc; cat /proc/self/uid_map', (it) => {
      (it['root'] as Json)['path'] = 'ranges';
      const linux = it['linux'] as Json;
      (linux['namespaces'] as Json[]).push({ type: 'user' });
      linux['uidMappings'] = linux['gidMappings'] = ranges;
    });
    const [root, etc] = (await bench.output(spec)).split('\n');
    expect([root, etc]).toEqual(['5:5', '0:0']);
  });
});
