/** A volume in which somebody swaps a directory for a symlink while silt mounts below it (docs/security.md, CVE-2021-30465). */
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { commandLineSuite, mustRun, startCommand } from '../harness';

/** Of each kind. */
const TRIES = 30;

commandLineSuite('a symlink that is swapped while silt mounts', (host) => {
  let swap: string;
  beforeAll(async () => {
    swap = join(host().directory, 'swap');
    await mustRun(['gcc', '-O1', '-o', swap, join(__dirname, 'swap.c')]);
  });

  // The second leads out by `..`, which the kernel looks up anew when a name has been swapped meanwhile (openat2(2), EAGAIN).
  test.each([
    ['auto', 'absolute'],
    ['none', 'relative'],
  ] as const)(
    'leads nothing out of the root, userns = "%s", one with an %s target',
    async (userns, kind) => {
      const { silt, directory } = host();
      const [volume, outside, file] = ['volume', 'outside', 'file'].map((name) =>
        join(directory, `${name}-${userns}-${kind}`),
      ) as [string, string, string];
      for (const made of [volume, join(volume, 'place'), outside]) mkdirSync(made);
      writeFileSync(file, 'mounted\n');
      writeFileSync(join(outside, 'of-the-host'), 'untouched\n');
      const target = kind === 'absolute' ? outside : `${'../'.repeat(12)}${outside.slice(1)}`;
      symlinkSync(target, join(volume, 'link'));
      const mounts = [
        { destination: '/vol', type: 'bind', source: volume, options: ['rbind', 'rw'] },
        { destination: '/vol/place/made/tmpfs', type: 'tmpfs', source: 'tmpfs' },
        { destination: '/vol/place/file', type: 'bind', source: file, options: ['bind', 'ro'] },
        { destination: '/vol/place/of-the-host', type: 'bind', source: file, options: ['bind'] },
      ];
      const linux = {
        maskedPaths: ['/vol/place/of-the-host', '/vol/place/made'],
        readonlyPaths: ['/vol/place'],
      };
      const process = { cwd: '/vol/place/cwd' };
      const bundle = host().bundle(['cat', '/proc/self/mountinfo'], { mounts, linux, process });
      const swapping = startCommand([swap, volume, 'place', 'link'], { keepStdinOpen: true });
      const before = readFileSync('/proc/self/mountinfo', 'utf8');
      const failures: string[] = [];
      try {
        for (let i = 0; i < TRIES; i++) {
          const { code, stdout, stderr } = await silt.run([`--userns=${userns}`, 'run', '--bundle', bundle, host().newId()]); // prettier-ignore
          if (code !== 0) failures.push(stderr);
          // What it has mounted is in the volume, or at the place of that name below its own root.
          const points = stdout
            .toString()
            .split('\n')
            .flatMap((line) => line.split(' ').slice(4, 5));
          expect(points.filter((one) => !/^\/($|proc|dev|vol)/.test(one) && !one.startsWith(outside))).toEqual([]);
          expect(readdirSync(outside)).toEqual(['of-the-host']);
        }
      } finally {
        swapping.child.stdin!.end();
      }
      // What was a directory when it was made below may be another one, or none, at the next look.
      for (const failure of failures) {
        expect(failure).toMatch(/\/vol\/place\/(made|file|of-the-host|cwd)\b.*\((SYSCALL_FAILED|EXEC_NOT_FOUND)\)/);
        expect(failure).not.toContain('EAGAIN');
      }
      const { stdout } = await swapping.ended;
      expect(readFileSync(join(outside, 'of-the-host'), 'utf8')).toBe('untouched\n');
      expect(readFileSync(file, 'utf8')).toBe('mounted\n');
      expect(Number(stdout.toString())).toBeGreaterThan(TRIES);
      // Others may mount and unmount meanwhile.
      expect(readFileSync('/proc/self/mountinfo', 'utf8').includes(outside)).toBe(before.includes(outside));
    },
    120_000,
  );
});
