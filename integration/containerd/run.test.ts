/** `ctr run`: what a person who starts one command sees of it. */
import { createHash, randomBytes } from 'node:crypto';
import { containerdSuite } from '../harness';

containerdSuite('ctr run', {}, (host) => {
  test('passes the exit status on', async () => {
    for (const status of [0, 1, 42, 255]) {
      expect(await host().run(['sh', '-c', `exit ${status}`])).toMatchObject({ code: status, stderr: '' });
    }
  });

  test('keeps stdout and stderr apart', async () => {
    const result = await host().run(['sh', '-c', 'echo to stdout; echo to stderr >&2; echo again']);
    expect(result).toMatchObject({ code: 0, stderr: 'to stderr\n' });
    expect(result.stdout.toString()).toBe('to stdout\nagain\n');
  });

  test('gives the container its stdin to the end', async () => {
    const input = randomBytes(3_000_001);
    const result = await host().run(['sha256sum'], { stdin: input });
    expect(result.code).toBe(0);
    expect(result.stdout.toString()).toBe(`${createHash('sha256').update(input).digest('hex')}  -\n`);
  });

  test('sets environment, directory and host name as asked', async () => {
    const flags = ['--env', 'COLOUR=green', '--cwd', '/home/guest'];
    const result = await host().run(['sh', '-c', 'echo $COLOUR $PWD; echo $PATH'], { flags });
    expect(result.stdout.toString()).toBe(
      'green /home/guest\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n',
    );
  });

  test('shows the image as its layers say: whiteouts, opaque directories, later files', async () => {
    const script =
      'cat /etc/motd /home/guest/notes /lower/kept/link; cd /lower; ls; ls replaced; stat -c "%u %g %a" /home/guest/notes';
    const result = await host().run(['sh', '-c', script]);
    expect(result.stdout.toString().split('\n')).toEqual([
      'second layer',
      'third layer',
      'kept from the first layer',
      'kept',
      'replaced',
      'to-delete',
      'from-second-layer',
      '1000 1000 600',
      '',
    ]);
  });

  test('lets a container change its root filesystem, for itself only', async () => {
    const change =
      'echo changed > /etc/motd && rm /lower/to-delete && rm -r /lower/replaced && mkdir /new && ls /lower';
    expect((await host().run(['sh', '-c', change])).stdout.toString()).toBe('kept\n');
    expect((await host().run(['cat', '/etc/motd'])).stdout.toString()).toBe('second layer\n');
  });

  test('keeps the root filesystem as it is with --read-only', async () => {
    const result = await host().run(['touch', '/etc/new'], { flags: ['--read-only'] });
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('Read-only file system');
  });

  test('isolates: own process ids, host name, mounts, no network but loopback', async () => {
    const script = 'echo $$; ls /proc | grep -c "^[0-9]"; ls /sys/class/net; hostname x 2>&1 | wc -l';
    const lines = (await host().run(['sh', '-c', script])).stdout.toString().split('\n');
    expect(lines[0]).toBe('1');
    expect(Number(lines[1])).toBeLessThan(5);
    expect(lines[2]).toBe('lo');
  });

  test('binds a directory of the host, writable or not', async () => {
    const mount = (options: string): string[] => [
      '--mount',
      `type=bind,src=${host().seeds},dst=/mnt,options=${options}`,
    ];
    expect(
      (await host().run(['sh', '-c', 'echo hello > /mnt/from-container'], { flags: mount('rbind:rw') })).code,
    ).toBe(0);
    const read = await host().run(['sh', '-c', 'cat /mnt/from-container; echo x > /mnt/other'], {
      flags: mount('rbind:ro'),
    });
    expect(read.stdout.toString()).toBe('hello\n');
    expect(read.stderr).toContain('Read-only file system');
    expect(read.code).toBe(1);
  });

  test('applies the memory limit', async () => {
    const flags = ['--memory-limit', String(32 * 1024 * 1024)];
    const result = await host().run(['sh', '-c', 'head -c 200000000 /dev/zero | tail -n 1 | wc -c'], { flags });
    expect(result.stdout.toString().trim()).not.toBe('200000000');
  });

  test('runs twice under one name only after the first is gone', async () => {
    const id = await host().startContainer();
    const second = await host().ctr(host().runWords(id, ['true']));
    expect(second.code).toBe(1);
    expect(second.stderr).toContain('already exists');
    await host().remove(id);
    expect((await host().ctr(host().runWords(id, ['true'], { flags: ['--rm'] }))).code).toBe(0);
  });
});
