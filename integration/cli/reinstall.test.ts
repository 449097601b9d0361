/** `make install` over pods that run: the new files are other files, and the pods go on with theirs. */
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { checkout, containerdSuite, mustRun, runCommand, shimPid } from '../harness';

const PREFIX = '/usr/local';

containerdSuite('installing over running pods', { onlyPeer: 'system' }, (host) => {
  const installed = (): string => join(host().directory, 'installed');

  async function install(): Promise<void> {
    await mustRun([join(checkout, 'tools', 'install'), PREFIX], { env: { ...process.env, DESTDIR: installed() } });
  }

  /** Inode of each file that is installed, by path. */
  function inodes(): Map<string, number> {
    const files = readdirSync(installed(), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    return new Map(
      files.map(({ parentPath, name }) => [join(parentPath, name), lstatSync(join(parentPath, name)).ino]),
    );
  }

  test('harms none of them', async () => {
    await install();
    const bin = join(installed(), PREFIX, 'bin');
    const id = await host().startContainer(['sleep', '1000'], { runtime: join(bin, 'containerd-shim-silt-v1') });
    const shim = shimPid(host(), id);
    const before = inodes();
    expect(before.size).toBeGreaterThan(30);

    // As while somebody reads from them: an install that writes in place would be seen in the middle.
    await install();

    const after = inodes();
    expect([...after.keys()]).toEqual([...before.keys()]);
    expect([...after].filter(([path, inode]) => before.get(path) === inode)).toEqual([]);
    expect(readlinkSync(`/proc/${shim}/exe`)).toMatch(/installed\/usr\/local\/lib\/silt\/node \(deleted\)$/);

    const run = await host().exec(id, ['sh', '-c', 'echo kept > /file; cat /file']);
    expect([run.code, run.stdout.toString()]).toEqual([0, 'kept\n']);
    const silt = [join(bin, 'silt'), '--root', join(host().siltRoot, host().namespace)];
    const env = host().environment;
    const archive = join(host().directory, 'kept.tar');
    expect(await runCommand([...silt, 'tar', 'rootfs-upper', '--file', archive, id], { env })).toMatchObject({
      code: 0,
    });
    expect(readFileSync(archive).includes('./file')).toBe(true);
    expect(shimPid(host(), id)).toBe(shim);
    await host().remove(id);
  });

  test('uninstalling takes away what was installed', async () => {
    await install();
    const env = { ...process.env, DESTDIR: installed() };
    await mustRun([join(checkout, 'tools', 'install'), '--remove', PREFIX], { env });
    expect([...inodes().keys()]).toEqual([]);
  });
});
