/** Containers that conmon monitors for an engine (podman, CRI-O): it makes them by the command line, and has their streams and their end. */
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadNative } from '../../native';
import { C, Kernel, ProgramBuilder, receiveMessage, sendMessage, unixAddress } from '../../syscall';
import { commandLineSuite, mustRun, type Runtime, testIf, waitFor } from '../harness';

const kernel = new Kernel(loadNative(), -1);
const here = spawnSync('conmon', ['--version']).status === 0;
const conmonTest = testIf(here, 'there is no conmon: install the Debian package conmon');

/** A client of conmon's attach socket: each message of its begins with a byte that says which stream the rest is of. */
class Attached {
  text = '';
  readonly #socket: number;
  readonly #watch: { close(): void };

  constructor(path: string) {
    const p = new ProgramBuilder();
    const socket = p.slot('socket');
    p.call('socket', [C.AF_UNIX, C.SOCK_SEQPACKET | C.SOCK_CLOEXEC | C.SOCK_NONBLOCK, 0], { out: socket });
    const address = unixAddress(p, path);
    p.call('connect', [socket, address, address.size]);
    this.#socket = kernel.run(p.build()).get(socket);
    this.#watch = kernel.watch(this.#socket, 1, () => this.#receive());
  }

  send(text: string): void {
    const p = new ProgramBuilder();
    sendMessage(p, this.#socket, p.string(text), []);
    kernel.run(p.build());
  }

  #receive(): void {
    const p = new ProgramBuilder();
    const message = receiveMessage(p, this.#socket, 8192, 1, 'message', { tolerate: ['EAGAIN', 'ECONNRESET'] });
    const result = kernel.run(p.build());
    const size = result.get(message.count);
    if (size > 0)
      this.text += `${result.at(message.payload, size)[0]}:${result.at(message.payload, size).subarray(1).toString()}`;
    else if (size === 0) this.#watch.close();
  }

  close(): void {
    this.#watch.close();
    closeSync(this.#socket);
  }
}

commandLineSuite('under conmon', (host) => {
  const both = (): readonly Runtime[] => [host().silt, host().runc];

  /** A conmon that creates a container, or executes in one, and goes on in the background. */
  async function monitored(runtime: Runtime, id: string, bundle: string, more: readonly string[]): Promise<Monitored> {
    const [exits, persist] = ['exits', 'persist'].map((name) => join(bundle, name)) as [string, string];
    for (const directory of [exits, persist]) mkdirSync(directory, { recursive: true });
    const [pidFile, log] = ['pid', 'log'].map((name) => join(bundle, `${name}-${more.length}`)) as [string, string];
    // It looks in no PATH.
    const program = (await mustRun(['sh', '-c', `command -v ${runtime.program}`])).stdout.toString().trim();
    const words = ['--cid', id, '--cuuid', id, '--name', id, '--runtime', program, '--bundle', bundle, '--exit-dir', exits, '--persist-dir', persist, '--full-attach', '--container-pidfile', pidFile, '--log-path', `k8s-file:${log}`]; // prettier-ignore
    const root = ['--runtime-arg', '--root', '--runtime-arg', runtime.root];
    await mustRun(['conmon', ...words, ...root, ...more], { env: host().environment });
    await waitFor('its process', () => existsSync(pidFile) && readFileSync(pidFile, 'utf8') !== '');
    const exit = join(exits, id);
    return {
      pid: Number(readFileSync(pidFile, 'utf8')),
      attach: join(bundle, 'attach'),
      /** What is in the log by stream and line, without the times. */
      lines: () => readFileSync(log, 'utf8').split('\n').filter(Boolean).map((line) => line.split(' ').slice(1).join(' ')), // prettier-ignore
      ended: () => waitFor('its end', () => existsSync(exit) && readFileSync(exit, 'utf8') !== '' && Number(readFileSync(exit, 'utf8'))), // prettier-ignore
    };
  }

  conmonTest('streams are in the log and at who attaches, and the exit status in the file', async () => {
    for (const runtime of both()) {
      const id = host().newId();
      const script = 'echo out; echo err >&2; read line; echo got $line; exit 7';
      const bundle = host().bundle(['sh', '-c', script]);
      const container = await monitored(runtime, id, bundle, ['--stdin']);
      const state = JSON.parse(await runtime.must(['state', id])) as object;
      expect(state).toMatchObject({ status: 'created', pid: container.pid });
      const attached = new Attached(container.attach);
      await runtime.must(['start', id]);
      await waitFor('what it says', () => attached.text.includes('err'));
      attached.send('a line\n');
      expect(await container.ended()).toBe(7);
      expect(container.lines().sort()).toEqual(['stderr F err', 'stdout F got a line', 'stdout F out']);
      await waitFor('the rest', () => attached.text.includes('got a line'));
      expect(attached.text).toContain('2:out\n');
      expect(attached.text).toContain('3:err\n');
      expect(await runtime.status(id)).toBe('stopped');
      attached.close();
      await runtime.must(['delete', id]);
    }
  });

  conmonTest('a terminal is conmon’s, and so is the end by a signal', async () => {
    for (const runtime of both()) {
      const id = host().newId();
      const bundle = host().bundle(['sh', '-c', 'tty; exec sleep 1000'], { process: { terminal: true } });
      const container = await monitored(runtime, id, bundle, ['--terminal']);
      await runtime.must(['start', id]);
      await waitFor('what it says', () => container.lines().length > 0);
      expect(container.lines()[0]).toMatch(/^stdout F \/dev\/(pts\/0|console)\r?$/);
      await runtime.must(['kill', id, 'KILL']);
      expect(await container.ended()).toBe(137);
      await runtime.must(['delete', id]);
    }
  });

  conmonTest('an exec has its own log and exit status', async () => {
    for (const runtime of both()) {
      const id = host().newId();
      const bundle = host().sleeper();
      await runtime.must(['run', '--detach', '--bundle', bundle, id]);
      const file = join(bundle, 'process.json');
      const process = { args: ['sh', '-c', 'echo inside; exit 9'], cwd: '/', env: ['PATH=/bin'], user: { uid: 0, gid: 0 } }; // prettier-ignore
      writeFileSync(file, JSON.stringify(process));
      const exec = await monitored(runtime, id, bundle, ['--exec', '--exec-process-spec', file]);
      expect(await exec.ended()).toBe(9);
      expect(exec.lines()).toEqual(['stdout F inside']);
      await runtime.must(['delete', '--force', id]);
    }
  });
});

interface Monitored {
  readonly pid: number;
  readonly attach: string;
  readonly lines: () => string[];
  readonly ended: () => Promise<number>;
}
