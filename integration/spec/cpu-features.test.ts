/** `dev.gvisor.internal.cpufeatures`: what programs inside find out of the CPU, and what the tracer that sees to it leaves alone. */
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadNative, openInterpreter } from '../../native';
import { TracerControl } from '../../sandbox/cpuid';
import { Kernel } from '../../syscall';
import {
  containerdSuite,
  isSilt,
  type Json,
  mustRun,
  shellSpec,
  SpecBench,
  taskPid,
  testIf,
  waitFor,
} from '../harness';

const annotation = 'dev.gvisor.internal.cpufeatures';
const flags = (/^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '').trim().split(/\s+/);
const shown = flags.filter((name) => !name.startsWith('avx') && name !== 'fsgsbase');
const maskable = isSilt && flags.includes('cpuid_fault') && flags.includes('avx2');
const maskTest = testIf(maskable, 'needs silt on a CPU with AVX2 and CPUID faulting (cpuid_fault in /proc/cpuinfo)');

const masked = 'avx2 0 0 sse4.2 1 hwcap sse2 1 fsgsbase 0 uid 0';

containerdSuite('CPU features', { onlyPeer: 'system' }, (host) => {
  let bench: SpecBench;
  beforeAll(async () => {
    bench = new SpecBench(host());
    if (!maskable) return;
    const program = join(bench.rootfs, 'bin', 'cpu-features');
    const source = join(__dirname, 'cpu-features.c');
    await mustRun(['gcc', '-O1', '-pthread', '-static', '-o', `${program}-static`, source]);
    await mustRun(['gcc', '-O1', '-pthread', '-o', program, source]);
    copyFileSync(`${program}-static`, `${program}-setuid`);
    chmodSync(`${program}-setuid`, 0o4755);
    for (const name of hostDirectories) mkdirSync(join(bench.rootfs, name), { recursive: true });
  });

  /** Directories of the host that its dynamic programs need, which the container has too. */
  const hostDirectories = ['/usr', '/lib', '/lib64'].filter((path) => existsSync(path));
  const spec = (script: string, change: (it: Json) => void = () => undefined, features = shown.join(',')): Json =>
    shellSpec(script, (it) => {
      it['annotations'] = { [annotation]: features };
      for (const path of hostDirectories)
        (it['mounts'] as Json[]).push({ destination: path, type: 'bind', source: path, options: ['rbind', 'ro'] });
      change(it);
    });

  maskTest('static and dynamic programs, and those that these start, are shown the features of the list', async () => {
    const output = await bench.output(spec('cpu-features-static; cpu-features; sh -c "cpu-features; true"'));
    expect(output.split('\n')).toEqual([masked, masked, masked]);
  });

  maskTest('/proc/cpuinfo lists them and no others', async () => {
    const output = await bench.output(spec('grep ^flags /proc/cpuinfo | sort -u | cut -d: -f2'));
    expect(output.trim().split(' ')).toEqual(shown);
  });

  maskTest('without the annotation nothing is traced and all is shown', async () => {
    const output = await bench.output(
      spec('cpu-features; grep TracerPid /proc/self/status', (it) => {
        delete it['annotations'];
      }),
    );
    expect(output).toMatch(/^avx2 1 1 .*\nTracerPid:\t0$/);
  });

  maskTest('real programs of the host run', async () => {
    const script =
      '/usr/bin/grep -c root /etc/passwd; /usr/bin/perl -e \'print "perl\\n"\'; echo x | /usr/bin/sha256sum | cut -c1-8';
    expect(await bench.output(spec(script))).toBe('1\nperl\n73cb3858');
  });

  maskTest('threads, signals, stopping, vfork, exec and faults are as ever', async () => {
    expect(await bench.output(spec('cpu-features life'))).toBe('lived');
  });

  maskTest('a setuid program gets its user', async () => {
    const output = await bench.output(
      spec('cpu-features-setuid', (it) => {
        Object.assign(it['process'] as Json, { user: { uid: 1000, gid: 1000 }, noNewPrivileges: false });
      }),
    );
    expect(output).toBe(masked);
  });

  maskTest('in a user namespace, under a seccomp filter that has no arch_prctl', async () => {
    const names = ['arch_prctl'];
    const range = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    const output = await bench.output(
      spec('cpu-features-static', (it) => {
        const linux = it['linux'] as Json;
        (linux['namespaces'] as Json[]).push({ type: 'user' });
        linux['uidMappings'] = linux['gidMappings'] = range;
        linux['seccomp'] = {
          defaultAction: 'SCMP_ACT_ALLOW',
          // glibc sets its thread pointer with it (ARCH_SET_FS); everything else is refused.
          syscalls: [{ names, action: 'SCMP_ACT_ERRNO', args: [{ index: 0, value: 0x1012, op: 'SCMP_CMP_EQ' }] }],
        };
      }),
    );
    expect(output).toBe(masked);
  });

  maskTest('the exit status and a killing signal reach containerd', async () => {
    expect((await bench.run(spec('exit 7'))).code).toBe(7);
    expect((await bench.run(spec('cpu-features-static > /dev/null; kill -KILL 1; exit 3'))).code).toBe(3);
  });

  maskTest('an exec is shown the same; pausing works; killing the tracer ends the container', async () => {
    const { containerd } = bench;
    const id = await bench.start(spec('while :; do sleep 1; done'));
    const exec = async (name: string): Promise<string> =>
      (await containerd.mustCtr(['tasks', 'exec', '--exec-id', name, id, '/bin/cpu-features'])).stdout.toString();
    expect(await exec('one')).toBe(`${masked}\n`);
    await containerd.mustCtr(['tasks', 'pause', id]);
    await containerd.mustCtr(['tasks', 'resume', id]);
    expect(await exec('two')).toBe(`${masked}\n`);
    const pid = await taskPid(containerd, id);
    const tracer = Number(/^TracerPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
    expect(readFileSync(`/proc/${tracer}/comm`, 'utf8')).toBe('silt-cpuid\n');
    process.kill(tracer, 'SIGKILL');
    await waitFor('the end of the container', () => !existsSync(`/proc/${pid}`));
    await containerd.mustCtr(['tasks', 'delete', '--force', id]);
    await containerd.mustCtr(['containers', 'delete', id]);
  });

  maskTest('the tracer lets go of a frozen container, and traces it again when it is told to or left', async () => {
    const { containerd } = bench;
    const id = await bench.start(spec('while cpu-features-static quiet; do :; done'));
    const pid = await taskPid(containerd, id);
    const field = (name: string): string =>
      new RegExp(`^${name}:\\s*(\\w+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]!;
    const tracer = field('TracerPid');
    const kernel = new Kernel(loadNative(), openInterpreter());
    const state = join(containerd.siltRoot, containerd.namespace, id, id);
    for (const end of ['resume', 'close'] as const) {
      const control = TracerControl.connect(kernel, state);
      await control.hold();
      expect([field('State'), field('TracerPid')]).toEqual(['t', tracer]);
      await containerd.mustCtr(['tasks', 'pause', id]);
      await control.letGo();
      expect(field('TracerPid')).toBe('0');
      if (end === 'resume') await control.resume();
      control.close();
      await waitFor('it to be traced again', () => field('TracerPid') === tracer);
      await containerd.mustCtr(['tasks', 'resume', id]);
      // A program that saw what it should not, or a CPUID that nobody answers for, would end the loop.
      expect((await containerd.mustCtr(['tasks', 'exec', '--exec-id', end, id, '/bin/cpu-features'])).code).toBe(0);
      expect(field('TracerPid')).toBe(tracer);
    }
    await containerd.mustCtr(['tasks', 'delete', '--force', id]);
    await containerd.mustCtr(['containers', 'delete', id]);
  });

  testIf(isSilt, 'is about silt')('features that do not exist are refused by their names', async () => {
    const error = await bench.refusal(spec('true', undefined, 'sse2,sse9,,nonsense'));
    expect(error).toContain('no such CPU feature: sse9, nonsense');
  });
});
