/** hostPath volumes of every type: the kubelet makes or checks what is on the host, and the runtime mounts what is there. */
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { mustRun, waitFor } from '../harness';
import { kubeletSuites } from '../harness/cri/kubelet-suite';
import { noGrace, sleeping } from '../harness/cri/manifests';

interface Volume {
  readonly name: string;
  readonly path: string;
  readonly type: string;
}

kubeletSuites('hostPath volumes of a kubelet’s pods', (kubelet) => {
  function add(pod: string, volumes: readonly Volume[]): void {
    kubelet().add(pod, {
      ...noGrace,
      volumes: volumes.map(({ name, ...hostPath }) => ({ name, hostPath })),
      containers: [{ ...sleeping, volumeMounts: volumes.map(({ name }) => ({ name, mountPath: `/${name}` })) }],
    });
  }

  test('what may be made is made, and every type is there in the container', async () => {
    const directory = kubelet().scratch('types');
    const at = (name: string): string => join(directory, name);
    mkdirSync(at('directory'));
    writeFileSync(at('file'), 'a file\n');
    symlinkSync('file', at('link'));
    const server = createServer().listen(at('socket'));
    // A node is enough for it to be there: nobody may open it.
    await mustRun(['mknod', at('block'), 'b', '7', '250']);
    const volume = (name: string, type: string, path = at(name)): Volume => ({ name, type, path });
    try {
      add('types', [
        volume('directory', 'Directory'),
        volume('made', 'DirectoryOrCreate'),
        volume('file', 'File'),
        volume('empty', 'FileOrCreate'),
        volume('socket', 'Socket'),
        volume('null', 'CharDevice', '/dev/null'),
        volume('block', 'BlockDevice'),
        // Nobody looks at these two; containerd makes a directory of what is not there.
        volume('link', ''),
        volume('absent', ''),
      ]);
      await kubelet().ready('types');
      const run = (script: string): Promise<string> => kubelet().sh('types', 'main', script);
      expect(await run('cd /; stat -c "%n %F" directory made file empty socket null block link absent')).toBe(
        [
          'directory directory',
          'made directory',
          'file regular file',
          'empty regular empty file',
          'socket socket',
          'null character special file',
          'block block special file',
          'link regular file',
          'absent directory',
        ].join('\n'),
      );
      expect(await run('cat /link; echo x > /null; test -w /socket && echo may connect')).toBe('a file\nmay connect');
      await run('echo of the pod | tee /made/file > /empty');
      expect(readFileSync(at('made/file'), 'latin1')).toBe('of the pod\n');
      expect(readFileSync(at('empty'), 'latin1')).toBe('of the pod\n');
      expect(statSync(at('empty')).mode & 0o777).toBe(0o644);
      await kubelet().remove('types');
    } finally {
      server.close();
    }
  });

  test('a path of another type than its volume says starts no container', async () => {
    const directory = kubelet().scratch('wrong');
    writeFileSync(join(directory, 'file'), '');
    const wrong = {
      directory: ['Directory', 'file', 'is not a directory'],
      socket: ['Socket', 'file', 'is not a socket'],
      block: ['BlockDevice', 'file', 'is not a block device'],
      file: ['File', 'absent', 'is not a file'],
    } as const;
    for (const [name, [type, path]] of Object.entries(wrong)) {
      add(`wrong-${name}`, [{ name, type, path: join(directory, path) }]);
    }
    for (const [name, [, path, message]] of Object.entries(wrong)) {
      const told = `hostPath type check failed: ${join(directory, path)} ${message}`;
      await waitFor(`the kubelet to say that ${told}`, () => readFileSync(kubelet().logPath, 'utf8').includes(told));
      const pod = await kubelet().pod(`wrong-${name}`);
      expect(pod?.status.containerStatuses?.[0]?.containerID ?? '').toBe('');
    }
    expect(existsSync(join(directory, 'absent'))).toBe(false);
    for (const name of Object.keys(wrong)) await kubelet().remove(`wrong-${name}`);
  });
});
