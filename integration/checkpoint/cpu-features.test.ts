/** Containers whose programs are shown only some features of the CPU are saved and restored, and never see the others. */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkpointCommandSuite, mustRun, testIf, waitFor } from '../harness';
import { checkout } from '../harness/checkout';

const annotation = 'dev.gvisor.internal.cpufeatures';
const flags = (/^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '').trim().split(/\s+/);
const shown = flags.filter((name) => !name.startsWith('avx'));
const maskable = flags.includes('cpuid_fault') && flags.includes('avx2');
const maskTest = testIf(maskable, 'needs a CPU with AVX2 and CPUID faulting (cpuid_fault in /proc/cpuinfo)');

checkpointCommandSuite('CPU features', (host) => {
  const programs = (): string => join(host().directory, 'programs');

  beforeAll(async () => {
    mkdirSync(programs());
    const source = join(checkout, 'integration/checkpoint/programs/cpuid.c');
    await mustRun(['gcc', '-O2', '-pthread', '-static', source, '-o', join(programs(), 'cpuid')]);
  });

  const bundle = (features: readonly string[] = shown): string =>
    host().bundle(['/srv/cpuid'], {
      annotations: { [annotation]: features.join(',') },
      mounts: [{ destination: '/srv', type: 'bind', source: programs(), options: ['rbind', 'ro'] }],
    });

  async function start(): Promise<string> {
    const id = host().newId();
    await host().silt.must(['run', '--detach', '--bundle', bundle(), id]);
    await countsOn(id);
    return id;
  }

  const tracerOf = async (id: string): Promise<string> => {
    const { pid } = JSON.parse(await host().silt.must(['state', id])) as { pid: number };
    const tracer = /^TracerPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]!;
    return readFileSync(`/proc/${tracer}/comm`, 'utf8').trim();
  };

  async function countsOn(id: string): Promise<number> {
    let before: number | undefined;
    return waitFor(`${id} to count`, async () => {
      const { stdout, stderr } = await host().silt.run(['exec', id, 'sh', '-c', 'cat /report 2> /dev/null || true']);
      const report = stdout.toString().trim();
      if (report.startsWith('wrong') || stderr !== '') throw new Error(`${report}${stderr}`);
      before ??= report === '' ? undefined : Number(report);
      return before !== undefined && Number(report) > before + 3 ? Number(report) : undefined;
    });
  }

  maskTest(
    'a container is left running, in the middle of forks, as often as one likes',
    async () => {
      const { silt, directory } = host();
      const id = await start();
      for (let i = 0; i < 3; i++) {
        await silt.must(['checkpoint', '--leave-running', '--image-path', join(directory, `running-${i}`), id]);
        await countsOn(id);
      }
      expect(await tracerOf(id)).toBe('silt-cpuid');
      await silt.must(['pause', id]);
      await silt.must(['checkpoint', '--leave-running', '--image-path', join(directory, 'paused'), id]);
      expect(await silt.status(id)).toBe('paused');
      await silt.must(['resume', id]);
      await countsOn(id);
      await silt.must(['delete', '--force', id]);
    },
    60_000,
  );

  maskTest(
    'goes on masked in a new container, which can be saved too',
    async () => {
      const { silt, directory } = host();
      let id = await start();
      for (let i = 0; i < 2; i++) {
        const at = await countsOn(id);
        const image = join(directory, `image-${i}`);
        await silt.must(['checkpoint', '--image-path', image, id]);
        expect(await silt.status(id)).toBe('stopped');
        await silt.must(['delete', id]);
        id = host().newId();
        await silt.must(['restore', '--detach', '--image-path', image, '--bundle', bundle(), id]);
        expect(await countsOn(id)).toBeGreaterThan(at);
        expect(await tracerOf(id)).toBe('silt-cpuid');
      }
      const cpuinfo = await silt.must(['exec', id, 'grep', '-m1', '^flags', '/proc/cpuinfo']);
      expect(cpuinfo.trim().split(/\s+/).slice(2)).toEqual(shown);
      await silt.must(['exec', id, '/srv/cpuid', 'once']);
      await silt.must(['delete', '--force', id]);
    },
    60_000,
  );

  maskTest(
    'runs on masked when it cannot be saved',
    async () => {
      const { silt, directory } = host();
      const id = await start();
      const full = join(directory, 'full');
      mkdirSync(full);
      await mustRun(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', full]);
      try {
        const { code } = await silt.run(['checkpoint', '--image-path', join(full, 'image'), id]);
        expect(code).not.toBe(0);
      } finally {
        await mustRun(['umount', full]);
      }
      await countsOn(id);
      expect(await tracerOf(id)).toBe('silt-cpuid');
      await silt.must(['delete', '--force', id]);
    },
    60_000,
  );

  maskTest('is not restored where a feature is missing that it was shown, which is named', async () => {
    const { silt, directory } = host();
    const id = await start();
    const image = join(directory, 'more');
    await silt.must(['checkpoint', '--image-path', image, id]);
    await silt.must(['delete', id]);
    const fewer = bundle(shown.filter((name) => !['ssse3', 'aes'].includes(name)));
    const refused = await silt.run(['restore', '--detach', '--image-path', image, '--bundle', fewer, host().newId()]);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain(`with features that the annotation ${annotation} here lacks: ssse3, aes;`);
  });
});
