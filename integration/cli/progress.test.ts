/** What takes long shows on a terminal how far it is, and nowhere else. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkpointCommandSuite, type CommandLine, commandLineSuite, mustRun } from '../harness';

const SIZE = 60_000_000;
const TAKEN_AWAY = '\r\u001b[K';

/** What a command writes to its standard error when that is a terminal, and nothing else is. */
async function onTerminal({ silt, environment }: CommandLine, args: readonly string[]): Promise<string> {
  const command = `${silt.words(args).join(' ')} < /dev/null > /dev/null`;
  return (await mustRun(['script', '-qec', command, '/dev/null'], { env: environment })).stdout.toString();
}

const bar = (label: string): unknown => expect.stringMatching(new RegExp(`${label} \\[=* *\\] +\\d+% [\\d.]+ MiB`));

commandLineSuite('a seed', (host) => {
  test('shows how far it is on a terminal, and takes that away', async () => {
    const tree = join(host().directory, 'tree');
    mkdirSync(tree);
    writeFileSync(join(tree, 'big'), Buffer.alloc(SIZE, 'x'));
    const archive = join(host().directory, 'seed.tar');
    await mustRun(['tar', '-cf', archive, '-C', tree, '.']);
    const bundle = host().bundle(['true'], { annotations: { 'dev.gvisor.tar.rootfs.upper': archive } });
    writeFileSync(String(host().environment['SILT_CONFIG']), 'seed = "copy"\n');
    const id = host().newId();
    const text = await onTerminal(host(), ['run', '--bundle', bundle, id]);
    expect(text).toEqual(bar(`seeding ${id}`));
    expect(text.endsWith(TAKEN_AWAY)).toBe(true);
    const silent = await host().silt.run(['run', '--bundle', bundle, host().newId()]);
    expect(silent).toMatchObject({ code: 0, stderr: '' });
    expect(await onTerminal(host(), ['run', '--bundle', host().bundle(['true']), host().newId()])).toBe('');
  });
});

checkpointCommandSuite('a checkpoint and a restore', (host) => {
  test('show how far they are on a terminal, and take that away', async () => {
    const { silt } = host();
    const image = join(host().directory, 'image');
    const id = host().newId();
    await silt.must(['run', '--detach', '--bundle', host().sleeper(), id]);
    const saved = await onTerminal(host(), ['checkpoint', '--image-path', image, '--leave-running', id]);
    expect(saved).toEqual(bar(`saving ${id}`));
    expect(saved.endsWith(TAKEN_AWAY)).toBe(true);
    const again = host().newId();
    const restored = await onTerminal(host(), [
      'restore',
      '--detach',
      '--image-path',
      image,
      '--bundle',
      host().sleeper(),
      again,
    ]);
    expect(restored).toEqual(bar(`restoring ${again}`));
    expect(restored.endsWith(TAKEN_AWAY)).toBe(true);
    const quiet = await silt.run(['checkpoint', '--image-path', join(host().directory, 'quiet'), again]);
    expect(quiet).toMatchObject({ code: 0, stderr: '' });
    for (const one of [id, again]) await silt.must(['delete', '--force', one]);
  });
});
