/** Who may say where a container writes to: the operator's file, the command line, and annotations, as far as the operator lets them. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { commandLineSuite, containerdSuite, siltTest, tarArchive } from '../harness';
import { engineUpper } from './overlay';

const PREFIX = 'dev.gvisor.flag.';
const refused = (flag: string): RegExp =>
  new RegExp(`the annotation ${PREFIX}${flag} is not allowed here; list "${flag}" in allow-flag-override of silt's configuration`); // prettier-ignore

/** What the operator's configuration says, and what becomes of two annotations then: `none`, and the older flag's `true`. */
const allowances: readonly (readonly [string, { readonly overlay2: boolean; readonly overlay: boolean }])[] = [
  ['true', { overlay2: true, overlay: true }],
  ['["overlay2"]', { overlay2: true, overlay: false }],
  ['["overlay", "file-access"]', { overlay2: false, overlay: true }],
  ['[]', { overlay2: false, overlay: false }],
  ['false', { overlay2: false, overlay: false }],
];

containerdSuite('annotations for flags under containerd', { onlyPeer: 'system' }, (host) => {
  for (const [allowance, may] of allowances)
    siltTest(`are followed or refused as allow-flag-override = ${allowance} says`, async () => {
      host().configureSilt({ flagOverride: allowance });
      const volume = mkdtempSync(join(host().directory, 'volume-'));
      const cases = [
        ['overlay2', 'none', may.overlay2],
        ['overlay', 'true', may.overlay],
      ] as const;
      for (const [flag, value, isAllowed] of cases) {
        const flags = ['--annotation', `${PREFIX}${flag}=${value}`, '--mount', `type=bind,src=${volume},dst=/volume,options=rbind:rw`]; // prettier-ignore
        if (!isAllowed) {
          const { code, stderr } = await host().run(['true'], { flags });
          expect([code, stderr]).toEqual([1, expect.stringMatching(refused(flag)) as string]);
          continue;
        }
        const id = await host().startContainer(undefined, { flags });
        await host().exec(id, ['sh', '-c', 'echo x > /root/x; echo x > /volume/x']);
        // `none`: both reach the host. `true`: neither does.
        const reaches = flag === 'overlay2';
        expect([existsSync(join(await engineUpper(host(), id), 'root/x')), readdirSync(volume)]).toEqual([reaches, may.overlay2 ? ['x'] : []]); // prettier-ignore
        await host().remove(id);
      }
    });
});

commandLineSuite('flags of the command line for where a container writes to', (host) => {
  const script = 'echo x > /written; echo x > /volume/x';
  /** Runs a container with a volume; what it wrote that is on the host. */
  const run = async (
    flags: readonly string[],
    annotations: Readonly<Record<string, string>> = {},
  ): Promise<{ code: number; stderr: string; root: boolean; volume: boolean }> => {
    const volume = join(host().directory, `volume-${host().newId()}`);
    const rootfs = join(host().directory, `rootfs-${host().newId()}`);
    mkdirSync(volume);
    cpSync(host().rootfs, rootfs, { recursive: true, verbatimSymlinks: true });
    const mounts = [{ destination: '/volume', type: 'bind', source: volume, options: ['rbind', 'rw'] }];
    const bundle = host().bundle(['sh', '-c', script], { rootfs, mounts, annotations });
    const { code, stderr } = await host().silt.run(['--userns=none', ...flags, 'run', '--bundle', bundle, host().newId()]); // prettier-ignore
    return { code, stderr, root: existsSync(join(rootfs, 'written')), volume: existsSync(join(volume, 'x')) };
  };
  const nothing = { code: 0, root: false, volume: false };

  test.each<[string, string[], Record<string, string>, object]>([
    ['nothing said', [], {}, { ...nothing, volume: true }],
    ['--overlay2=none', ['--overlay2=none'], {}, { root: true, volume: true }],
    ['--overlay2=all:memory', ['--overlay2=all:memory'], {}, nothing],
    ['the older --overlay', ['--overlay'], {}, nothing],
    ['-overlay=true', ['-overlay=true'], {}, nothing],
    ['--overlay=false beside --overlay2', ['--overlay=false', '--overlay2=none'], {}, { root: true, volume: true }],
    ['both', ['--overlay', '--overlay2=none'], {}, { code: 1, stderr: expect.stringMatching(/give one of the two/) as string, root: false, volume: false }], // prettier-ignore
    ['no mode', ['--overlay2=some'], {}, { code: 1, stderr: expect.stringMatching(/--overlay2 must be none, or/) as string }], // prettier-ignore
    ['an annotation without leave', [], { [`${PREFIX}overlay2`]: 'none' }, { code: 1, stderr: expect.stringMatching(refused('overlay2')) as string, root: false }], // prettier-ignore
    ['an annotation with leave', ['--allow-flag-override'], { [`${PREFIX}overlay2`]: 'none' }, { root: true, volume: true }], // prettier-ignore
    ['an annotation goes before the flag', ['--allow-flag-override=true', '--overlay2=none'], { [`${PREFIX}overlay`]: 'true' }, nothing], // prettier-ignore
    ['leave taken away', ['--allow-flag-override=false'], { [`${PREFIX}overlay2`]: 'none' }, { code: 1, stderr: expect.stringMatching(refused('overlay2')) as string }], // prettier-ignore
  ])('%s', async (_what, flags, annotations, expected) => {
    expect(await run(flags, annotations)).toMatchObject(expected);
  });

  test('--seed=copy makes no layer of a seed, and --seed=share does where the file says copy', async () => {
    const [archive, layers] = ['seed.tar', 'layers'].map((name) => join(host().directory, name)) as [string, string];
    writeFileSync(archive, tarArchive([{ name: './seeded', content: 'x' }]));
    const runWith = async (configured: string, flags: readonly string[]): Promise<number> => {
      writeFileSync(host().environment['SILT_CONFIG']!, `seed = "${configured}"\nseed-layers = ${JSON.stringify(layers)}\n`); // prettier-ignore
      const bundle = host().bundle(['cat', '/seeded'], { annotations: { 'dev.gvisor.tar.rootfs.upper': archive } });
      const output = await host().silt.must([...flags, 'run', '--bundle', bundle, host().newId()]);
      expect(output).toBe('x');
      const made = existsSync(layers) ? readdirSync(layers).length : 0;
      rmSync(layers, { recursive: true, force: true });
      return made;
    };
    const made = [
      await runWith('share', []),
      await runWith('share', ['--seed=copy']),
      await runWith('copy', []),
      await runWith('copy', ['--seed=share']),
    ];
    rmSync(host().environment['SILT_CONFIG']!);
    expect(made).toEqual([1, 0, 0, 1]);
  });
});
