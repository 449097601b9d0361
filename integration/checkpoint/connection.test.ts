/** A TCP connection whose other end is outside of the pod, at the host's end of a veth, goes on: for a checkpoint that leaves it running and after a restore. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BackgroundCommand, checkpointProgramSuite, mustRun, startCommand, waitFor } from '../harness';

const [SERVER_IP, CLIENT_IP] = ['10.213.7.2', '10.213.7.1'];
const PORT = 4000;

/** Answers each number with the one that it has counted itself: only whoever has all of the memory and of the connection can. */
const SERVER = `
import socket
listener = socket.create_server(('${SERVER_IP}', ${PORT}))
connection, _ = listener.accept()
count = 0
for line in connection.makefile():
    count += 1
    connection.sendall(f'{line.strip()} {count}\\n'.encode())
`;

/** Asks, checks the answer, and says so; at once or never: a connection that is reset ends it. */
const CLIENT = `
import socket, time
while True:
    try: connection = socket.create_connection(('${SERVER_IP}', ${PORT}))
    except OSError: time.sleep(0.05)
    else: break
lines = connection.makefile()
n = 0
while True:
    n += 1
    connection.sendall(f'{n}\\n'.encode())
    answer = lines.readline()
    assert answer == f'{n} {n}\\n', answer
    print(n, flush=True)
    time.sleep(0.01)
`;

checkpointProgramSuite('a connection with a client outside of the pod', (host, rootfs) => {
  /** The pod's network namespace, and one that is the client's part of the host: nothing of the machine's own network is touched. */
  const name = (which: string): string => `${host().mark.replace(/\W/g, '').slice(-8)}${which}`;
  const ip = (...args: string[]): Promise<unknown> => mustRun(['ip', ...args]);
  const programs = (): string => join(host().directory, 'programs');

  beforeAll(async () => {
    mkdirSync(programs());
    writeFileSync(join(programs(), 'server.py'), SERVER);
    writeFileSync(join(programs(), 'client.py'), CLIENT);
    for (const which of ['pod', 'out']) await ip('netns', 'add', name(which));
    await ip('-netns', name('pod'), 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'peer0', 'netns', name('out')); // prettier-ignore
    for (const [which, device, address] of [
      ['pod', 'eth0', SERVER_IP],
      ['out', 'peer0', CLIENT_IP],
    ] as const) {
      // prettier-ignore
      await ip('-netns', name(which), 'address', 'add', `${address}/24`, 'dev', device);
      await ip('-netns', name(which), 'link', 'set', device, 'up');
    }
  }, 30_000);
  afterAll(async () => {
    for (const which of ['pod', 'out']) await ip('netns', 'delete', name(which));
  });

  const bundle = (): string =>
    host().bundle(['python3', '/srv/server.py'], {
      rootfs,
      process: { env: ['PATH=/usr/bin:/bin'] },
      namespaces: [
        ...['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type })),
        { type: 'network', path: `/run/netns/${name('pod')}` },
      ],
      mounts: [{ destination: '/srv', type: 'bind', source: programs(), options: ['rbind', 'ro'] }],
    });
  const rules = async (): Promise<string> =>
    (await mustRun(['ip', 'netns', 'exec', name('pod'), 'iptables-save'])).stdout.toString();
  const last = (client: BackgroundCommand): number => Number(client.stdout.toString().trim().split('\n').at(-1));
  const goesOn = (client: BackgroundCommand): Promise<unknown> => {
    const before = last(client);
    return waitFor('the client’s next answers', () => Promise.resolve(last(client) > before + 5), {
      timeoutMs: 60_000,
      detail: () => client.stderr,
    });
  };

  test.each(['none', 'auto'])(
    'it goes on, userns = %s',
    async (userns) => {
      const { silt } = host();
      const id = host().newId();
      const restored = host().newId();
      const serving = bundle();
      const client = startCommand([
        'nsenter',
        `--net=/run/netns/${name('out')}`,
        'python3',
        join(programs(), 'client.py'),
      ]);
      try {
        await silt.must([`--userns=${userns}`, 'run', '--detach', '--bundle', serving, id]);
        await goesOn(client);
        const image = (which: string): string => join(host().directory, `image-${userns}-${which}`);
        const refused = await silt.run(['checkpoint', '--image-path', image('refused'), id]);
        expect(refused.stderr).toMatch(/CRIU cannot save .*TCP.*--tcp-established/i);
        await goesOn(client);
        await silt.must(['checkpoint', '--tcp-established', '--leave-running', '--image-path', image('first'), id]);
        await goesOn(client);
        expect(await rules()).not.toContain('DROP');
        await silt.must(['checkpoint', '--tcp-established', '--image-path', image('last'), id]);
        // All else of the network namespace goes on meanwhile.
        expect((await rules()).match(/DROP/g)).toHaveLength(2);
        await mustRun(['ip', 'netns', 'exec', name('out'), 'busybox', 'ping', '-c', '1', '-W', '5', SERVER_IP]);
        await silt.must(['delete', id]);
        const flags = ['--tcp-established', '--bundle', serving, '--image-path', image('last')];
        const result = await silt.run([`--userns=${userns}`, 'restore', '--detach', ...flags, restored]);
        if (userns === 'none') {
          expect(result.stderr).toBe('');
          await goesOn(client);
          await silt.must(['delete', '--force', restored]);
          expect(await rules()).not.toContain('DROP');
        } else {
          // The network namespace is not the user namespace's: nobody in it may set a connection's state (tcp(7), TCP_REPAIR).
          expect(result.stderr).toMatch(/TCP repair mode.*not permitted.*CHECKPOINT_FAILED/);
        }
      } finally {
        await client.stop('SIGKILL');
        for (const one of [id, restored]) await silt.run(['delete', '--force', one]);
      }
    },
    120_000,
  );
});
