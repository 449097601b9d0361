/** The seccomp filter that a container gets though its spec, by `ctr run`, asks for none. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { C } from '../../syscall';
import { containerdSuite, siltTest } from '../harness';
import { buildProbe, type Call, probeFlags, probeResults, probeWords } from './attacker';

/** One call of each kind that the baseline refuses. Without a filter each gives another errno, which the last test shows. */
const REFUSED: readonly Call[] = [
  ['unshare', C.CLONE_NEWUSER],
  ['clone', C.CLONE_NEWUSER | C.SIGCHLD],
  ['mount', 0, 0, 0, 0, 0],
  ['setns', -1, 0],
  ['bpf', 0, 0, 0],
  ['io_uring_setup', 1, 0],
  ['userfaultfd', 0],
  ['keyctl', 0, -3, 0],
  ['add_key', 0, 0, 0, 0, 0],
  ['perf_event_open', 0, 0, -1, -1, 0],
  ['kexec_load', 0, 0, 0, 0],
  ['init_module', 0, 0, 0],
  ['open_by_handle_at', -1, 0, 0],
  ['quotactl', 0, 0, 0, 0],
  ['socket', C.AF_VSOCK, 1, 0],
  ['socket', C.AF_ALG, 5, 0],
  ['socket', 0x1_0000_0000n + BigInt(C.AF_ALG), 5, 0],
];

containerdSuite('the baseline filter', { onlyPeer: 'system' }, (host) => {
  beforeAll(() => buildProbe(host()));
  afterEach(() => host().configureSilt({}));

  const probe = async (calls: readonly Call[], flags: string[] = []): Promise<(number | string)[]> => {
    const result = await host().run(probeWords(calls), { flags: [...probeFlags(host()), ...flags] });
    expect(result).toMatchObject({ code: 0, stderr: '' });
    return probeResults(result.stdout.toString());
  };

  siltTest('refuses what no ordinary program needs', async () => {
    expect(await probe(REFUSED)).toEqual(REFUSED.map(() => 'EPERM'));
    expect(await probe([['clone3', 0, 0]])).toEqual(['ENOSYS']);
    expect(await probe([['5000']])).toEqual(['ENOSYS']);
  });

  siltTest('is there: the kernel says so, and counts one filter', async () => {
    const { stdout } = await host().run(['grep', 'Seccomp', '/proc/self/status']);
    expect(stdout.toString()).toMatch(/^Seccomp:\t2\nSeccomp_filters:\t1$/m);
  });

  siltTest('holds for exec too', async () => {
    const id = await host().startContainer(undefined, { flags: probeFlags(host()) });
    const { stdout } = await host().exec(id, probeWords(REFUSED));
    expect(probeResults(stdout.toString())).toEqual(REFUSED.map(() => 'EPERM'));
    await host().remove(id);
  });

  siltTest('yields what a granted capability is good for, and no more', async () => {
    const calls: Call[] = [
      ['mount', 0, 0, 0, 0, 0],
      ['unshare', C.CLONE_NEWUTS],
      ['clone3', 0, 0],
      ['keyctl', 0, -3, 0],
      ['init_module', 0, 0, 0],
    ];
    const [mount, unshare, clone3, keyctl, module] = await probe(calls, ['--cap-add', 'CAP_SYS_ADMIN']);
    expect(mount).not.toBe('EPERM');
    expect([unshare, clone3, keyctl, module]).toEqual([0, 'EINVAL', 'EPERM', 'EPERM']);
  });

  siltTest('holds under a spec’s own filter that allows everything', async () => {
    const profile = join(host().seeds, 'everything.json');
    writeFileSync(profile, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW' }));
    const flags = ['--seccomp', '--seccomp-profile', profile];
    expect(await probe(REFUSED, flags)).toEqual(REFUSED.map(() => 'EPERM'));
    const { stdout } = await host().run(['grep', 'Seccomp_filters', '/proc/self/status'], { flags });
    expect(stdout.toString()).toBe('Seccomp_filters:\t2\n');
  });

  siltTest('leaves alone what programs live on', async () => {
    const script = `
      set -e
      echo text > /tmp/a; cp /tmp/a /tmp/b; mv /tmp/b /tmp/c; ln -s c /tmp/d; grep -q text /tmp/d; chown 1000:1000 /tmp/c
      mknod /tmp/fifo p; (echo through > /tmp/fifo &); grep -q through /tmp/fifo
      ip addr show lo | grep -q 127.0.0.1; nc -l -p 7000 <> /tmp/fifo > /tmp/heard &
      until echo net | nc 127.0.0.1 7000 2> /dev/null; do sleep 0.1; done; wait; grep -q net /tmp/heard
      su guest -c 'test $(id -u) = 1000'; chroot / true; timeout 5 true; date > /dev/null; df / > /dev/null
      setsid true; ulimit -n 512; tar c /etc 2> /dev/null | tar t > /dev/null; wget --help 2> /dev/null; echo fine`;
    const result = await host().run(['sh', '-c', script]);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(result.stdout.toString()).toBe('fine\n');
  });

  siltTest('a privileged container has none', async () => {
    const { stdout } = await host().run(['grep', 'Seccomp_filters', '/proc/self/status'], { flags: ['--privileged'] });
    expect(stdout.toString()).toBe('Seccomp_filters:\t0\n');
  });

  siltTest('strict refuses more, whatever is granted', async () => {
    const calls: Call[] = [
      ['unshare', C.CLONE_NEWUSER],
      ['unshare', C.CLONE_NEWUTS],
      ['clone3', 0, 0],
      ['socket', C.AF_PACKET, 3, 0],
      ['socket', C.AF_VSOCK, 1, 0],
      ['socket', C.AF_ALG, 5, 0],
      ['io_uring_setup', 1, 0],
      ['userfaultfd', 1],
      ['keyctl', 0, 0xffffffff, 0],
      ['socket', C.AF_UNIX, 1, 0],
    ];
    const flags = ['--cap-add', 'CAP_SYS_ADMIN'];
    const before = await probe(calls, flags);
    expect([before[0], before[2], typeof before[3]]).toEqual([0, 'EINVAL', 'number']);
    host().configureSilt({ baseline: 'strict' });
    const after = await probe(calls, flags);
    const [, , , ...rest] = after;
    expect(after.slice(0, 3)).toEqual(['EPERM', 0, 'ENOSYS']);
    expect(rest.slice(0, -1)).toEqual(Array(6).fill('EPERM'));
    expect(after.at(-1)).toBeGreaterThan(2);
  });

  siltTest('with baseline = "none" the kernel itself answers', async () => {
    host().configureSilt({ baseline: 'none' });
    expect(await probe([['clone3', 0, 0]])).toEqual(['EINVAL']);
    expect((await probe([['userfaultfd', 1]]))[0]).not.toBe('EPERM');
    const { stdout } = await host().run(['grep', 'Seccomp:', '/proc/self/status']);
    expect(stdout.toString()).toBe('Seccomp:\t0\n');
  });
});
