/**
 * Pods that an older silt started. Of each format of the state files that was ever released there is a directory here with files
 * as that silt wrote them; those of a running pod are brought into that form, and this silt has to know what to do with it.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  containerdSuite,
  runCommand,
  shimPid,
  siltProgram,
  waitFor,
  type CommandResult,
  type Containerd,
} from '../harness';

type Json = Record<string, unknown>;

const recorded = (format: number, file: string): Json =>
  JSON.parse(readFileSync(join(__dirname, `state-${format}`, file), 'utf8')) as Json;

/** Writes a running pod's files as the older silt would have: with the fields that it had, and no others. */
function age(host: Containerd, id: string, format: number): void {
  const pod = join(host.siltRoot, host.namespace, id);
  for (const [path, file] of [
    [join(pod, 'pod.json'), 'pod.json'],
    [join(pod, id, 'container.json'), 'container.json'],
  ] as const) {
    const now = JSON.parse(readFileSync(path, 'utf8')) as Json;
    const then = recorded(format, file);
    const aged = Object.fromEntries(Object.keys(then).map((key) => [key, key === 'version' ? format : now[key]]));
    expect(Object.values(aged)).not.toContain(undefined);
    writeFileSync(path, JSON.stringify(aged));
  }
  const kept = readdirSync(join(__dirname, `state-${format}`));
  for (const { name, parentPath } of readdirSync(pod, { recursive: true, withFileTypes: true }))
    if (name.endsWith('.json') && !kept.includes(name)) rmSync(join(parentPath, name));
}

containerdSuite('state of older versions', { onlyPeer: 'system', userns: 'none' }, (host) => {
  const silt = (...args: string[]): Promise<CommandResult> =>
    runCommand([siltProgram, '--root', join(host().siltRoot, host().namespace), ...args], { env: host().environment });

  describe.each([1])('format %d', (format) => {
    test('is listed, run in, saved, paused and resumed', async () => {
      const id = await host().startContainer();
      age(host(), id, format);
      const listed = await silt('list', '--format=json');
      expect(JSON.parse(listed.stdout.toString())).toEqual([expect.objectContaining({ id, status: 'running' })]);
      expect(await silt('exec', id, 'sh', '-c', 'echo here > /saved; exit 4')).toMatchObject({ code: 4, stderr: '' });
      const archive = join(host().directory, `${id}.tar`);
      expect(await silt('tar', 'rootfs-upper', '--file', archive, id)).toMatchObject({ code: 0, stderr: '' });
      const names = (await runCommand(['tar', '-tf', archive])).stdout.toString().split('\n');
      expect(names).toContain('./saved');
      expect(await silt('pause', id)).toMatchObject({ code: 0, stderr: '' });
      expect(JSON.parse((await silt('state', id)).stdout.toString())).toMatchObject({ status: 'paused' });
      expect(await silt('resume', id)).toMatchObject({ code: 0, stderr: '' });
      await host().remove(id);
      expect((await silt('list', '-q')).stdout.toString()).toBe('');
    });

    test('is cleaned up when its shim was killed', async () => {
      const id = await host().startContainer();
      age(host(), id, format);
      process.kill(shimPid(host(), id), 'SIGKILL');
      await waitFor('the pod to go', async () => (await silt('list', '-q')).stdout.toString() === '', {
        timeoutMs: 20_000,
      });
      await host().remove(id);
    });
  });

  test('a format that is to come is refused by name', async () => {
    const id = await host().startContainer();
    const path = join(host().siltRoot, host().namespace, id, id, 'container.json');
    const text = readFileSync(path, 'utf8');
    writeFileSync(path, JSON.stringify({ ...(JSON.parse(text) as Json), version: 1000 }));
    const refused = await silt('tar', 'rootfs-upper', id);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/was started by a newer silt \(state version 1000, this one knows \d+\)/);
    writeFileSync(path, text);
    await host().remove(id);
  });
});
