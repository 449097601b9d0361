/** Bundles and bytes that are wrong: an error that names the thing, nothing left, and the shim serves on. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import {
  containerdSuite,
  openFiles,
  runCommand,
  shimPid,
  shimSocket,
  siltProgram,
  siltTest,
  waitFor,
  type CommandResult,
  type Containerd,
} from '../harness';

/** What `silt program`, which reads a bundle as a start does, says of one with this config.json, or with none. */
async function readBundle(host: Containerd, config: string | undefined): Promise<CommandResult & { bundle: string }> {
  const id = host.newId('bundle');
  const bundle = join(host.directory, id);
  mkdirSync(join(bundle, 'rootfs'), { recursive: true });
  if (config !== undefined) writeFileSync(join(bundle, 'config.json'), config);
  return {
    ...(await runCommand([siltProgram, 'program', bundle], { env: host.environment, timeoutMs: 20_000 })),
    bundle,
  };
}

/** Sends bytes to a socket and closes it; answers and resets are of no interest. */
function send(path: string, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(path, () => socket.end(bytes));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
    socket.resume();
    socket.setTimeout(2000, () => socket.destroy());
  });
}

function frame(length: number, stream: number, type: number, body: Buffer): Buffer {
  const header = Buffer.alloc(10);
  header.writeUInt32BE(length, 0);
  header.writeUInt32BE(stream, 4);
  header[8] = type;
  return Buffer.concat([header, body]);
}

containerdSuite('bad input', {}, (host) => {
  const bundles: [string, string | undefined, RegExp][] = [
    ['without config.json', undefined, /config\.json/],
    ['with an empty config.json', '', /config\.json/],
    ['with a config.json that is cut short', '{"ociVersion": "1.0.2", "process": {', /config\.json/],
    ['with a config.json that is a list', '[]', /config\.json/],
    ['with a config.json without a process', '{"ociVersion":"1.0.2","root":{"path":"rootfs"}}', /process/],
    [
      'with args of the wrong type',
      '{"ociVersion":"1.0.2","root":{"path":"rootfs"},"process":{"cwd":"/","args":"sh"}}',
      /args/,
    ],
  ];

  for (const [name, config, says] of bundles) {
    siltTest(`a bundle ${name}`, async () => {
      const result = await readBundle(host(), config);
      expect(result.code).not.toBe(0);
      expect(result.stderr).toMatch(says);
      expect(result.stderr).not.toMatch(/\n\s+at /);
    });
  }

  test('a spec from ctr whose root filesystem is not there', async () => {
    const id = await host().startContainer();
    const spec = JSON.parse(readFileSync(join(host().bundle(id), 'config.json'), 'utf8')) as {
      root: object;
      linux: object;
    };
    await host().remove(id);
    const missing = join(host().directory, 'no-such-rootfs');
    const path = join(host().directory, 'spec.json');
    writeFileSync(path, JSON.stringify({ ...spec, root: { path: missing } }));
    const other = host().newId();
    const result = await host().ctr(['run', '--runtime', host().runtime, '--config', path, other]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain(missing);
    await host().ctr(['containers', 'delete', other]);
  });

  siltTest('garbage on the shim’s socket does not disturb it', async () => {
    const id = await host().startContainer();
    const [pid, path] = [shimPid(host(), id), shimSocket(host(), id)];
    const garbage = [
      Buffer.alloc(0),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      randomBytes(100_000),
      frame(0xffffffff, 1, 1, Buffer.alloc(100)),
      frame(1 << 23, 1, 1, Buffer.alloc(100_000)),
      frame(5, 1, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff])),
      frame(5, 2, 1, Buffer.from('hello')),
      frame(5, 1, 99, Buffer.from('hello')),
      frame(100, 1, 1, Buffer.alloc(3)),
      frame(0, 1, 1, Buffer.alloc(0)),
    ];
    const sendAll = async (): Promise<void> => {
      for (const bytes of garbage) await send(path, bytes);
    };
    // What the first error loads, a logger say, stays.
    await sendAll();
    const level = openFiles(pid).size;
    for (let round = 0; round < 3; round++) await sendAll();
    expect((await host().exec(id, ['echo', 'alive'])).stdout.toString()).toBe('alive\n');
    expect(shimPid(host(), id)).toBe(pid);
    await waitFor('its open files to be level', () => openFiles(pid).size <= level, {
      detail: () => `${level} before, now ${[...openFiles(pid).values()].join(' ')}`,
    });
    await host().remove(id);
  });
});
