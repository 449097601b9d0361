/** `userns = "auto"`: the pod has a user namespace of its own, and the root in it is nobody on the host. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { containerdSuite, siltTest, taskPid } from '../harness';

containerdSuite('user namespaces', { userns: 'auto' }, (host) => {
  siltTest('root of the container is not root of the host', async () => {
    const id = await host().startContainer();
    const pid = await taskPid(host(), id);
    expect(readFileSync(`/proc/${pid}/uid_map`, 'latin1')).not.toMatch(/^\s*0\s+0\s/);
    expect(statSync(`/proc/${pid}`).uid).toBeGreaterThan(65535);
    expect((await host().exec(id, ['id', '-u'])).stdout.toString()).toBe('0\n');
    await host().remove(id);
  });

  siltTest('the image’s owners are as in the image, and what is written is the container’s', async () => {
    const script =
      'stat -c "%u:%g" /etc/passwd /home/guest; touch /root/x && chown 1000:1000 /root/x && stat -c "%u:%g" /root/x';
    const result = await host().run(['sh', '-c', script]);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(result.stdout.toString()).toBe('0:0\n1000:1000\n1000:1000\n');
  });

  siltTest('a bind mount shows the host’s owners mapped into the container', async () => {
    const flags = ['--mount', `type=bind,src=${host().seeds},dst=/mnt,options=rbind:rw`];
    const result = await host().run(['sh', '-c', 'echo hello > /mnt/file && stat -c "%u:%g" /mnt/file'], { flags });
    expect(result.stdout.toString()).toBe('0:0\n');
    expect(statSync(join(host().seeds, 'file')).uid).toBe(0);
  });

  siltTest('terminals, devices and the process file system work', async () => {
    const script =
      'test -c /dev/null && echo > /dev/null && head -c 4 /dev/zero | wc -c && ls /proc/self/fd > /dev/null && echo fine';
    const result = await host().run(['sh', '-c', script]);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(result.stdout.toString()).toBe('4\nfine\n');
  });

  test('containers run', async () => {
    expect((await host().run(['echo', 'hello'])).stdout.toString()).toBe('hello\n');
  });
});
