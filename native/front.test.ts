import { type ChildProcess, spawn, spawnSync, type StdioOptions } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  read,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { parse } from 'protobufjs';
import { type GivenPod, PodIntake } from '../shim/pod-intake';
import { socketPath } from '../shim/socket-address';
import { listenAt } from '../shim/testing/listen';
import { C, Kernel, ProgramBuilder, receivedFds, receiveMessage, sendMessage, unixAddress } from '../syscall';
import { loadNative, nativeDirectory } from './index';

const kernel = new Kernel(loadNative(), -1);

const NAME = 'containerd-shim-silt-v1';
const ADDRESS = '/run/containerd/containerd.sock';

/**
 * Stands in for Node. As the server: notes what it was given in the file `server`, its pid in `pids`, and holds the pod's socket
 * that it inherited, but not its own, so that each pod gets a server. As anything else: notes its arguments and stdin, and exits with a status of its own.
 */
const STAND_IN = `#!/bin/sh
case "$*" in
*" serve")
  echo $$ >> "$TEST_HOME/pids"
  cat "/proc/$$/environ" > "$TEST_HOME/environment"
  { pwd; printf '%s\\n' "$0" "$@"; } > "$TEST_HOME/server.new"
  mv "$TEST_HOME/server.new" "$TEST_HOME/server"
  exec 4<&-
  exec sleep 60 ;;
*)
  printf '%s\\n' "$@"
  cat > "$TEST_HOME/stdin"
  exit 42 ;;
esac
`;

/** containerd's /dev/null when there are no options. */
const stdio: StdioOptions = ['ignore', 'pipe', 'pipe'];

/** Short, because a socket's path must be. */
const home = mkdtempSync('/tmp/silt-front-');
const root = join(home, 'root');
const bundle = join(home, 'bundle');
const library = join(home, 'lib', 'silt');
const front = join(home, 'bin', NAME);
const environment = { SILT_ROOT: root, TEST_HOME: home, PATH: '/usr/bin:/bin', MAX_SHIM_VERSION: '2' };

beforeEach(() => {
  for (const path of [bundle, library, join(home, 'bin')]) mkdirSync(path, { recursive: true });
  copyFileSync(join(nativeDirectory(), 'silt-front'), front);
  writeFileSync(join(library, 'node'), STAND_IN, { mode: 0o755 });
  writeFileSync(join(library, 'shim.js'), '');
  writeFileSync(join(bundle, 'config.json'), '{"ociVersion":"1.0.2","annotations":{}}');
});
afterEach(() => {
  for (let left = processes(); left.length > 0; left = processes()) for (const pid of left) killIfAlive(pid);
  for (const name of readdirSync(home)) rmSync(join(home, name), { recursive: true });
});
afterAll(() => rmSync(home, { recursive: true }));

/** The servers that were started. */
function serverPids(): number[] {
  const path = join(home, 'pids');
  return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n').map(Number) : [];
}

/** All processes that this test started in the bundle and that are alive. */
function processes(): number[] {
  return readdirSync('/proc').map(Number).filter(isOurs);
}

function isOurs(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === bundle;
  } catch {
    return false;
  }
}

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

/** Waits for something that another process is about to do. */
async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 10_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited 10 s for ${what}`);
    await sleep(5);
  }
}

const flagsFor = (id: string): string[] => [
  ...['-namespace', 'default', '-address', ADDRESS],
  ...['-publish-binary', '/usr/bin/containerd', '-id', id],
];
const pathFor = (id: string): string => socketPath(root, ADDRESS, 'default', id);

interface RunOptions {
  /** What stdin has; nothing: /dev/null, as containerd does without options. */
  readonly input?: Uint8Array;
  readonly env?: NodeJS.ProcessEnv;
  readonly program?: string;
  readonly argv0?: string;
}

/** Runs the front to its end, in the bundle. */
function run(args: readonly string[], { input, env = environment, program = front, argv0 = program }: RunOptions = {}) {
  const stdin = input === undefined ? 'ignore' : 'pipe';
  const result = spawnSync(program, args, { cwd: bundle, env, argv0, input, stdio: [stdin, 'pipe', 'pipe'] });
  return { status: result.status, stdout: result.stdout.toString('latin1'), stderr: result.stderr.toString() };
}
const start = (id: string, options?: RunOptions) => run([...flagsFor(id), 'start'], options);
const started = (id: string) => ({ status: 0, stdout: `unix://${pathFor(id)}`, stderr: '' });
/** What the stand-in prints when it is not the server. */
const passedOn = (...args: string[]) => ({
  status: 42,
  stdout: [join(library, 'shim.js'), ...args].map((arg) => `${arg}\n`).join(''),
  stderr: '',
});
const failed = (message: string) => ({ status: 1, stdout: '', stderr: `${NAME}: ${message}\n` });

/** Does a server answer there? */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on('connect', () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.on('close', () => socket.destroy());
    socket.end();
  });
}

/** The pid of the server that was started last, once it is what it will be. */
async function lastServer(): Promise<number> {
  await until('the server', () => existsSync(join(home, 'server')));
  const pid = serverPids().at(-1)!;
  await until('its exec', () => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n');
  return pid;
}

/** Starts a pod and returns the pid of its server. */
async function startServer(id: string): Promise<number> {
  rmSync(join(home, 'server'), { force: true });
  expect(start(id)).toEqual(started(id));
  return lastServer();
}

/** The socket of the server that was started last. */
function serverSocket(): string {
  const words = readFileSync(join(home, 'server'), 'utf8').split('\n');
  return words[words.indexOf('-server') + 1]!;
}

/** Starts a pod by way of a shell, which does something first. */
function startAfter(script: string, id: string) {
  const args = ['-c', `${script}; exec "$0" "$@"`, front, ...flagsFor(id), 'start'];
  return run(args, { program: '/bin/sh' });
}

/** Kills a server as a crash would: its socket stays. */
async function crash(pid: number, id: string): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await until('the socket to refuse', async () => !(await answers(pathFor(id))));
  expect(existsSync(pathFor(id))).toBe(true);
}

/** Nothing of a start that failed may be left. */
function expectNothingLeft(): void {
  expect(podSockets()).toEqual([]);
  expect(readdirSync(bundle)).toEqual(['config.json']);
}

/** What is in the directory of sockets, apart from those of servers. */
function podSockets(): string[] {
  return readdirSync(join(root, 's')).filter((name) => !name.endsWith('.2'));
}

describe('start', () => {
  test('prints the address of shim/socket-address.ts and writes it to the bundle', async () => {
    await startServer('web');
    expect(readFileSync(join(bundle, 'address'), 'utf8')).toBe(`unix://${pathFor('web')}`);
    expect(readdirSync(bundle).sort()).toEqual(['address', 'config.json']);
    expect(await answers(pathFor('web'))).toBe(true);
  });

  test('lets nobody else reach the socket, and everybody read the address', async () => {
    startAfter('umask 077', 'web');
    await lastServer();
    expect(statSync(join(bundle, 'address')).mode & 0o777).toBe(0o644);
    rmSync(root, { recursive: true });
    startAfter('umask 0', 'web');
    await lastServer();
    expect(statSync(pathFor('web')).mode & 0o777).toBe(0o600);
    expect(statSync(join(root, 's')).mode & 0o777).toBe(0o700);
    expect(statSync(root).mode & 0o777).toBe(0o711);
  });

  test('makes the directories above its root', () => {
    const deep = join(home, 'a', 'b', 'c');
    const path = socketPath(deep, ADDRESS, 'default', 'web');
    const { stdout } = start('web', { env: { ...environment, SILT_ROOT: deep } });
    expect(stdout).toBe(`unix://${path}`);
    expect(statSync(path).isSocket()).toBe(true);
  });

  test('gives the server its arguments, working directory and environment', async () => {
    await startServer('web');
    expect(readFileSync(join(home, 'server'), 'utf8').split('\n')).toEqual([
      bundle,
      join(library, 'node'),
      '--max-semi-space-size=4',
      join(library, 'shim.js'),
      ...flagsFor('web'),
      ...[
        '-socket',
        pathFor('web'),
        '-server',
        expect.stringMatching(/^.*\/s\/[0-9a-f]{32}\.2$/) as string,
        'serve',
        '',
      ],
    ]);
    const pairs = Object.entries(environment).map(([name, value]) => `${name}=${value}\0`);
    expect(
      readFileSync(join(home, 'environment'), 'utf8')
        .split(/(?<=\0)/)
        .sort(),
    ).toEqual(pairs.sort());
  });

  test('gives the server the listening socket as fd 3, /dev/null as 0 to 2, and nothing else', async () => {
    // As from a careless parent: a file that is not close-on-exec.
    startAfter('exec 7</etc/passwd', 'web');
    const fds = `/proc/${await lastServer()}/fd`;
    expect(readdirSync(fds).map((fd) => [fd, readlinkSync(join(fds, fd)).replace(/\d+/, 'N')])).toEqual([
      ['0', '/dev/null'],
      ['1', '/dev/null'],
      ['2', '/dev/null'],
      ['3', 'socket:[N]'],
    ]);
  });

  test.each(['0<&-', '2>&-', '0<&- 2>&-'])('copes with closed standard files: %s', async (closed) => {
    startAfter(`exec ${closed}`, 'web');
    const fds = `/proc/${await lastServer()}/fd`;
    expect(['0', '1', '2'].map((fd) => readlinkSync(join(fds, fd)))).toEqual(['/dev/null', '/dev/null', '/dev/null']);
    expect(await answers(pathFor('web'))).toBe(true);
  });

  test('gives the server a session of its own and default signals', async () => {
    startAfter(`trap '' HUP INT TERM PIPE USR1`, 'web');
    const pid = await lastServer();
    expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(/^SigBlk:\t0{16}\nSigIgn:\t0{16}$/m);
    const afterName = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    expect(afterName.slice(2, 4).map(Number)).toEqual([pid, pid]);
  });

  test('finds the server that runs, and writes the address again', async () => {
    await startServer('web');
    rmSync(join(bundle, 'address'));
    expect(start('web')).toEqual(started('web'));
    expect(readFileSync(join(bundle, 'address'), 'utf8')).toBe(`unix://${pathFor('web')}`);
    expect(serverPids()).toHaveLength(1);
  });

  test('starts one server for many starts at once', async () => {
    for (let round = 0; round < 5; round++) {
      const starts = Array.from({ length: 12 }, () =>
        outputOf(spawn(front, [...flagsFor('web'), 'start'], { cwd: bundle, env: environment, stdio })),
      );
      expect(new Set(await Promise.all(starts))).toEqual(new Set([`unix://${pathFor('web')}`]));
    }
    await lastServer();
    expect(serverPids()).toHaveLength(1);
    expect(readdirSync(bundle).sort()).toEqual(['address', 'config.json']);
  });

  test('does not touch sockets while another start does', async () => {
    mkdirSync(join(root, 's'), { recursive: true });
    const lock = spawn('flock', [join(root, 's'), '-c', 'echo; read line'], { stdio: ['pipe', 'pipe', 'inherit'] });
    await new Promise((resolve) => lock.stdout.once('data', resolve));
    const output = outputOf(spawn(front, [...flagsFor('web'), 'start'], { cwd: bundle, env: environment, stdio }));
    await sleep(100);
    const touched = readdirSync(join(root, 's'));
    lock.stdin.end('\n');
    expect(touched).toEqual([]);
    expect(await output).toBe(`unix://${pathFor('web')}`);
  });

  test('gives the pod to a server that listens, with its words and its socket', async () => {
    await startServer('first');
    const path = serverSocket();
    rmSync(path);
    const given: GivenPod[] = [];
    const intake = new PodIntake(kernel, path, listenAt(kernel, path, C.SOCK_SEQPACKET), (pod) => {
      // The first is turned away: it asks again.
      const taken = given.push(pod) > 1;
      return taken;
    });
    const output = outputOf(spawn(front, [...flagsFor('web'), 'start'], { cwd: bundle, env: environment, stdio }));
    expect(await output).toBe(`unix://${pathFor('web')}`);
    expect(given.map((pod) => pod.words)).toEqual([
      [...flagsFor('web'), '-bundle', bundle, '-socket', pathFor('web')],
      [...flagsFor('web'), '-bundle', bundle, '-socket', pathFor('web')],
    ]);
    expect(await answers(pathFor('web'))).toBe(true);
    closeSync(given[1]!.listenFd);
    expect(await answers(pathFor('web'))).toBe(false);
    expect(serverPids()).toHaveLength(1);
    rmSync(path);
    intake.close();
  });

  test('passes by a server that does not greet, which is told of nothing', async () => {
    await startServer('first');
    const path = serverSocket();
    rmSync(path);
    const silent = listenAt(kernel, path, C.SOCK_SEQPACKET);
    rmSync(join(home, 'server'));
    try {
      // Both find it, and one starts the server that is to take its place; the stand-in takes no pods, so the other starts one more.
      const starts = ['web', 'other'].map((id) =>
        outputOf(spawn(front, [...flagsFor(id), 'start'], { cwd: bundle, env: environment, stdio })),
      );
      expect(await Promise.all(starts)).toEqual(['web', 'other'].map((id) => `unix://${pathFor(id)}`));
      await until('the servers', () => serverPids().length === 3);
      for (const id of ['web', 'other']) expect(await answers(pathFor(id))).toBe(true);
      // What it finds when it goes on: connections that have ended, and no pod.
      const intake = new PodIntake(kernel, path, silent, () => {
        throw new Error('it has been given a pod');
      });
      await sleep(50);
      intake.close();
    } catch (error) {
      closeSync(silent);
      throw error;
    }
  }, 30_000);

  test('waits for a server that has greeted', async () => {
    await startServer('first');
    const path = serverSocket();
    rmSync(path);
    const listener = listenAt(kernel, path, C.SOCK_SEQPACKET);
    const output = outputOf(spawn(front, [...flagsFor('web'), 'start'], { cwd: bundle, env: environment, stdio }));
    const p = new ProgramBuilder();
    p.step('greeting the front');
    const caller = p.slot('front');
    p.call('accept4', [listener, 0, 0, C.SOCK_CLOEXEC], { out: caller });
    sendMessage(p, caller, p.bytes(Buffer.from('r')), []);
    const connection = kernel.run(p.build()).get(caller);
    // Longer than a greeting may take.
    await sleep(6000);
    const q = new ProgramBuilder();
    q.step('taking the pod');
    const received = receiveMessage(q, connection, 4096, 1, 'pod');
    sendMessage(q, connection, q.bytes(Buffer.from('k')), []);
    const result = kernel.run(q.build());
    expect(await output).toBe(`unix://${pathFor('web')}`);
    expect(serverPids()).toHaveLength(1);
    for (const fd of [connection, listener, ...receivedFds(result.image, received)]) closeSync(fd);
  }, 30_000);

  test('says why a server refuses the pod, and leaves nothing', async () => {
    await startServer('first');
    const path = serverSocket();
    rmSync(path);
    const intake = new PodIntake(kernel, path, listenAt(kernel, path, C.SOCK_SEQPACKET), () => {
      throw new Error('it is here already');
    });
    rmSync(join(bundle, 'address'));
    const child = spawn(front, [...flagsFor('web'), 'start'], { cwd: bundle, env: environment, stdio });
    let stderr = '';
    child.stderr!.on('data', (text: Buffer) => (stderr += text.toString()));
    expect(await new Promise((resolve) => child.on('close', resolve))).toBe(1);
    expect(stderr).toBe(`${NAME}: starting the pod: it is here already: errno 17 (EEXIST)\n`);
    expect(existsSync(pathFor('web'))).toBe(false);
    expect(existsSync(join(bundle, 'address'))).toBe(false);
    intake.close();
  });

  test('an older front, which waits for no greeting, gets the byte that it knows or none', async () => {
    const path = join(home, 'older.s');
    const given: GivenPod[] = [];
    const intake = new PodIntake(kernel, path, listenAt(kernel, path, C.SOCK_SEQPACKET), (pod) => {
      given.push(pod);
      if (given.length > 1) throw new Error('no');
      return true;
    });
    const [listenFd] = kernel.pipe();
    const say = async (): Promise<string> => {
      const p = new ProgramBuilder();
      p.step('connecting as an older front does');
      const socket = p.slot('socket');
      p.call('socket', [C.AF_UNIX, C.SOCK_SEQPACKET | C.SOCK_CLOEXEC, 0], { out: socket });
      const address = unixAddress(p, path);
      p.call('connect', [socket, address, address.size]);
      sendMessage(p, socket, p.bytes(Buffer.from('web\0')), [listenFd]);
      const fd = kernel.run(p.build()).get(socket);
      const answer = Buffer.alloc(8);
      const size = await promisify(read)(fd, answer, 0, 8, null);
      closeSync(fd);
      return answer.toString('latin1', 0, size.bytesRead);
    };
    expect(await say()).toBe('k');
    expect(await say()).toBe('');
    expect(given.map(({ words }) => words)).toEqual([['web'], ['web']]);
    closeSync(given[0]!.listenFd);
    closeSync(listenFd);
    intake.close();
  });

  test.each([
    ['another namespace', ['-namespace', 'other', ...flagsFor('web').slice(2)], environment],
    ['another environment', flagsFor('web'), { ...environment, MORE: '1' }],
  ])('asks another server for %s', (_, flags, env) => {
    run([...flagsFor('a'), 'start']);
    return until('the first server', () => existsSync(join(home, 'server'))).then(async () => {
      const first = serverSocket();
      rmSync(join(home, 'server'));
      run([...flags, 'start'], { env });
      await until('the second server', () => existsSync(join(home, 'server')));
      expect(serverSocket()).not.toBe(first);
    });
  });

  test('replaces what a killed server has left', async () => {
    await crash(await startServer('web'), 'web');
    await startServer('web');
    expect(await answers(pathFor('web'))).toBe(true);
    expect(readFileSync(join(bundle, 'address'), 'utf8')).toBe(`unix://${pathFor('web')}`);
    expect(readdirSync(bundle).sort()).toEqual(['address', 'config.json']);
  });

  test('gets over a start that was killed at any point', async () => {
    for (let delay = 0; delay < 3; delay += 0.15) {
      const killed = spawn(front, [...flagsFor('web'), 'start'], { cwd: bundle, env: environment, stdio: 'ignore' });
      const ended = new Promise((resolve) => killed.on('close', resolve));
      for (const from = performance.now(); performance.now() - from < delay;);
      killed.kill('SIGKILL');
      await ended;
      expect(start('web')).toEqual(started('web'));
      expect(await answers(pathFor('web'))).toBe(true);
      await until('the server', () => existsSync(join(home, 'server')));
      expect(new Set(serverPids().filter(isOurs)).size).toBe(1);
      for (const pid of serverPids().filter(isOurs)) process.kill(pid, 'SIGKILL');
      await until('the server to end', async () => !(await answers(pathFor('web'))));
      rmSync(join(home, 'server'));
    }
  });

  test.each([
    ['is missing', () => rmSync(join(library, 'node')), 'errno 2 (ENOENT)'],
    ['may not be run', () => writeMode('node', 0o644), 'errno 13 (EACCES)'],
    ['is no program', () => writeMode('node', 0o755), 'errno 8 (ENOEXEC)'],
  ])('says that Node %s, and leaves nothing', (_, change, error) => {
    change();
    expect(start('web')).toEqual(failed(`starting: ${join(library, 'node')}: ${error}`));
    expectNothingLeft();
  });

  test('says that silt is not installed beside it', () => {
    rmSync(library, { recursive: true });
    const expected = failed(`finding silt in: ${join(library, 'shim.js')}: errno 2 (ENOENT)`);
    expect(start('web')).toEqual(expected);
    expect(run(['-v'])).toEqual(expected);
    expect(existsSync(root)).toBe(false);
  });

  test('a copy of it alone takes the files of the one on PATH, whatever symlinks lead there', async () => {
    const alone = join(home, 'elsewhere');
    const linked = join(home, 'linked');
    for (const directory of [alone, linked]) mkdirSync(directory);
    copyFileSync(front, join(alone, NAME));
    symlinkSync(front, join(linked, NAME));
    const env = { ...environment, PATH: `relative::/nothing:${linked}:/usr/bin:/bin` };
    expect(run([...flagsFor('web'), 'start'], { program: join(alone, NAME), env })).toEqual(started('web'));
    expect(await answers(pathFor('web'))).toBe(true);
  });

  test('says that the address cannot be written, and starts nothing', () => {
    mkdirSync(join(bundle, 'address'));
    const expected = failed('writing: address: errno 21 (EISDIR)');
    expect(start('web')).toEqual(expected);
    expect(podSockets()).toEqual([]);
    expect(readdirSync(bundle).sort()).toEqual(['address', 'config.json']);
    expect(processes()).toEqual([]);
  });

  test.each([
    ['cannot be printed', 'exec > /dev/full', 'errno 28 (ENOSPC)'],
    ['has nowhere to be printed to', 'exec 1>&-', 'errno 9 (EBADF)'],
  ])('says that the address %s; the next start finds the pod, which is its server’s', async (_, script, error) => {
    expect(startAfter(script, 'web')).toEqual(failed(`printing the address to: stdout: ${error}`));
    expect(start('web')).toEqual(started('web'));
    await lastServer();
    expect(serverPids()).toHaveLength(1);
  });

  test('says that its root is not a directory', () => {
    writeFileSync(root, '');
    expect(start('web')).toEqual(failed(`locking the directory s of: ${root}: errno 20 (ENOTDIR)`));
  });

  test.each([76, 255])('takes an id of %i bytes', (length) => {
    expect(start('x'.repeat(length))).toEqual(started('x'.repeat(length)));
  });

  test.each([
    ['one dash and equals signs', [`-namespace=default`, `-address=${ADDRESS}`, '-id=web']],
    ['two dashes', ['--namespace', 'default', '--address', ADDRESS, '--id', 'web']],
    ['a debug flag', [...flagsFor('web'), '-debug']],
    ['a flag twice', ['-id', 'other', ...flagsFor('web')]],
  ])('takes flags with %s', (_, flags) => {
    expect(run([...flags, 'start'])).toEqual(started('web'));
  });

  test('serves from a checkout as well', () => {
    mkdirSync(join(home, 'build'));
    for (const name of ['node', 'shim.js']) copyFileSync(join(library, name), join(home, 'build', name));
    rmSync(library, { recursive: true });
    expect(start('web')).toEqual(started('web'));
    expect(run(['-v']).stdout).toBe(`${join(home, 'build', 'shim.js')}\n-v\n`);
  });
});

describe('start of what Node has to look at', () => {
  test.each([
    ['of a pod that does not run', '{"annotations":{"io.kubernetes.cri.sandbox-id":"pod"}}'],
    ['whose pod is hard to tell', '{"annotations":{"io.kubernetes.cri.sandbox-id":"we\\u0062"}}'],
    ['that mentions the annotation', '{"args":["io.kubernetes.cri.sandbox-id"]}'],
  ])('passes on a container %s', (_, config) => {
    writeFileSync(join(bundle, 'config.json'), config);
    expect(start('web')).toEqual(passedOn(...flagsFor('web'), 'start'));
    expect(existsSync(root)).toBe(false);
  });

  test('passes on what has a config.json that cannot be read or is too large', () => {
    rmSync(join(bundle, 'config.json'));
    mkdirSync(join(bundle, 'config.json'));
    expect(start('web').status).toBe(42);
    rmSync(join(bundle, 'config.json'), { recursive: true });
    writeFileSync(join(bundle, 'config.json'), '');
    truncateSync(join(bundle, 'config.json'), (16 << 20) + 1);
    expect(start('web').status).toBe(42);
    truncateSync(join(bundle, 'config.json'), 16 << 20);
    expect(start('web')).toEqual(started('web'));
  });

  test('reads a large config.json to its end', () => {
    const annotation = '{"annotations":{"io.kubernetes.cri.sandbox-id":"pod"}}';
    writeFileSync(join(bundle, 'config.json'), `${' '.repeat(300_000)}${annotation}`);
    expect(start('web').status).toBe(42);
  });

  test('answers for a container of a pod that runs', async () => {
    const server = await startServer('pod');
    writeFileSync(join(bundle, 'config.json'), '{"annotations":{"io.kubernetes.cri.sandbox-id":"pod"}}');
    rmSync(join(bundle, 'address'));
    expect(start('web')).toEqual(started('pod'));
    expect(readFileSync(join(bundle, 'address'), 'utf8')).toBe(`unix://${pathFor('pod')}`);
    expect(serverPids()).toEqual([server]);
  });

  test('starts the pod itself', () => {
    const config = '{"annotations":{"io.kubernetes.cri.sandbox-id" : "web"}}';
    writeFileSync(join(bundle, 'config.json'), config);
    expect(start('web')).toEqual(started('web'));
  });

  test('starts what it is told to be a pod, whatever its config.json says', () => {
    writeFileSync(join(bundle, 'config.json'), '{"annotations":{"io.kubernetes.cri.sandbox-id":"we\\u0062"}}');
    expect(run([...flagsFor('web'), '-pod', 'web', 'start'])).toEqual(started('web'));
  });

  test('starts a sandbox that has no config.json', () => {
    rmSync(join(bundle, 'config.json'));
    expect(start('web')).toEqual(started('web'));
  });

  test('says what does not fit into the address of a socket', () => {
    const fits = join(home, 'x'.repeat(107 - home.length - 38));
    expect(socketPath(fits, ADDRESS, 'default', 'web')).toHaveLength(105);
    expect(start('web', { env: { ...environment, SILT_ROOT: fits } }).status).toBe(0);
    const message = `finding room for the address of a socket below: ${fits}x: errno 36 (ENAMETOOLONG)`;
    expect(start('web', { env: { ...environment, SILT_ROOT: `${fits}x` } })).toEqual(failed(message));
  });

  test.each(['', 'relative', '/tmp/../tmp/x', '/tmp/x/', '/tmp//x', '/'])('passes on with the odd root %j', (odd) => {
    expect(start('web', { env: { ...environment, SILT_ROOT: odd } }).status).toBe(42);
  });

  test.each([
    ['the version', ['-v']],
    ['the long version', ['-version']],
    ['info', ['-info']],
    ['nothing at all', []],
    ['no action', flagsFor('web')],
    ['another action', [...flagsFor('web'), 'stop']],
    ['more after the action', [...flagsFor('web'), 'start', 'more']],
    ['an unknown flag', [...flagsFor('web'), '-unknown', 'start']],
    ['an id that is a path', [...flagsFor('../web'), 'start']],
    ['an id that is too long', [...flagsFor('x'.repeat(256)), 'start']],
    ['no namespace', ['-id', 'web', 'start']],
    ['odd words', ['two words', '', 'a\tb']],
  ])('passes on %s', (_, args) => {
    expect(run(args)).toEqual(passedOn(...args));
  });
});

describe('stdin of start', () => {
  const options = any('runtimeoptions.v1.Options', randomBytes(40));

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['options', options],
    ["runc's options", any('containerd.runc.v1.Options', Buffer.alloc(0))],
  ])('starts the pod after %s', (_, input) => {
    expect(start('web', { input })).toEqual(started('web'));
  });

  test.each([
    ['a BootstrapParams', bootstrapParams()],
    ['other options', any('types.example.com/Options', Buffer.from('x'))],
    ['one byte', Buffer.from([0])],
    ['exactly the size of the buffer', randomBytes(64 << 10)],
    ['options of more than the buffer', any('runtimeoptions.v1.Options', randomBytes(64 << 10))],
    ['options that fill the buffer, and more', Buffer.concat([optionsOf(64 << 10), Buffer.from('more')])],
    ['many bytes', randomBytes(1_000_003)],
    ['as much as is taken', randomBytes(10 << 20)],
  ])('passes on %s byte for byte', (_, input) => {
    expect(start('web', { input })).toEqual(passedOn(...flagsFor('web'), 'start'));
    expect(readFileSync(join(home, 'stdin')).equals(input)).toBe(true);
    expect(existsSync(root)).toBe(false);
  });

  test('refuses more than a shim of containerd would read', () => {
    const { status, stderr } = start('web', { input: Buffer.alloc((10 << 20) + 1) });
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: failed('handing stdin to: node: errno 27 (EFBIG)').stderr,
    });
  });

  test('waits for a slow writer', async () => {
    const child = spawn(front, [...flagsFor('web'), 'start'], { cwd: bundle, env: environment });
    const output = outputOf(child);
    child.stdin.write(options.subarray(0, 10));
    await sleep(50);
    expect(existsSync(root)).toBe(false);
    child.stdin.end(options.subarray(10));
    expect(await output).toBe(`unix://${pathFor('web')}`);
  });

  test('is not touched when something else sends the start to Node', () => {
    const input = randomBytes(100);
    run([...flagsFor('web'), 'start', 'more'], { input });
    expect(readFileSync(join(home, 'stdin')).equals(input)).toBe(true);
  });
});

describe('delete', () => {
  const remove = (id: string, ...flags: string[]) => run([...flagsFor(id), ...flags, 'delete']);
  /** Decodes the answer with the message as containerd defines it. */
  function decode(answer: string) {
    const { root: types } = parse(`syntax = "proto3";
      message Timestamp { int64 seconds = 1; int32 nanos = 2; }
      message DeleteResponse { uint32 pid = 1; uint32 exit_status = 2; Timestamp exited_at = 3; }`);
    return types.lookupType('DeleteResponse').decode(Buffer.from(answer, 'latin1')).toJSON() as {
      pid?: number;
      exitStatus: number;
      exitedAt: { seconds: string; nanos: number };
    };
  }

  test('answers for a pod that is gone', () => {
    const before = Date.now();
    const { status, stdout, stderr } = remove('web', '-bundle', bundle);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const { exitedAt, ...rest } = decode(stdout);
    expect(rest).toEqual({ exitStatus: 137 });
    const milliseconds = Number(exitedAt.seconds) * 1000 + exitedAt.nanos / 1e6;
    expect(milliseconds).toBeGreaterThanOrEqual(before);
    expect(milliseconds).toBeLessThanOrEqual(Date.now() + 1);
    expect(existsSync(root)).toBe(false);
  });

  test('removes the socket that a killed server has left, and no other', async () => {
    await startServer('other');
    await crash(await startServer('web'), 'web');
    expect(decode(remove('web').stdout).exitStatus).toBe(137);
    expect(existsSync(pathFor('web'))).toBe(false);
    expect(await answers(pathFor('other'))).toBe(true);
  });

  test('leaves a pod whose server answers to Node', async () => {
    await startServer('web');
    expect(remove('web')).toEqual(passedOn(...flagsFor('web'), 'delete'));
    expect(await answers(pathFor('web'))).toBe(true);
  });

  test('leaves a pod that has state to Node', () => {
    mkdirSync(join(root, 'default', 'web'), { recursive: true });
    expect(remove('web')).toEqual(passedOn(...flagsFor('web'), 'delete'));
    mkdirSync(join(root, 'default', 'web2'));
    expect(remove('we').status).toBe(0);
  });

  test('leaves a container that has state in its pod to Node', () => {
    writeFileSync(join(bundle, 'config.json'), '{"annotations":{"io.kubernetes.cri.sandbox-id":"pod"}}');
    mkdirSync(join(root, 'default', 'pod', 'web'), { recursive: true });
    expect(remove('web').status).toBe(42);
    rmSync(join(root, 'default', 'pod', 'web'), { recursive: true });
    expect(decode(remove('web').stdout).exitStatus).toBe(137);
  });

  test('reads config.json of the bundle that it is given', () => {
    const other = join(home, 'other');
    mkdirSync(other);
    mkdirSync(join(root, 'default', 'pod', 'web'), { recursive: true });
    writeFileSync(join(other, 'config.json'), '{"annotations":{"io.kubernetes.cri.sandbox-id":"pod"}}');
    expect(remove('web').status).toBe(0);
    expect(remove('web', '-bundle', other).status).toBe(42);
  });

  test('says that the answer cannot be printed', () => {
    const script = `exec "$0" "$@" > /dev/full`;
    expect(run(['-c', script, front, ...flagsFor('web'), 'delete'], { program: '/bin/sh' })).toEqual(
      failed('answering: stdout: errno 28 (ENOSPC)'),
    );
  });
});

describe('names', () => {
  const cli = [join(library, 'cli.js'), 'start', '-id', 'x', ''].join('\n');

  test.each(['silt', './silt', '/usr/bin/silt', 'runsc', 'silt-front', 'xcontainerd-shim-silt-v1', ''])(
    'called %j it is the command line',
    (argv0) => {
      expect(run(['start', '-id', 'x'], { argv0 })).toMatchObject({ status: 42, stdout: cli });
    },
  );

  test.each([NAME, `./${NAME}`, `/usr/local/bin/${NAME}`, 'containerd-shim-runsc-v1'])(
    'called %j it is the shim',
    (argv0) => {
      expect(run(['-v'], { argv0 })).toEqual(passedOn('-v'));
    },
  );

  test('gives Node room for the objects of a restore', () => {
    const args = ['--root', '/r', 'restore', '--detach', 'x'];
    const flags = ['--min-semi-space-size=8', '--no-sparkplug', '--no-maglev', '--no-turbofan'];
    const stdout = [...flags, join(library, 'cli.js'), ...args, ''].join('\n');
    expect(run(args, { argv0: 'silt' })).toMatchObject({ status: 42, stdout });
  });

  test('passes many arguments and the environment on', () => {
    const args = Array.from({ length: 5000 }, (_, index) => `argument ${index}`);
    const script = '#!/bin/sh\nprintf "%s\\n" "$@"; cat "/proc/$$/environ"';
    writeFileSync(join(library, 'node'), script, { mode: 0o755 });
    const expected = [join(library, 'cli.js'), ...args, ...Object.entries(environment).map((pair) => pair.join('='))];
    const lines = run(args, { argv0: 'silt' })
      .stdout.split(/[\n\0]/)
      .slice(0, -1);
    expect(lines).toEqual(expected);
  });

  test('says by its name that Node is missing', () => {
    rmSync(join(library, 'node'));
    const stderr = `silt: starting: ${join(library, 'node')}: errno 2 (ENOENT)\n`;
    expect(run([], { argv0: 'silt' })).toEqual({ status: 1, stdout: '', stderr });
  });
});

function writeMode(name: string, mode: number): void {
  rmSync(join(library, name));
  writeFileSync(join(library, name), 'not a program', { mode });
}

/** All of stdout and stderr. */
function outputOf(child: ChildProcess): Promise<string> {
  let output = '';
  child.stdout!.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr!.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return new Promise((resolve) => child.on('close', () => resolve(output)));
}

/** Options that take so many bytes in all, from 16 KiB on: 27 are the type, 4 begin the value. */
function optionsOf(size: number): Buffer {
  return any('runtimeoptions.v1.Options', randomBytes(size - 31));
}

function any(type: string, value: Uint8Array): Buffer {
  const message = parse('syntax = "proto3"; message Any { string type_url = 1; bytes value = 2; }').root.lookupType(
    'Any',
  );
  return Buffer.from(message.encode({ typeUrl: type, value }).finish());
}

/** What containerd 2.3 writes, its extension being options. */
function bootstrapParams(): Buffer {
  const { root: types } = parse(`syntax = "proto3";
    message Any { string type_url = 1; bytes value = 2; }
    message Extension { Any value = 1; }
    message BootstrapParams { string instance_id = 1; string namespace = 2; int32 log_level = 3;
      string containerd_version = 4; string containerd_ttrpc_address = 5; string containerd_grpc_address = 6;
      string containerd_binary = 7; repeated Extension extensions = 8; optional string socket_dir = 9; }`);
  const params = {
    instanceId: 'runtimeoptions.v1.Options',
    namespace: 'default',
    containerdVersion: '2.3.4',
    containerdGrpcAddress: ADDRESS,
    containerdBinary: '/usr/bin/containerd',
    extensions: [{ value: { typeUrl: 'runtimeoptions.v1.Options' } }],
  };
  return Buffer.from(types.lookupType('BootstrapParams').encode(params).finish());
}
