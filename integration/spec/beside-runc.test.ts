/** Members of the spec that show in a process, a terminal or the root mount; the same with runc where it knows them. */
import { availableParallelism } from 'node:os';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { commandLineSuite, type Runtime } from '../harness';

commandLineSuite('process and root of the spec', (host) => {
  const run = async (runtime: Runtime, bundle: string): Promise<string> =>
    (await runtime.must(['run', '--bundle', bundle, host().newId()])).trim();

  test('a domain name is the container’s, and not the host’s', async () => {
    const bundle = host().bundle(['cat', '/proc/sys/kernel/domainname']);
    const config = join(bundle, 'config.json');
    const spec = JSON.parse(readFileSync(config, 'utf8')) as object;
    writeFileSync(config, JSON.stringify({ ...spec, domainname: 'pods.example' }));
    expect(await run(host().silt, bundle)).toBe('pods.example');
  });

  test('consoleSize is the size of a terminal that is nobody’s yet', async () => {
    const process = { terminal: true, consoleSize: { height: 12, width: 34 } };
    const bundle = host().bundle(['stty', 'size'], { process });
    const { stdout } = await host().silt.run(['run', '--bundle', bundle, host().newId()], { stdin: '' });
    expect(stdout.toString().trim()).toBe('12 34');
  });

  const CPUS = ['grep', 'Cpus_allowed_list', '/proc/self/status'];
  (availableParallelism() > 1 ? test : test.skip.bind(test))(
    `the CPUs of an exec, before and in its cgroup${availableParallelism() > 1 ? '' : ' [skipped: one CPU]'}`,
    async () => {
      const id = host().newId();
      await host().silt.must(['run', '--detach', '--bundle', host().sleeper(), id]);
      const cpusWith = async (execCPUAffinity: object): Promise<string> => {
        const file = join(host().directory, 'process.json');
        const process = { args: CPUS, cwd: '/', env: ['PATH=/bin'], user: { uid: 0, gid: 0 }, execCPUAffinity };
        writeFileSync(file, JSON.stringify(process));
        return (await host().silt.must(['exec', '--process', file, id])).trim().split(/\s+/)[1]!;
      };
      expect(await cpusWith({ initial: '0', final: '1' })).toBe('1');
      expect(await cpusWith({ final: '0' })).toBe('0');
      expect(await cpusWith({ initial: '1' })).toBe('1');
      await host().silt.must(['delete', '--force', id]);
    },
  );

  test.each(['private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared', 'unbindable', 'runbindable'])(
    'a root whose propagation is %s is that inside, as with runc',
    async (rootfsPropagation) => {
      const kinds = async (runtime: Runtime): Promise<string[]> => {
        const bundle = host().bundle(['cat', '/proc/self/mountinfo'], { linux: { rootfsPropagation } });
        const mounts = (await run(runtime, bundle)).split('\n').map((line) => line.split(' '));
        // Optional fields stand between the options and a dash (proc(5)).
        const root = mounts.find(([, , , , point]) => point === '/')!;
        return root
          .slice(6, root.indexOf('-'))
          .map((field) => field.split(':')[0]!)
          .filter((field) => field !== 'master');
      };
      const expected = /(shared|unbindable)/.exec(rootfsPropagation)?.slice(1) ?? [];
      expect(await kinds(host().silt)).toEqual(expected);
      // Of a directory that it binds onto itself, runc 1.1 refuses an unbindable one, and a shared one is not shared in the end.
      if (expected.length === 0) expect(await kinds(host().runc)).toEqual(expected);
    },
  );
});
