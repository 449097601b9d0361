/** What a container under Docker may do: users, capabilities, seccomp, privileges, devices, and the host's namespaces. */
import { readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isSilt, testIf } from '../harness';
import { dockerRuntime, dockerSuite } from '../harness/docker';

dockerSuite('rights under docker', {}, (host) => {
  const inside = async (flags: readonly string[], script: string): Promise<string> => {
    const { code, stdout, stderr } = await host().run(...flags, 'busybox', 'sh', '-c', script);
    if (code !== 0) throw new Error(`exit status ${code}: ${stderr}`);
    return stdout.toString();
  };
  const STATUS = `grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'`;
  const status = async (flags: readonly string[]): Promise<Record<string, string>> =>
    Object.fromEntries(
      (await inside(flags, STATUS))
        .trim()
        .split('\n')
        .map((line) => line.split(':') as [string, string]),
    );
  const bit = (capabilities: string, number: number): boolean =>
    (BigInt(`0x${capabilities}`) >> BigInt(number)) % 2n === 1n;
  const [CHOWN, NET_ADMIN, SYS_TIME] = [0, 12, 25];

  test('the usual: docker’s fourteen capabilities and a seccomp filter', async () => {
    expect(await status([])).toEqual({
      CapEff: '00000000a80425fb',
      CapBnd: '00000000a80425fb',
      NoNewPrivs: '0',
      Seccomp: '2',
    });
  });

  test('--cap-add and --cap-drop', async () => {
    const { CapEff = '' } = await status(['--cap-drop=CHOWN', '--cap-add=NET_ADMIN']);
    expect([CHOWN, NET_ADMIN, SYS_TIME].map((number) => bit(CapEff, number))).toEqual([false, true, false]);
    await expect(inside(['--cap-drop=ALL'], 'chown 1 /tmp')).rejects.toThrow(/Operation not permitted/);
    const widen = 'ip link set lo mtu 1400 && cat /sys/class/net/lo/mtu';
    expect(await inside(['--cap-add=NET_ADMIN'], widen)).toBe('1400\n');
    await expect(inside([], widen)).rejects.toThrow(/Operation not permitted/);
  });

  test('--user has no capabilities, and writes where it may', async () => {
    const flags = ['--user=guest'];
    expect((await status(flags))['CapEff']).toBe('0000000000000000');
    expect(await inside([...flags, '--tmpfs=/scratch:mode=1777'], 'touch /scratch/x && stat -c %u /scratch/x')).toBe(
      '1000\n',
    );
    await expect(inside(flags, 'touch /root/x')).rejects.toThrow(/Permission denied/);
  });

  test('--security-opt=no-new-privileges', async () => {
    expect((await status(['--security-opt=no-new-privileges']))['NoNewPrivs']).toBe('1');
  });

  test('--security-opt=seccomp with a profile of one’s own', async () => {
    const profile = join(host().directory, 'profile.json');
    const rule = { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 95 };
    writeFileSync(profile, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [rule] }));
    const flags = [`--security-opt=seccomp=${profile}`];
    await expect(inside(flags, 'mkdir /tmp/x')).rejects.toThrow(/Operation not supported|Not supported/i);
    expect(await inside(flags, 'touch /tmp/x; echo made')).toBe('made\n');
  });

  test('--security-opt=seccomp=unconfined takes docker’s filter away', async () => {
    // Docker's own filter refuses it without CAP_SYS_ADMIN; the kernel then does.
    const flags = ['--security-opt=seccomp=unconfined'];
    const { Seccomp } = await status(flags);
    expect(Seccomp).toBe(dockerRuntime === 'silt' ? '2' : '0');
  });

  test('--read-only: nothing but what is mounted can be written to', async () => {
    const flags = ['--read-only', '--tmpfs=/run:rw,size=1m,mode=1770'];
    await expect(inside(flags, 'touch /x')).rejects.toThrow(/Read-only file system/);
    await expect(inside(flags, 'touch /data/x')).rejects.toThrow(/Read-only file system/);
    expect(await inside(flags, 'touch /run/x && stat -c %a /run && df -k /run | tail -1')).toMatch(
      /^1770\ntmpfs +1024 /,
    );
  });

  test('the usual places of /proc and /sys are hidden or read-only', async () => {
    expect(await inside([], 'cat /proc/kcore | wc -c; ls /sys/firmware | wc -l')).toBe('0\n0\n');
    await expect(inside([], 'echo 1 > /proc/sys/kernel/panic')).rejects.toThrow(/Read-only file system/);
  });

  // What this machine does not have no container can have: runc fails for it, silt gives the rest.
  const whole = /^CapPrm:\t0*1(f+)$/m.test(readFileSync('/proc/self/status', 'utf8'));
  const privileged = testIf(
    isSilt || whole,
    'runc needs every capability for it, and this machine has not all of them',
  );
  privileged('--privileged: the capabilities of the host, its devices, and no filter', async () => {
    const { CapEff = '', Seccomp } = await status(['--privileged']);
    const own = /^CapPrm:\t(.*)$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]!;
    // Of those that this dockerd knows: 20.10 ends with CAP_AUDIT_READ.
    expect(BigInt(`0x${CapEff}`)).toBe(BigInt(`0x${own}`) & 0x3f_ffff_ffffn);
    expect(Seccomp).toBe('0');
    expect(await inside(['--privileged'], 'mount -t tmpfs none /tmp && ls /dev/kmsg')).toBe('/dev/kmsg\n');
    expect(await inside(['--privileged'], 'cat /proc/self/uid_map')).toMatch(/^ +0 +0 +4294967295\n$/);
  });

  test('--device: the device, with the access asked for', async () => {
    expect(await inside(['--device=/dev/full:/dev/f'], 'echo x > /dev/f; stat -c %F /dev/f')).toMatch(/^character/);
    // As the device cgroup has it, whose rules are about the host's devices: docker's own allow the usual ones in any case.
    await expect(inside(['--device=/dev/kmsg:/dev/k:r'], 'echo x > /dev/k')).rejects.toThrow(/not permitted|denied/);
  });

  test.each([
    ['--pid=host', 'pid'],
    ['--ipc=host', 'ipc'],
    ['--uts=host', 'uts'],
    ['--network=host', 'net'],
  ])('%s: the host’s namespace', async (flag, namespace) => {
    expect((await inside([flag], `readlink /proc/self/ns/${namespace}`)).trim()).toBe(
      readlinkSync(`/proc/self/ns/${namespace}`),
    );
  });

  test('--ipc=container and --pid=container: that container’s', async () => {
    const other = await host().background(['--ipc=shareable']);
    const both = [`--ipc=container:${other}`, `--pid=container:${other}`];
    const read = 'readlink /proc/self/ns/ipc; readlink /proc/self/ns/pid';
    expect(await inside(both, read)).toBe(await host().shell(other, read));
    // Its root has the rights of the other's: it can end the other's processes.
    await host().must('exec', '--detach', other, 'sleep', '4321');
    const one = 'grep -q 4321 /proc/$p/cmdline || continue; readlink /proc/$p/ns/user && kill $p || exit 3';
    const end = `for p in $(pidof sleep); do ${one}; done`;
    expect(await inside(both, `readlink /proc/self/ns/user; ${end}`)).toMatch(/^(\S+)\n\1\n$/);
    await host().must('rm', '--force', other);
  });

  test('--network=container and NET_ADMIN: that container’s network is changed, by who has no rights on the host', async () => {
    const other = await host().background(['--network=none']);
    const flags = [`--network=container:${other}`, '--cap-add=NET_ADMIN'];
    const userns = 'readlink /proc/self/ns/user';
    const [changer] = (await inside(flags, `${userns}; ip link set lo mtu 1400`)).split('\n');
    expect(await host().shell(other, `${userns}; cat /sys/class/net/lo/mtu`)).toBe(`${changer}\n1400\n`);
    expect(changer === readlinkSync('/proc/self/ns/user')).toBe(!isSilt);
    await host().must('rm', '--force', other);
  });
});
