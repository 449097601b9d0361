/** Commands that are killed in the middle: `delete --force` cleans up whatever they had done. */
import { commandLineSuite, sleep, startCommand } from '../harness';

commandLineSuite('a creation that is killed', (host) => {
  test('at any moment can be cleaned up by delete --force', async () => {
    const { silt } = host();
    const bundle = host().sleeper();
    // From before silt has begun to after it has ended, on a machine of any speed: the time of a whole creation in steps.
    const { ms } = await silt.run(['create', '--bundle', bundle, 'whole']);
    await silt.must(['delete', '--force', 'whole']);
    for (let step = 1; step <= 16; step++) {
      const id = host().newId();
      const words = silt.words(['create', '--bundle', bundle, id]);
      const command = startCommand(['sh', '-c', 'exec "$@" > /dev/null 2>&1', 'sh', ...words], {
        env: host().environment,
      });
      await sleep((ms * step) / 14);
      await command.stop('SIGKILL');
      expect(await silt.run(['delete', '--force', id])).toMatchObject({ code: 0, stderr: '' });
      expect((await silt.run(['state', id])).code).toBe(1);
    }
    // The name and the cgroup are free again.
    await silt.must(['run', '--bundle', host().bundle(['true']), host().newId()]);
  });
});
