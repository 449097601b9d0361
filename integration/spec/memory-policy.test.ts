/** `linux.memoryPolicy` of the spec, looked at from inside; the machine's runc is too old for it. */
import { commandLineSuite } from '../harness';

commandLineSuite('memory policy', (host) => {
  const POLICY = ['sh', '-c', 'while read -r _ policy _; do echo "$policy"; break; done < /proc/self/numa_maps'];

  test.each<[object, RegExp]>([
    [{ mode: 'MPOL_INTERLEAVE', nodes: '0' }, /^interleave:0$/],
    [{ mode: 'MPOL_BIND', nodes: '0', flags: ['MPOL_F_STATIC_NODES'] }, /^bind[=:]static:0$/],
    [{ mode: 'MPOL_PREFERRED', nodes: '0', flags: ['MPOL_F_RELATIVE_NODES'] }, /^prefer[^:=]*[=:]relative:0$/],
    [{ mode: 'MPOL_LOCAL' }, /^local$/],
    [{ mode: 'MPOL_DEFAULT' }, /^default$/],
  ])('%j is that of the first process and of what is executed', async (memoryPolicy, expected) => {
    const { silt } = host();
    const id = host().newId();
    await silt.must(['run', '--detach', '--bundle', host().sleeper({ linux: { memoryPolicy } }), id]);
    expect((await silt.must(['exec', id, ...POLICY])).trim()).toMatch(expected);
    await silt.must(['delete', '--force', id]);
    const bundle = host().bundle(POLICY, { linux: { memoryPolicy } });
    expect((await silt.must(['run', '--bundle', bundle, host().newId()])).trim()).toMatch(expected);
  });

  test('a node that the machine does not have fails the creation by its step', async () => {
    const bundle = host().bundle(['true'], { linux: { memoryPolicy: { mode: 'MPOL_BIND', nodes: '900' } } });
    const { code, stderr } = await host().silt.run(['run', '--bundle', bundle, host().newId()]);
    expect(code).toBe(1);
    expect(stderr).toContain('setting the memory policy (helper/launcher): set_mempolicy: EINVAL');
  });
});
