/** All containers of a pod are saved at one moment, and go on in a new pod. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { checkpointCommandSuite, type CommandLine, mustRun, startCommand, waitFor } from '../harness';
import { siltProgram } from '../harness/checkout';
import { POD_MANIFEST, readPodManifest, writePodManifest } from '../../sandbox/checkpoint-image/pod';

const counter = ['sh', '-c', 'i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.02; done'];

const NAME = 'io.kubernetes.cri.container-name';

function annotations(pod: string, name?: string): Record<string, string> {
  return name === undefined
    ? { 'io.kubernetes.cri.container-type': 'sandbox', 'io.kubernetes.cri.sandbox-id': pod }
    : {
        'io.kubernetes.cri.container-type': 'container',
        'io.kubernetes.cri.sandbox-id': pod,
        [NAME]: name,
      };
}

checkpointCommandSuite('a pod', (host) => {
  interface Pod {
    readonly pod: string;
    readonly ids: readonly string[];
  }

  const defaultBundle = (own: Record<string, string>): string => host().bundle(counter, { annotations: own });

  async function startPod(names: readonly string[], bundle = defaultBundle): Promise<Pod> {
    const { silt } = host();
    const pod = host().newId();
    const ids = [pod];
    const start = (id: string, own: Record<string, string>): Promise<string> =>
      silt.must(['run', '--detach', '--bundle', bundle(own), id]);
    await start(pod, annotations(pod));
    for (const name of names) {
      const id = host().newId();
      await start(id, annotations(pod, name));
      ids.push(id);
    }
    for (const id of ids) await countsOn(host(), id);
    return { pod, ids };
  }

  async function remove({ ids }: Pod): Promise<void> {
    for (const id of [...ids].reverse()) await host().silt.must(['delete', '--force', id]);
  }

  test('is saved as a whole and brought back by name, into a new pod', async () => {
    const { silt } = host();
    const old = await startPod(['web', 'log']);
    const image = join(host().directory, 'pod/image');
    await silt.must(['checkpoint', '--image-path', image, old.pod]);
    for (const id of old.ids) expect(await silt.status(id)).toBe('stopped');
    await remove(old);
    expect(readdirSync(image).sort()).toEqual(['pod.json', ...old.ids].sort());

    const pod = host().newId();
    const restore = (id: string, own: Record<string, string>): Promise<string> =>
      silt.must(['restore', '--detach', '--image-path', image, '--bundle', host().bundle(counter, { annotations: own }), id]); // prettier-ignore
    await restore(pod, annotations(pod));
    const [web, log] = [host().newId(), host().newId()];
    await restore(log, annotations(pod, 'log'));
    await restore(web, { ...annotations(pod, 'site'), 'dev.gvisor.container-name-remap.1': 'web=site' });
    for (const id of [pod, web, log]) expect(await countsOn(host(), id)).toBeGreaterThan(10);

    const nobody = host().bundle(counter, { annotations: annotations(pod, 'other') });
    const refused = await silt.run(['restore', '--detach', '--image-path', image, '--bundle', nobody, host().newId()]);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/holds no container other; it holds (log, web|web, log)/);

    // What was restored is a container as any other.
    await silt.must(['pause', web]);
    expect(await silt.status(web)).toBe('paused');
    await silt.must(['resume', web]);
    await silt.must(['checkpoint', '--leave-running', '--image-path', join(host().directory, 'pod/single'), web]);
    await silt.must(['tar', 'rootfs-upper', '--file', join(host().directory, 'pod/upper.tar'), log]);
    await silt.must(['kill', log, 'KILL']);
    await waitFor('its end', async () => (await silt.status(log)) === 'stopped');
    await remove({ pod, ids: [pod, web, log] });
  }, 60_000);

  test('has stopped with all its containers before the first is written', async () => {
    const { silt } = host();
    const volume = join(host().directory, 'touched');
    mkdirSync(volume);
    const names = ['first', 'second', 'third'];
    const touching = (own: Record<string, string>): string =>
      host().bundle(
        [
          'sh',
          '-c',
          'i=0; while :; do i=$((i+1)); echo $i > /count; : > "/srv/$0"; sleep 0.01; done',
          own[NAME] ?? names[0]!,
        ],
        {
          annotations: own,
          mounts: [{ destination: '/srv', type: 'bind', source: volume, options: ['rbind', 'rw'] }],
        },
      );
    const pod = await startPod(names.slice(1), touching);
    const image = join(host().directory, 'at-once');
    await silt.must(['checkpoint', '--image-path', image, pod.pod]);
    // They have been killed as they stood: both times are of the same clock, and no later ones can have been.
    const timeOf = (path: string): bigint => statSync(path, { bigint: true }).mtimeNs;
    const images = pod.ids.flatMap((id) =>
      readdirSync(join(image, id))
        .filter((file) => file.endsWith('.img'))
        .map((file) => timeOf(join(image, id, file))),
    );
    expect(images.length).toBeGreaterThan(3 * pod.ids.length);
    const firstWritten = images.reduce((least, one) => (one < least ? one : least));
    expect(names.filter((name) => timeOf(join(volume, name)) > firstWritten)).toEqual([]);
    await remove(pod);
  }, 60_000);

  test('is not restored from a damaged list, nor from one that leads out of its directory', async () => {
    const { silt } = host();
    const old = await startPod(['web']);
    const image = join(host().directory, 'listed/image');
    await silt.must(['checkpoint', '--image-path', image, old.pod]);
    await remove(old);
    const list = join(image, POD_MANIFEST);
    const text = readFileSync(list, 'utf8');
    const refused = async (own: Record<string, string>): Promise<string> => {
      const id = host().newId();
      const bundle = host().bundle(counter, { annotations: own });
      const { code, stderr } = await silt.run(['restore', '--detach', '--image-path', image, '--bundle', bundle, id]);
      expect(code).not.toBe(0);
      expect((await silt.run(['state', id])).code).not.toBe(0);
      return stderr;
    };
    writeFileSync(list, text.replace('"web"', '"weB"'));
    expect(await refused({})).toMatch(/pod.json is damaged or was changed.*\(CHECKPOINT_INVALID\)/);
    writeFileSync(list, text);
    const { containers } = readPodManifest(image);
    cpSync(join(image, old.pod), join(image, '../outside'), { recursive: true });
    await writePodManifest(image, old.pod, [{ ...containers[0]!, directory: '../outside' }]);
    expect(await refused({})).toMatch(/no plain name of a directory \(CHECKPOINT_INVALID\)/);
    writeFileSync(list, text);
    const { directory } = containers.find(({ first }) => first)!;
    rmSync(join(image, directory), { recursive: true });
    symlinkSync('../outside', join(image, directory));
    expect(await refused({})).toMatch(/which pod.json lists, is a symlink \(CHECKPOINT_INVALID\)/);
    rmSync(join(image, '..'), { recursive: true });
  }, 60_000);

  test('one of its containers goes on in a pod that runs already', async () => {
    const { silt } = host();
    const old = await startPod(['web', 'log']);
    const image = join(host().directory, 'of-one');
    await silt.must(['checkpoint', '--leave-running', '--image-path', image, old.pod]);
    const single = join(host().directory, 'one');
    const web = old.ids[1]!;
    await silt.must(['checkpoint', '--image-path', single, web]);
    await silt.must(['delete', web]);
    const other = await startPod(['side']);
    const networkOf = async (id: string): Promise<string> =>
      readlinkSync(`/proc/${(JSON.parse(await silt.must(['state', id])) as { pid: number }).pid}/ns/net`);
    const restore = async (from: string, pod: string, own: Record<string, string>): Promise<string> => {
      const id = host().newId();
      const bundle = host().bundle(counter, { annotations: own });
      await silt.must(['restore', '--detach', '--image-path', from, '--bundle', bundle, id]);
      expect(await countsOn(host(), id)).toBeGreaterThan(5);
      expect(await networkOf(id)).toBe(await networkOf(pod));
      return id;
    };
    // The checkpoint of one container: into its own pod and into another one, whatever its name is there.
    const back = await restore(single, old.pod, annotations(old.pod, 'web'));
    const elsewhere = await restore(single, other.pod, annotations(other.pod, 'other'));
    // Of the pod's: by its directory, by its name, and by the name that it had.
    const directory = await restore(join(image, web), other.pod, annotations(other.pod, 'third'));
    const named = await restore(image, other.pod, annotations(other.pod, 'log'));
    const renamed = await restore(image, other.pod, {
      ...annotations(other.pod, 'journal'),
      'dev.gvisor.container-name-remap.1': 'web=site',
      'dev.gvisor.container-name-remap.2': 'log=journal',
    });

    const wrong = { ...annotations(other.pod, 'web'), 'dev.gvisor.container-name-remap.1': 'log' };
    const bundle = host().bundle(counter, { annotations: wrong });
    const refused = await silt.run(['restore', '--detach', '--image-path', image, '--bundle', bundle, host().newId()]);
    expect(refused.stderr).toContain('container-name-remap.1"]: "log" is not of the form from=to');
    await remove({ pod: other.pod, ids: [...other.ids, elsewhere, directory, named, renamed] });
    await remove({ pod: old.pod, ids: [old.pod, old.ids[2]!, back] });
  }, 90_000);

  // CRIU freezes them, and thaws them for what it does in them: frozen again by others it would wait for ever.
  test('of a container whose processes are signalled meanwhile', async () => {
    const { silt } = host();
    const id = host().newId();
    const words = ['sh', '-c', 'busybox dd if=/dev/zero bs=300M count=1 | sleep 1000'];
    await silt.must(['run', '--detach', '--bundle', host().bundle(words), id]);
    const image = join(host().directory, 'signalled');
    let ended = false;
    const checkpoint = silt
      .run(['checkpoint', '--leave-running', '--image-path', image, id])
      .finally(() => (ended = true));
    const signals: Promise<unknown>[] = [];
    for (; !ended; await Promise.all(signals.splice(0))) {
      for (let i = 0; i < 2; i++) signals.push(silt.must(['kill', '--all', id, 'URG']));
    }
    expect(await checkpoint).toMatchObject({ code: 0, stderr: '' });
    await silt.must(['exec', id, 'true']);
    await silt.must(['delete', '--force', id]);
  }, 60_000);

  // Both keep it still, each by a lease of its own, and both read the upper.
  test('of a container of which snapshots are taken, before it and meanwhile', async () => {
    const { silt, directory } = host();
    const id = host().newId();
    const script = `busybox dd if=/dev/zero of=/large bs=1M count=100; ${counter[2]} & busybox dd if=/dev/zero bs=300M count=1 | sleep 1000`;
    await silt.must(['run', '--detach', '--bundle', host().bundle(['sh', '-c', script]), id]);
    await countsOn(host(), id);
    const snapshots: string[] = [];
    const snapshot = (): Promise<unknown> => {
      const file = join(directory, `meanwhile-${snapshots.length}.tar`);
      snapshots.push(file);
      return silt.must(['tar', 'rootfs-upper', '--file', file, id]);
    };
    const begun = snapshot();
    await waitFor('it to be packed', () => existsSync(snapshots[0]!) && statSync(snapshots[0]!).size > 1 << 20);
    const image = join(directory, 'packed');
    let ended = false;
    const checkpoint = silt
      .run(['checkpoint', '--leave-running', '--image-path', image, id])
      .finally(() => (ended = true));
    const running = [begun];
    for (; !ended; await Promise.all(running.splice(0))) running.push(snapshot());
    expect(await checkpoint).toMatchObject({ code: 0, stderr: '' });
    expect(snapshots.length).toBeGreaterThan(1);
    for (const file of [...snapshots, join(image, 'upper.tar')]) {
      const { stdout } = await mustRun(['tar', '-tvf', file]);
      expect(stdout.toString()).toMatch(/ 104857600 .* (\.\/)?large\n/);
      rmSync(file);
    }
    await countsOn(host(), id);
    await silt.must(['delete', '--force', id]);
  }, 60_000);

  test('that is left running goes on, and a container that was paused stays so', async () => {
    const { silt } = host();
    const pod = await startPod(['one', 'two']);
    await silt.must(['pause', pod.ids[1]!]);
    const image = join(host().directory, 'running');
    await silt.must(['checkpoint', '--leave-running', '--image-path', image, pod.pod]);
    expect(await silt.status(pod.ids[1]!)).toBe('paused');
    await silt.must(['resume', pod.ids[1]!]);
    for (const id of pod.ids) await countsOn(host(), id);
    // A directory with a checkpoint is refused and left as it is.
    const before = readdirSync(image).sort();
    const again = await silt.run(['checkpoint', '--leave-running', '--image-path', image, pod.pod]);
    expect(again.stderr).toContain('is not empty');
    expect(readdirSync(image).sort()).toEqual(before);
    await remove(pod);
  }, 60_000);

  test('runs on when one of its containers cannot be saved', async () => {
    const { silt } = host();
    const pod = await startPod(['one', 'two']);
    const intruder = silt.start(['exec', pod.ids[2]!, 'sleep', '1000']);
    await waitFor('the exec', async () => (await silt.must(['ps', pod.ids[2]!])).includes('sleep 1000'));
    const image = join(host().directory, 'refused');
    const { code, stderr } = await silt.run(['checkpoint', '--image-path', image, pod.pod]);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/brought into the container by exec.*\(sleep\)/);
    expect(existsSync(image)).toBe(false);
    for (const id of pod.ids) await countsOn(host(), id);
    await remove(pod);
    await intruder.stop('SIGKILL');
  }, 60_000);

  test('is not paused while a checkpoint has its lock, but afterwards; a poststart hook may pause it', async () => {
    const { silt } = host();
    const hook = { path: siltProgram, args: ['silt', '--root', silt.root, 'pause', 'hooked'], timeout: 20 };
    const env = Object.entries(host().environment).map(([name, value]) => `${name}=${value}`);
    await silt.must(['run', '--detach', '--bundle', host().sleeper({ hooks: { poststart: [{ ...hook, env }] } }), 'hooked']); // prettier-ignore
    expect(await silt.status('hooked')).toBe('paused');
    const holder = startCommand(['flock', join(silt.root, 'hooked'), 'sh', '-c', 'echo locked; cat'], { keepStdinOpen: true }); // prettier-ignore
    await holder.waitForOutput(/locked/);
    const resuming = silt.start(['resume', 'hooked']);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await silt.status('hooked')).toBe('paused');
    holder.child.stdin?.end();
    expect((await resuming.ended).code).toBe(0);
    expect(await silt.status('hooked')).toBe('running');
    await silt.must(['delete', '--force', 'hooked']);
  }, 60_000);
});

/** Waits until a container has counted on, and returns its count. */
async function countsOn({ silt }: CommandLine, id: string): Promise<number> {
  let first: number | undefined;
  return waitFor(`${id} to count`, async () => {
    const { stdout } = await silt.run(['exec', id, 'sh', '-c', 'cat /count 2> /dev/null']);
    const count = Number(stdout.toString());
    if (count > 0) first ??= count;
    return first !== undefined && count > first + 5 ? count : undefined;
  });
}
