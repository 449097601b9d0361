/** Many containers, one after another and at once, leave the machine as it was. */
import { containerdSuite, openFiles, shimPid, untilRead, waitFor } from '../harness';

containerdSuite('many containers', {}, (host) => {
  test('a hundred, one after another', async () => {
    for (let index = 0; index < 100; index++) {
      const status = index % 7;
      expect(await host().run(['sh', '-c', `exit ${status}`])).toMatchObject({ code: status, stderr: '' });
    }
  }, 180_000);

  test('twenty at once', async () => {
    const runs = Array.from({ length: 20 }, (_, index) => {
      return host().run(['sh', '-c', `echo ${index}; sleep 0.5; exit ${index}`], { timeoutMs: 120_000 });
    });
    const results = await Promise.all(runs);
    expect(results.map(({ code, stdout }) => [code, stdout.toString()])).toEqual(
      results.map((_, index) => [index, `${index}\n`]),
    );
  }, 180_000);

  test('twenty that stay, all answering, all killed', async () => {
    const ids = await Promise.all(
      Array.from({ length: 20 }, () => host().startContainer(['sleep', '1000'], { timeoutMs: 120_000 })),
    );
    const answers = await Promise.all(
      ids.map((id) => host().exec(id, ['sh', '-c', `echo ${id}; ${untilRead}`], { timeoutMs: 120_000 })),
    );
    expect(answers.map(({ code, stdout, stderr }) => [code, stdout.toString(), stderr])).toEqual(
      ids.map((id) => [0, `${id}\n`, '']),
    );
    await Promise.all(ids.map((id) => host().remove(id)));
  }, 180_000);

  test('a shim’s open files are level over fifty execs', async () => {
    const id = await host().startContainer();
    const pid = shimPid(host(), id);
    const run = async (rounds: number): Promise<void> => {
      for (let round = 0; round < rounds; round++) {
        expect((await host().exec(id, ['sh', '-c', 'echo x; echo y >&2'], { stdin: 'z' })).code).toBe(0);
      }
    };
    // The first ones may open what is kept.
    await run(5);
    let level = openFiles(pid);
    await waitFor('open files to settle', () => {
      const now = openFiles(pid);
      const same = now.size === level.size;
      level = now;
      return same;
    });
    await run(50);
    await waitFor('open files to come back to their level', () => openFiles(pid).size <= level.size, {
      detail: () => JSON.stringify({ before: [...level.values()], after: [...openFiles(pid).values()] }),
    });
    await host().remove(id);
  }, 120_000);
});
