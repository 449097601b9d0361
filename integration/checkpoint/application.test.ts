/** A program has its own container checkpointed, and hears how it ended, by gVisor's protocol: /dev/gvisor/checkpoint. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  checkpointCommandSuite,
  checkpointSuite,
  shellSpec,
  siltTest,
  SpecBench,
  taskPid,
  taskStatus,
  waitFor,
} from '../harness';
import { readPodManifest } from '../../sandbox/checkpoint-image/pod';

const annotation = (name: string): string => `dev.gvisor.internal.checkpoint.${name}`;
/** Opens, asks, and notes what is read up to the end of the file. */
const ask = '{ echo 1 >&3; cat <&3; } 3<> /dev/gvisor/checkpoint >> /outcome';

checkpointCommandSuite('by an application', (host) => {
  const image = (name: string): string => join(host().directory, 'images', name);

  const bundle = (script: string, annotations: Record<string, string>, env: readonly string[] = []): string =>
    host().bundle(['sh', '-c', script], { annotations, process: { env: ['PATH=/bin', ...env] } });

  async function start(script: string, annotations: Record<string, string>): Promise<string> {
    const id = host().newId();
    await host().silt.must(['run', '--detach', '--bundle', bundle(script, annotations), id]);
    return id;
  }

  async function restore(from: string, annotations = {}, env: readonly string[] = []): Promise<string> {
    const id = host().newId();
    const changed = bundle('exit 1', annotations, env);
    await host().silt.must(['restore', '--detach', '--bundle', changed, '--image-path', from, id]);
    return id;
  }

  /** Read from outside: with an exec in it a container cannot be saved. */
  const outcome = async (id: string): Promise<string> => {
    const { pid } = JSON.parse(await host().silt.must(['state', id])) as { pid: number };
    const path = `/proc/${pid}/root/outcome`;
    return existsSync(path) ? readFileSync(path, 'utf8').trim() : '';
  };

  const hears = (id: string, wanted: readonly string[]): Promise<unknown> =>
    waitFor(`${id} to hear ${wanted.join(', ')}`, async () => (await outcome(id)) === wanted.join('\n'));

  test('goes on with `resume`, and what is restored goes on with `restore` and finds its new environment', async () => {
    const { silt } = host();
    const annotations = { [annotation('enable')]: 'true', [annotation('path')]: image('own'), [annotation('resume')]: 'true' }; // prettier-ignore
    const id = await start(`${ask}; while :; do sleep 1; done`, annotations);
    await hears(id, ['resume']);
    expect(await silt.status(id)).toBe('running');
    await silt.must(['delete', '--force', id]);
    const restored = await restore(image('own'), {}, ['WHERE=elsewhere']);
    await hears(restored, ['restore']);
    const environment = await silt.must(['exec', restored, 'cat', '/dev/gvisor/spec_environ']);
    expect(environment).toBe('PATH=/bin\0WHERE=elsewhere\0');
    await silt.must(['delete', '--force', restored]);
  }, 60_000);

  test('ends when it is saved without `resume`', async () => {
    const { silt } = host();
    const id = await start(`${ask}; while :; do sleep 1; done`, {
      [annotation('enable')]: 'true',
      [annotation('path')]: image('ended'),
    });
    await waitFor('its end', async () => (await silt.status(id)) === 'stopped');
    await silt.must(['delete', id]);
    const restored = await restore(image('ended'));
    await hears(restored, ['restore']);
    await silt.must(['delete', '--force', restored]);
  }, 60_000);

  test('hears `error` and runs on when it cannot be saved, and may ask again', async () => {
    const { silt } = host();
    mkdirSync(image('taken'), { recursive: true });
    writeFileSync(join(image('taken'), 'file'), '');
    const annotations = { [annotation('enable')]: 'true', [annotation('path')]: image('taken'), [annotation('resume')]: 'true' }; // prettier-ignore
    const id = await start(`${ask}; ${ask}; while :; do sleep 1; done`, annotations);
    await hears(id, ['error', 'error']);
    expect(await silt.status(id)).toBe('running');
    await silt.must(['delete', '--force', id]);
  }, 60_000);

  test('that only waits hears of checkpoints that others take, and cannot ask for one', async () => {
    const { silt } = host();
    const script = `{ echo 1 > /dev/gvisor/checkpoint; } 2> /dev/null || echo refused >> /outcome
      for i in 1 2; do read -r line < /dev/gvisor/checkpoint; echo "$line" >> /outcome; done; while :; do sleep 1; done`;
    const id = await start(script, { [annotation('path')]: image('unused') });
    await hears(id, ['refused']);
    await silt.must(['checkpoint', '--leave-running', '--image-path', image('first'), id]);
    await hears(id, ['refused', 'resume']);
    await silt.must(['checkpoint', '--leave-running', '--image-path', image('second'), id]);
    await hears(id, ['refused', 'resume', 'resume']);
    expect(existsSync(image('unused'))).toBe(false);
    await silt.must(['delete', '--force', id]);
    // A checkpoint that was taken of a restored container has the file, too.
    const restored = await restore(image('first'), { [annotation('enable')]: 'false' });
    await hears(restored, ['refused', 'restore']);
    await silt.must(['checkpoint', '--leave-running', '--image-path', image('third'), restored]);
    await hears(restored, ['refused', 'restore', 'resume']);
    await silt.must(['delete', '--force', restored]);
  }, 60_000);

  test('has all containers of its pod saved, and each that waits hears of it', async () => {
    const { silt } = host();
    const [pod, other] = [host().newId(), host().newId()];
    const own = (type: string): Record<string, string> => ({
      'io.kubernetes.cri.container-type': type,
      'io.kubernetes.cri.sandbox-id': pod,
    });
    const named = { ...own('container'), 'io.kubernetes.cri.container-name': 'asker', [annotation('enable')]: 'true' };
    const first = { ...own('sandbox'), [annotation('path')]: image('whole'), [annotation('resume')]: 'true' };
    const waits = 'read -r line <&4; echo "$line" > /outcome; while :; do sleep 1; done';
    await silt.must([
      'run',
      '--detach',
      '--bundle',
      bundle(`exec 4< /dev/gvisor/checkpoint; echo > /waiting; ${waits}`, first),
      pod,
    ]);
    await waitFor('it to wait', async () => (await silt.run(['exec', pod, 'ls', '/waiting'])).code === 0);
    await silt.must(['run', '--detach', '--bundle', bundle(`${ask}; while :; do sleep 1; done`, named), other]);
    await hears(other, ['resume']);
    await hears(pod, ['resume']);
    const { containers } = readPodManifest(image('whole'));
    expect(containers.map(({ name }) => name).sort()).toEqual([pod, 'asker'].sort());
    for (const id of [other, pod]) await silt.must(['delete', '--force', id]);
  }, 120_000);

  test('does not get it as its controlling terminal', async () => {
    const script =
      'exec 3<> /dev/gvisor/checkpoint; tty < /dev/tty > /outcome 2>&1 || echo none > /outcome; sleep 1000';
    const id = await start(script, { [annotation('enable')]: 'true' });
    await waitFor('its answer', async () => /none|No such/.test(await outcome(id)));
    await host().silt.must(['delete', '--force', id]);
  });
});

for (const userns of ['none', 'auto'] as const) {
  checkpointSuite(`by an application of containerd's, userns = "${userns}"`, { userns }, (host) => {
    siltTest('goes on with `resume`', async () => {
      const path = join(host().directory, 'checkpoints', userns);
      const bench = new SpecBench(host());
      const script = `exec 3<> /dev/gvisor/checkpoint; echo 1 >&3; cat <&3`;
      const output = await bench.output(
        shellSpec(script, (spec) => {
          spec['annotations'] = { [annotation('enable')]: 'true', [annotation('path')]: path, [annotation('resume')]: 'true' }; // prettier-ignore
        }),
      );
      expect(output).toBe('resume');
      expect(existsSync(join(path, 'checkpoint.json'))).toBe(true);
    });

    siltTest('and one that containerd takes at the same moment: each is answered, and the shim serves on', async () => {
      const path = join(host().directory, 'checkpoints', `both-${userns}`);
      const bench = new SpecBench(host());
      const script = `exec 3<> /dev/gvisor/checkpoint; echo > /waits; while [ ! -e /go ]; do sleep 0.02; done
        echo 1 >&3; cat <&3 > /heard.new; mv /heard.new /heard; while :; do sleep 1; done`;
      const id = await bench.start(
        shellSpec(script, (spec) => {
          spec['annotations'] = { [annotation('enable')]: 'true', [annotation('path')]: path, [annotation('resume')]: 'true' }; // prettier-ignore
        }),
      );
      const inside = `/proc/${await taskPid(host(), id)}/root`;
      await waitFor('it to wait', () => Promise.resolve(existsSync(join(inside, 'waits'))));
      writeFileSync(join(inside, 'go'), '');
      const outer = await host().ctr(['tasks', 'checkpoint', id]);
      const heard = await waitFor('its answer', () =>
        Promise.resolve(existsSync(join(inside, 'heard')) && readFileSync(join(inside, 'heard'), 'utf8').trim()),
      );
      // Whoever waits hears of each checkpoint, also of the one that it has not asked for.
      expect(['resume', 'error', 'resume\nresume', 'error\nresume', 'resume\nerror']).toContain(heard);
      expect(outer.code === 0 || /checkpoint/.test(outer.stderr)).toBe(true);
      expect(outer.code === 0 || existsSync(join(path, 'checkpoint.json'))).toBe(true);
      expect(await taskStatus(host(), id)).toBe('RUNNING');
      await host().mustCtr(['tasks', 'delete', '--force', id]);
      await host().mustCtr(['containers', 'delete', id]);
    });

    siltTest('is refused where the operator has not allowed it', async () => {
      const bench = new SpecBench(host());
      const path = join(host().directory, 'checkpoints/../elsewhere');
      const refused = await bench.refusal(
        shellSpec('true', (spec) => void (spec['annotations'] = { [annotation('path')]: path })),
      );
      expect(refused).toContain('below none of the directories that checkpoint-directories allows');
    });
  });
}
