/** What the flags of checkpoint and restore have saved, and give to what is restored. */
import { closeSync, mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { FdSocket, readTerminal } from '../harness/fd-socket';
import { checkpointCommandSuite, checkpointProgramSuite, type CommandLine, waitFor } from '../harness';

async function start(host: CommandLine, bundle: string, flags: readonly string[] = []): Promise<string> {
  const id = host.newId();
  await host.silt.must(['run', '--detach', '--bundle', bundle, ...flags, id]);
  return id;
}

const imageOf = (host: CommandLine, id: string): string => join(host.directory, `image-${id}`);

async function save(host: CommandLine, id: string, flags: readonly string[] = []): Promise<string> {
  await host.silt.must(['checkpoint', '--image-path', imageOf(host, id), ...flags, id]);
  await host.silt.must(['delete', '--force', id]);
  return imageOf(host, id);
}

async function restore(
  host: CommandLine,
  bundle: string,
  image: string,
  flags: readonly string[] = [],
): Promise<string> {
  const id = host.newId();
  await host.silt.must(['restore', '--detach', '--bundle', bundle, '--image-path', image, ...flags, id]);
  return id;
}

const there = async (host: CommandLine, id: string, path: string): Promise<boolean> =>
  (await host.silt.run(['exec', id, 'ls', path])).code === 0;

checkpointCommandSuite('checkpoints and their flags', (host) => {
  test('--console-socket: an engine is given the new terminal, with the program on it', async () => {
    const script = 'stty -echo; kept=something; echo > /here; while read line; do echo "$kept $line"; done';
    const bundle = host().bundle(['sh', '-c', script], { process: { terminal: true } });
    const path = join(host().directory, 'console.sock');
    const socket = new FdSocket(path);
    const id = await start(host(), bundle, ['--console-socket', path]);
    const first = socket.receive();
    await waitFor('it to run', () => there(host(), id, '/here'));
    const image = await save(host(), id);
    closeSync(first);
    const restored = await restore(host(), bundle, image, ['--console-socket', path]);
    const master = socket.receive();
    expect(readlinkSync(`/proc/self/fd/${master}`)).toMatch(/\/ptmx$/);
    writeSync(master, 'else\n');
    const output = readTerminal(master);
    await waitFor('its answer', () => output.text.includes('something else'));
    output.close();
    await host().silt.must(['delete', '--force', restored]);
    closeSync(master);
    socket.close();
  }, 120_000);

  test('a volume whose destination the image has as a symlink is the spec’s own mount', async () => {
    const volume = join(host().directory, 'volume');
    mkdirSync(volume);
    symlinkSync('srv', join(host().rootfs, 'link'));
    const bundle = host().bundle(['sleep', '1000'], {
      mounts: [{ destination: '/link/volume', type: 'bind', source: volume, options: ['rbind'] }],
    });
    const id = await start(host(), bundle);
    const image = await save(host(), id);
    const restored = await restore(host(), bundle, image);
    await host().silt.must(['exec', restored, 'sh', '-c', 'echo there > /srv/volume/file']);
    expect(readFileSync(join(volume, 'file'), 'utf8')).toBe('there\n');
    await host().silt.must(['delete', '--force', restored]);
  });

  test('what is in a tmpfs whose destination the image has as a symlink comes back', async () => {
    symlinkSync('srv', join(host().rootfs, 'alias'));
    symlinkSync('nothing/yet', join(host().rootfs, 'dangling'));
    const bundle = host().bundle(['sleep', '1000'], {
      mounts: ['/alias/', '/dangling'].map((destination) => ({ destination, type: 'tmpfs', source: 'tmpfs' })),
    });
    const id = await start(host(), bundle);
    await host().silt.must(['exec', id, 'sh', '-c', 'echo one > /alias/file; echo two > /dangling/file']);
    const restored = await restore(host(), bundle, await save(host(), id));
    const files = ['exec', restored, 'cat', '/srv/file', '/nothing/yet/file'];
    expect(await host().silt.must(files)).toBe('one\ntwo\n');
    await host().silt.must(['delete', '--force', restored]);
  });
});

const SENDER = `
import socket, time
out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
out.connect('/srv/outside')
n = 0
while True:
    n += 1
    out.send(str(n).encode())
    open('/sent', 'w').write(str(n))
    time.sleep(0.02)
`;
const RECEIVER = `
import socket
to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
to.bind('/srv/outside')
while True:
    got = to.recv(64).decode()
    open('/got', 'w').write(got)
`;

const LOCKER = `
import fcntl, time
one, other = open('/one', 'w'), open('/other', 'w')
fcntl.lockf(one, fcntl.LOCK_EX)
fcntl.flock(other, fcntl.LOCK_EX)
open('/here', 'w')
while True: time.sleep(1)
`;
const TRY = `
import fcntl, sys
how = fcntl.lockf if sys.argv[1] == 'lockf' else fcntl.flock
how(open(sys.argv[2], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)
`;

checkpointProgramSuite('programs and flags', (host, rootfs) => {
  const shared = (): string => join(host().directory, 'shared');

  beforeAll(() => {
    mkdirSync(shared());
    for (const [name, text] of Object.entries({ SENDER, RECEIVER, LOCKER, TRY }))
      writeFileSync(join(shared(), `${name.toLowerCase()}.py`), text);
  });

  const bundle = (name: string, annotations = {}): string =>
    host().bundle(['python3', `/srv/${name}.py`], {
      rootfs,
      annotations,
      process: { env: ['PATH=/usr/bin:/bin'] },
      mounts: [{ destination: '/srv', type: 'bind', source: shared(), options: ['rbind', 'rw'] }],
    });

  test('--file-locks: a lock is held by who held it', async () => {
    const locking = bundle('locker');
    const id = await start(host(), locking);
    await waitFor('its locks', () => there(host(), id, '/here'));
    const restored = await restore(host(), locking, await save(host(), id, ['--file-locks']), ['--file-locks']);
    const take = async (how: string, path: string): Promise<string> =>
      (await host().silt.run(['exec', restored, 'python3', '/srv/try.py', how, path])).stderr;
    expect(await take('lockf', '/one')).toContain('BlockingIOError');
    expect(await take('flock', '/other')).toContain('BlockingIOError');
    expect(await take('flock', '/third')).toBe('');
    await host().silt.must(['delete', '--force', restored]);
  }, 120_000);

  test('--ext-unix-sk: a datagram socket whose other end is in another container of the pod', async () => {
    const pod = host().newId();
    const own = (type: string): Record<string, string> => ({
      'io.kubernetes.cri.container-type': type,
      'io.kubernetes.cri.sandbox-id': pod,
    });
    const got = async (): Promise<number> =>
      Number((await host().silt.must(['exec', pod, 'sh', '-c', 'cat /got 2> /dev/null || true'])).trim());
    await host().silt.must(['run', '--detach', '--bundle', bundle('receiver', own('sandbox')), pod]);
    await waitFor('the socket', () => there(host(), pod, '/srv/outside'));
    const sending = bundle('sender', own('container'));
    const id = await start(host(), sending);
    await waitFor('it to send', async () => (await got()) > 3);
    const refused = await host().silt.run(['checkpoint', '--image-path', imageOf(host(), id), id]);
    expect(refused.stderr).toMatch(/CRIU cannot save .*unix.* \(CHECKPOINT_FAILED\)/);
    const image = await save(host(), id, ['--ext-unix-sk']);
    const before = await got();
    const restored = await restore(host(), sending, image, ['--ext-unix-sk']);
    await waitFor('it to send again', async () => (await got()) > before + 3);
    for (const one of [restored, pod]) await host().silt.must(['delete', '--force', one]);
  }, 120_000);
});
