/**
 * `make demo`: what silt is for, on a private containerd, each step with its command and time. Cleans up after itself, also on Ctrl-C.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { siltProgram } from '../integration/harness/checkout';
import { mustRun, type CommandResult } from '../integration/harness/command';
import { Containerd } from '../integration/harness/containerd';
import { imageName } from '../integration/harness/image';
import { findPeer } from '../integration/harness/peers';

const runtime = 'io.containerd.silt.v1';
const message = 'written by the first container';

const colour = process.stdout.isTTY
  ? { bold: '\x1b[1m', dim: '\x1b[2m', red: '\x1b[31m', off: '\x1b[0m' }
  : { bold: '', dim: '', red: '', off: '' };

function say(text: string): void {
  console.log(text);
}

/** Runs one step: says what it is for, shows the command as a person would type it, its output and its time. */
async function step(
  purpose: string,
  shown: string,
  run: () => Promise<CommandResult | undefined>,
): Promise<CommandResult | undefined> {
  say(`\n${colour.bold}${purpose}${colour.off}`);
  if (shown !== '') say(`  $ ${shown}`);
  const before = performance.now();
  const result = await run();
  for (const line of (result?.stdout.toString() ?? '').split('\n').filter((each) => each !== '')) say(`    ${line}`);
  say(`  ${colour.dim}${(performance.now() - before).toFixed(0)} ms${colour.off}`);
  return result;
}

/** A command as it is shown: words quoted where a shell needs it, long private paths as the variables that the demo names. */
function shellWords(words: readonly string[], containerd: Containerd): string {
  const quoted = words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`));
  return quoted
    .join(' ')
    .replaceAll(containerd.seeds, '$SEEDS')
    .replaceAll(join(containerd.siltRoot, containerd.namespace), '$STATE');
}

async function demonstrate(containerd: Containerd): Promise<void> {
  const snapshot = join(containerd.seeds, 'first.tar');
  const ctr = (words: readonly string[]) => () => containerd.mustCtr(words);
  const showCtr = (words: readonly string[]): string => `ctr ${shellWords(words, containerd)}`;

  await step(
    `Start a private containerd ${containerd.peer.version} in ${containerd.directory}`,
    'containerd --config …',
    async () => {
      await containerd.start();
      return undefined;
    },
  );
  await step(
    'Build a small image from this machine’s busybox (nothing is pulled)',
    `ctr images import …  # ${imageName}`,
    async () => {
      await containerd.importImages();
      return undefined;
    },
  );

  const runWords = (flags: string[], id: string, command: string[]): string[] => [
    'run',
    ...flags,
    '--runtime',
    runtime,
    imageName,
    id,
    ...command,
  ];
  const first = runWords(['--detach', '--null-io'], 'first', ['sleep', '1000']);
  await step('Run a container under silt', showCtr(first), ctr(first));

  const change = `echo ${message} > /root/hello; rm /lower/to-delete; mkdir /srv; seq 3 > /srv/data`;
  const exec = ['tasks', 'exec', '--exec-id', 'change', 'first', 'sh', '-c', change];
  await step('Change its root filesystem: two new files, one deleted', showCtr(exec), ctr(exec));

  const tar = [
    '--root',
    join(containerd.siltRoot, containerd.namespace),
    'tar',
    'rootfs-upper',
    '--file',
    snapshot,
    'first',
  ];
  await step('Take a snapshot of what it has changed, while it runs', `silt ${shellWords(tar, containerd)}`, () =>
    mustRun([siltProgram, ...tar], { env: containerd.environment }),
  );
  await step('The snapshot is a plain tar; a device 0,0 is a deletion', 'tar -tvf $SEEDS/first.tar', () =>
    mustRun(['tar', '-tvf', snapshot]),
  );
  say(`  ${statSync(snapshot).size} bytes`);

  const remove = ['tasks', 'delete', '--force', 'first'];
  await step('Throw the first container away', showCtr(remove), async () => {
    await containerd.mustCtr(remove);
    return containerd.mustCtr(['containers', 'delete', 'first']);
  });

  const read = 'cat /root/hello /srv/data; ls /lower';
  const flags = ['--rm', '--annotation', `dev.gvisor.tar.rootfs.upper=${snapshot}`];
  const second = runWords(flags, 'second', ['sh', '-c', read]);
  const result = await step(
    'Start a second container from the snapshot, and read the files back',
    showCtr(second),
    ctr(second),
  );
  const expected = `${message}\n1\n2\n3\nkept\nreplaced\n`;
  if (result?.stdout.toString() !== expected)
    throw new Error(`the second container should have printed ${JSON.stringify(expected)}`);
}

async function main(): Promise<number> {
  const begun = performance.now();
  const peer = await findPeer('system');
  if ('reason' in peer) throw new Error(peer.reason);
  const containerd = new Containerd({ peer, runtime });
  let interrupted = false;
  const interrupt = new Promise<'interrupted'>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        if (!interrupted) say('\ninterrupted: cleaning up');
        interrupted = true;
        resolve('interrupted');
      });
    }
  });
  try {
    const demonstration = demonstrate(containerd);
    // After an interrupt its steps fail one way or another; that is no news.
    demonstration.catch(() => undefined);
    if ((await Promise.race([demonstration, interrupt])) === 'interrupted') return 130;
    say(
      `\nDone in ${((performance.now() - begun) / 1000).toFixed(1)} s. That was silt ($SEEDS and $STATE are private directories, deleted now).`,
    );
    return 0;
  } catch (error) {
    const log = containerd.logTail(5);
    say(`\n${colour.red}This step failed:${colour.off} ${error instanceof Error ? error.message : String(error)}`);
    if (log !== '') say(`The end of containerd’s log:\n${log}`);
    return 1;
  } finally {
    await containerd.destroy();
  }
}

main().then(
  (status) => process.exit(status),
  (error: unknown) => {
    console.error(`demo: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  },
);
