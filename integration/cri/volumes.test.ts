/** What a kubelet mounts into containers: emptyDir, hostPath of every type, subPath, configMaps, propagation. */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { imageName, mustRun, siltTest, waitFor } from '../harness';
import { criSuite } from '../harness/cri/suite';

criSuite('volumes of a pod', { onlyPeer: 'system' }, (kubelet) => {
  const volume = (): string => mkdtempSync(join(kubelet().containerd.directory, 'volume-'));
  const at = (containerPath: string, hostPath: string, more: object = {}): object => ({
    containerPath,
    hostPath,
    ...more,
  });

  test('an emptyDir is shared by two containers, in memory as on disk, and coherent', async () => {
    const disk = volume();
    const memory = volume();
    await mustRun(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'emptydir', memory]);
    try {
      await kubelet().withPod({}, async (pod) => {
        const mounts = [at('/disk', disk), at('/memory', memory)];
        const writer = await pod.run(['sleep', '1000'], { mounts });
        const reader = await pod.run(['sleep', '1000'], { mounts: [...mounts, at('/ro', disk, { readonly: true })] });
        for (const directory of ['/disk', '/memory']) {
          await pod.sh(writer, `echo first > ${directory}/file`);
          expect(await pod.sh(reader, `cat ${directory}/file; echo second > ${directory}/file`)).toBe('first');
          expect(await pod.sh(writer, `cat ${directory}/file`)).toBe('second');
        }
        expect(await pod.sh(reader, 'cat /ro/file; (echo no > /ro/file) 2>&1 | grep -o Read-only')).toBe(
          'second\nRead-only',
        );
        expect(await pod.sh(writer, 'head -c 2000000 /dev/zero > /memory/big 2>/dev/null || echo full')).toBe('full');
      });
      expect(readFileSync(join(disk, 'file'), 'latin1')).toBe('second\n');
    } finally {
      await mustRun(['umount', memory]);
    }
  });

  test('hostPath: directory, file, socket, character and block device, what lies beneath a symlink, and what is not there yet', async () => {
    const directory = volume();
    writeFileSync(join(directory, 'file'), 'a file\n');
    mkdirSync(join(directory, 'sub'));
    writeFileSync(join(directory, 'sub/inner'), 'inner\n');
    symlinkSync('sub', join(directory, 'link'));
    // A node is enough for it to be there: nobody may open it.
    const block = join(directory, 'block');
    await mustRun(['mknod', block, 'b', '7', '250']);
    const server = createServer((socket) => socket.end('hello\n')).listen(join(directory, 'socket'));
    try {
      await kubelet().withPod({}, async (pod) => {
        const names = ['file', 'socket', 'sub', 'link', 'absent'];
        const mounts = names.map((name) => at(`/mnt/${name}`, join(directory, name)));
        const id = await pod.run(['sleep', '1000'], {
          mounts: [...mounts, at('/mnt/null', '/dev/null'), at('/mnt/disk', block)],
        });
        expect(
          await pod.sh(
            id,
            'cat /mnt/file /mnt/sub/inner /mnt/link/inner; test -S /mnt/socket && test -w /mnt/socket && echo socket',
          ),
        ).toBe('a file\ninner\ninner\nsocket');
        const there = connect(join('/proc', String(await pod.pid(id)), 'root/mnt/socket'));
        expect((await once(there, 'data')).toString()).toBe('hello\n');
        expect(await pod.sh(id, 'test -c /mnt/null && test -b /mnt/disk && echo devices')).toBe('devices');
        // What is not there containerd makes, as a directory; whether it may be so is for the kubelet to say (hostPath's types).
        expect(await pod.sh(id, 'echo x > /mnt/absent/file; cat /mnt/absent/file')).toBe('x');
        expect(readFileSync(join(directory, 'absent/file'), 'latin1')).toBe('x\n');
      });
    } finally {
      server.close();
    }
  });

  test('a configMap changes all at once while it is mounted read-only', async () => {
    const directory = volume();
    const publish = (version: string): void => {
      mkdirSync(join(directory, `..${version}`));
      writeFileSync(join(directory, `..${version}`, 'key'), version);
      symlinkSync(`..${version}`, join(directory, '..data_tmp'));
      renameSync(join(directory, '..data_tmp'), join(directory, '..data'));
    };
    publish('one');
    symlinkSync('..data/key', join(directory, 'key'));
    await kubelet().withPod({}, async (pod) => {
      const id = await pod.run(['sleep', '1000'], { mounts: [at('/etc/config', directory, { readonly: true })] });
      expect(await pod.sh(id, 'cat /etc/config/key')).toBe('one');
      publish('two');
      expect(await pod.sh(id, 'cat /etc/config/key')).toBe('two');
      expect((await pod.exec(id, ['touch', '/etc/config/key'])).code).not.toBe(0);
    });
  });

  test('a subPath is the part of the volume that it names', async () => {
    const directory = volume();
    mkdirSync(join(directory, 'part'));
    await kubelet().withPod({}, async (pod) => {
      const id = await pod.run(['sleep', '1000'], { mounts: [at('/part', join(directory, 'part'))] });
      await pod.sh(id, 'echo x > /part/file');
      expect(await pod.sh(id, 'ls -A /part')).toBe('file');
    });
    expect(readFileSync(join(directory, 'part/file'), 'latin1')).toBe('x\n');
  });

  siltTest('an overlay of the host: its layers as one, read-only, with the owners that they have', async () => {
    const [top, below, upper, work] = [volume(), volume(), volume(), volume()];
    mkdirSync(join(top, 'sub'));
    writeFileSync(join(top, 'sub/secret'), 'upper\n', { mode: 0o600 });
    writeFileSync(join(below, 'below'), 'lower\n', { mode: 0o600 });
    // Without an upper, and as containerd mounts an image: with one that stays empty, of a single layer or more.
    for (const options of [
      `ro,lowerdir=${top}:${below}`,
      `lowerdir=${top}:${below},upperdir=${upper},workdir=${work}`,
    ]) {
      const image = volume();
      await mustRun(['mount', '-t', 'overlay', '-o', options, 'overlay', image]);
      try {
        await kubelet().withPod({}, async (pod) => {
          const mounts = Object.entries({
            whole: image,
            part: join(image, 'sub'),
            file: join(image, 'sub/secret'),
          }).map(([name, path]) => at(`/${name}`, path, { readonly: true }));
          const id = await pod.run(['sleep', '1000'], { mounts });
          expect(await pod.sh(id, 'cat /whole/below /whole/sub/secret /part/secret /file; stat -c %u:%a /file')).toBe(
            'lower\nupper\nupper\nupper\n0:600',
          );
          expect((await pod.exec(id, ['touch', '/whole/below'])).stderr).toContain('Read-only');
        });
      } finally {
        await mustRun(['umount', image]);
      }
    }
  });

  test('a mount of the host appears in a container that asked for it, and in no other', async () => {
    const directory = volume();
    mkdirSync(join(directory, 'later'));
    await mustRun(['mount', '--bind', directory, directory]);
    await mustRun(['mount', '--make-shared', directory]);
    try {
      await kubelet().withPod({}, async (pod) => {
        const slave = await pod.run(['sleep', '1000'], {
          mounts: [at('/mnt', directory, { propagation: 'PROPAGATION_HOST_TO_CONTAINER' })],
        });
        const alone = await pod.run(['sleep', '1000'], { mounts: [at('/mnt', directory)] });
        await mustRun(['mount', '-t', 'tmpfs', 'later', join(directory, 'later')]);
        writeFileSync(join(directory, 'later/file'), 'new\n');
        expect(await pod.sh(slave, 'cat /mnt/later/file')).toBe('new');
        expect(await pod.sh(alone, 'ls -A /mnt/later')).toBe('');
        await mustRun(['umount', join(directory, 'later')]);
        expect(await pod.sh(slave, 'ls -A /mnt/later')).toBe('');
      });
    } finally {
      await mustRun(['umount', directory]);
    }
  });

  test('a privileged container’s mount appears on the host when it asked for that', async () => {
    const directory = volume();
    mkdirSync(join(directory, 'given'));
    await mustRun(['mount', '--bind', directory, directory]);
    await mustRun(['mount', '--make-shared', directory]);
    try {
      await kubelet().withPod({ security: { privileged: true } }, async (pod) => {
        const id = await pod.run(['sleep', '1000'], {
          security: { privileged: true },
          mounts: [at('/mnt', directory, { propagation: 'PROPAGATION_BIDIRECTIONAL' })],
        });
        await pod.sh(id, 'mount -t tmpfs given /mnt/given && echo seen > /mnt/given/file');
        await waitFor(
          'the mount on the host',
          () => readFileSync(join(directory, 'given/file'), 'latin1') === 'seen\n',
        );
        await pod.sh(id, 'umount /mnt/given');
      });
    } finally {
      await mustRun(['umount', '--recursive', directory]);
    }
  });

  siltTest('a volume that is not there fails its container by name', async () => {
    const directory = volume();
    await kubelet().withPod({}, async (pod) => {
      const id = await pod.create(['true'], { mounts: [at('/mnt', directory)] });
      rmSync(directory, { recursive: true });
      await expect(pod.start(id)).rejects.toThrow(directory);
    });
  });
});

const images = { needs: 2.1, containerdLeaves: /\/image-volumes$/ };
criSuite('an image as a volume of a pod', images, (kubelet) => {
  test('is there with the owners of its files, and only to be read', async () => {
    await kubelet().withPod({}, async (pod) => {
      const mounts = [{ containerPath: '/image', image: { image: imageName }, readonly: true }];
      const id = await pod.run(['sleep', '1000'], { mounts });
      expect(await pod.sh(id, 'cat /image/etc/motd /image/home/guest/notes')).toBe('second layer\nthird layer');
      expect(await pod.sh(id, 'stat -c %u:%g /image/etc/motd /image/home/guest/notes')).toBe('0:0\n1000:1000');
      expect((await pod.exec(id, ['touch', '/image/etc/motd'])).stderr).toContain('Read-only');
    });
  });
});
