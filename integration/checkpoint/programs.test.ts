/** Real programs are saved in the middle of what they do, and go on with it in a new container. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkout } from '../harness/checkout';
import { checkpointProgramSuite, type CommandLine, mustRun, Terminal, waitFor } from '../harness';

const ENVIRONMENT = ['PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'TERM=dumb'];
/** Where the programs of these tests are in the container. */
const OWN = '/srv';

const THREADS = `
import queue, subprocess, threading, time
child = subprocess.Popen(['sh', '-c', 'while read x; do echo $((x*2)); done'],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
asked, answered = queue.Queue(), queue.Queue()
def work():
    while True: answered.put(asked.get() + 1)
for _ in range(3): threading.Thread(target=work, daemon=True).start()
n = 0
while True:
    n += 1
    child.stdin.write(f'{n}\\n'); child.stdin.flush()
    assert int(child.stdout.readline()) == 2 * n
    asked.put(n); assert answered.get() == n + 1
    with open('/report', 'a') as report: report.write(f'{n}\\n')
    time.sleep(0.01)
`;

const WORKER = `
const { appendFileSync } = require('fs');
const { Worker } = require('worker_threads');
const source = "const {parentPort} = require('worker_threads'); parentPort.on('message', (n) => parentPort.postMessage(2 * n))";
const worker = new Worker(source, { eval: true });
let n = 0;
worker.on('message', (twice) => {
  if (twice !== 2 * n) process.exit(1);
  appendFileSync('/report', n + '\\n');
  setTimeout(() => worker.postMessage(++n), 10);
});
worker.postMessage(n);
`;

const MEMORY = `
import hashlib, os, time
memory = bytearray(os.urandom(1 << 20)) * 1024
for i in range(0, len(memory), 4096): memory[i:i + 8] = i.to_bytes(8, 'little')
digest = hashlib.blake2b(memory).digest()
open('/report', 'w').write('1\\n')
while not os.path.exists('/go'): time.sleep(0.01)
open('/report', 'w').write('same\\n' if hashlib.blake2b(memory).digest() == digest else 'different\\n')
time.sleep(1000)
`;

const REDIS = `
redis-server --save '' --appendonly yes --dir /tmp > /dev/null &
until exec 3<>/dev/tcp/127.0.0.1/6379; do sleep 0.02; done 2> /dev/null
while printf 'INCR n\\r\\n' >&3 && read -r line <&3; do line=\${line%$'\\r'}; echo "\${line#:}" >> /report; sleep 0.01; done
`;

const SQLITE = `
mkfifo /tmp/in; sqlite3 /tmp/db < /tmp/in & exec 4> /tmp/in
echo "create table t(x); begin; insert into t values (1);" >&4; sleep 0.3; echo 1 > /report
until [ -e /go ]; do sleep 0.02; done
echo "insert into t values (2); commit;" >&4; exec 4>&-; wait; echo done > /report; sleep 1000
`;

const NGINX = `
worker_processes 2; user root; daemon off; pid /run/nginx.pid; error_log /dev/null;
events {}
http { access_log off; server { listen 127.0.0.1:8080; root ${OWN}; } }
`;

checkpointProgramSuite('programs', (host, rootfs) => {
  const programs = (): string => join(host().directory, 'programs');

  beforeAll(async () => {
    mkdirSync(programs());
    const write = (name: string, text: string): void => writeFileSync(join(programs(), name), text);
    write('threads.py', THREADS);
    write('worker.cjs', WORKER);
    write('memory.py', MEMORY);
    write('redis.sh', REDIS);
    write('sqlite.sh', SQLITE);
    write('nginx.conf', NGINX);
    write('page', 'served');
    const source = join(checkout, 'integration/checkpoint/programs/everything.c');
    await mustRun(['gcc', '-O2', '-pthread', source, '-o', join(programs(), 'everything')]);
  }, 120_000);

  const makeBundle = (args: readonly string[], terminal = false): string =>
    host().bundle(args, {
      rootfs,
      process: { env: ENVIRONMENT, terminal },
      mounts: [{ destination: OWN, type: 'bind', source: programs(), options: ['rbind', 'ro'] }],
    });

  async function restored(
    from: string,
    bundle: string,
    flags: readonly string[] = [],
    globals: readonly string[] = [],
  ): Promise<string> {
    const id = host().newId();
    const image = join(host().directory, `image-${id}`);
    await host().silt.must(['checkpoint', '--image-path', image, ...flags, from], { timeoutMs: 120_000 });
    await host().silt.must(['delete', '--force', from]);
    await host().silt.must([...globals, 'restore', '--detach', '--bundle', bundle, '--image-path', image, id], {
      timeoutMs: 120_000,
    });
    return id;
  }

  /** The last line of the container's report. */
  const reported = async (id: string): Promise<string> =>
    (await host().silt.must(['exec', id, 'sh', '-c', 'tail -n 1 /report 2> /dev/null || true'])).trim();

  async function countsOn(id: string): Promise<number> {
    let before: number | undefined;
    return waitFor(
      `${id} to count`,
      async () => {
        const last = await reported(id);
        if (last.startsWith('wrong')) throw new Error(last);
        before ??= last === '' ? undefined : Number(last);
        return before !== undefined && Number(last) > before + 3 ? Number(last) : undefined;
      },
      { timeoutMs: 60_000 },
    );
  }

  /** Counts before, goes on from there afterwards; twice over: what was restored can be saved, too. */
  async function carries(
    args: readonly string[],
    flags: readonly string[] = [],
    { times = 2, globals = [] }: { times?: number; globals?: readonly string[] } = {},
  ): Promise<void> {
    const bundle = makeBundle(args);
    let id = host().newId();
    await host().silt.must([...globals, 'run', '--detach', '--bundle', bundle, id]);
    let last = await countsOn(id);
    for (let time = 0; time < times; time++) {
      id = await restored(id, bundle, flags, globals);
      const now = await countsOn(id);
      expect(now).toBeGreaterThan(last);
      last = now;
    }
    await host().silt.must(['delete', '--force', id]);
  }

  const CARRIED = [
    {
      what: 'threads, timers, pending signals, watches, shared memory, files without a name',
      args: [`${OWN}/everything`, '/report'],
    },
    { what: 'python3 with threads and a child on pipes', args: ['python3', `${OWN}/threads.py`] },
    { what: 'node with a worker', args: ['node', `${OWN}/worker.cjs`] },
    {
      what: 'redis-server with a client’s connection',
      args: ['bash', `${OWN}/redis.sh`],
      flags: ['--tcp-established'],
    },
  ];
  test.each(CARRIED)('$what', ({ args, flags }) => carries(args, flags), 120_000);

  // What is different there is whose namespaces CRIU finds, and which rights it and the programs have: once is enough.
  test.each(CARRIED.filter(({ args }) => args[0] !== 'node'))(
    '$what, without a user namespace',
    ({ args, flags }) => carries(args, flags, { times: 1, globals: ['--userns=none'] }),
    120_000,
  );

  test('redis-server’s client notices nothing of a checkpoint that leaves it running', async () => {
    const id = host().newId();
    await host().silt.must(['run', '--detach', '--bundle', makeBundle(['bash', `${OWN}/redis.sh`]), id]);
    const before = await countsOn(id);
    const image = join(host().directory, `image-${id}`);
    await host().silt.must(['checkpoint', '--leave-running', '--tcp-established', '--image-path', image, id]);
    expect(await countsOn(id)).toBeGreaterThan(before);
    const lines = (await host().silt.must(['exec', id, 'cat', '/report'])).trim().split('\n').map(Number);
    expect(lines).toEqual(lines.map((_, i) => i + 1));
    await host().silt.must(['delete', '--force', id]);
  }, 120_000);

  test('nginx with workers', async () => {
    const bundle = makeBundle(['nginx', '-c', `${OWN}/nginx.conf`]);
    const ask = 'exec 3<>/dev/tcp/127.0.0.1/8080; printf "GET /page HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3';
    const isServed = (id: string) => async () =>
      (await host().silt.run(['exec', id, 'bash', '-c', ask])).stdout.toString().endsWith('served');
    const id = host().newId();
    await host().silt.must(['run', '--detach', '--bundle', bundle, id]);
    await waitFor('nginx to serve', isServed(id));
    const later = await restored(id, bundle);
    await waitFor('nginx to serve again', isServed(later));
    expect((await host().silt.must(['ps', '--format', 'json', later])).split(',')).toHaveLength(3);
    await host().silt.must(['delete', '--force', later]);
  }, 120_000);

  test('sqlite in the middle of a transaction', async () => {
    const bundle = makeBundle(['bash', `${OWN}/sqlite.sh`]);
    const id = host().newId();
    await host().silt.must(['run', '--detach', '--bundle', bundle, id]);
    await waitFor('the transaction', async () => (await reported(id)) === '1');
    const later = await restored(id, bundle);
    await host().silt.must(['exec', later, 'touch', '/go']);
    await waitFor('its end', async () => (await reported(later)) === 'done');
    expect((await host().silt.must(['exec', later, 'sqlite3', '/tmp/db', 'select sum(x) from t'])).trim()).toBe('3');
    await host().silt.must(['delete', '--force', later]);
  }, 120_000);

  test('1 GiB of memory', async () => {
    const bundle = makeBundle(['python3', `${OWN}/memory.py`]);
    const id = host().newId();
    await host().silt.must(['run', '--detach', '--bundle', bundle, id]);
    await waitFor('the memory', async () => (await reported(id)) === '1', { timeoutMs: 90_000 });
    const later = await restored(id, bundle);
    await host().silt.must(['exec', later, 'touch', '/go']);
    await waitFor('its digest', async () => (await reported(later)) === 'same', { timeoutMs: 90_000 });
    await host().silt.must(['delete', '--force', later]);
  }, 300_000);

  test('an interactive bash on a terminal', async () => {
    const bundle = makeBundle(['bash', '--norc'], true);
    const id = host().newId();
    const open = (line: CommandLine, words: string[]): Promise<Terminal> =>
      Terminal.open(line.silt.words(words), { rows: 24, columns: 80 }, { env: line.environment });
    const first = await open(host(), ['run', '--bundle', bundle, id]);
    first.type('kept=something; echo $((40+2))\r');
    await first.waitForText(/\n42\n/);
    const image = join(host().directory, 'image-bash');
    await host().silt.must(['checkpoint', '--image-path', image, id]);
    await first.ended();
    const later = host().newId();
    const second = await open(host(), ['restore', '--bundle', bundle, '--image-path', image, later]);
    second.type('\recho "$kept:$((1+1))"; stty size\r');
    await second.waitForText(/something:2\n24 80\n/);
    second.type('exit 5\r');
    expect(await second.ended()).toBe(5);
  }, 120_000);
});
