/** Programs on a terminal go on with a new one: also those that have opened /dev/tty, and those with terminals of their own. */
import { closeSync, mkdirSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { loadNative } from '../../native';
import { resizeTerminal } from '../../sandbox/terminal/master';
import { Kernel } from '../../syscall';
import { checkpointCommandSuite, checkpointProgramSuite, type CommandLine, Terminal, waitFor } from '../harness';
import { FdSocket, readTerminal } from '../harness/fd-socket';

const kernel = new Kernel(loadNative(), -1);

/** An engine that keeps the terminal which comes over its console socket. */
class Console {
  readonly path;
  readonly #socket;
  #master: number | undefined;
  #output: ReturnType<typeof readTerminal> | undefined;

  constructor(host: CommandLine) {
    this.path = join(host.directory, `${host.newId()}.sock`);
    this.#socket = new FdSocket(this.path);
  }

  receive(): this {
    this.#hangUp();
    this.#master = this.#socket.receive();
    this.#output = readTerminal(this.#master);
    return this;
  }

  get master(): number {
    return this.#master!;
  }

  type(text: string): void {
    writeSync(this.master, text);
  }

  async waitForText(text: string): Promise<void> {
    await waitFor(JSON.stringify(text), () => this.#output!.text.includes(text), {
      detail: () => JSON.stringify(this.#output!.text),
    });
  }

  #hangUp(): void {
    this.#output?.close();
    if (this.#master !== undefined) closeSync(this.#master);
  }

  close(): void {
    this.#hangUp();
    this.#socket.close();
  }
}

checkpointCommandSuite('an interactive shell that has opened /dev/tty', (host) => {
  const imageOf = (id: string): string => join(host().directory, `image-${id}`);
  const shell = (): string => host().bundle(['sh'], { process: { terminal: true } });

  for (const flags of [[], ['--leave-running']])
    test(`whose terminal another process holds is saved, and goes on, twice ${flags.join('')}`, async () => {
      const bundle = shell();
      const console = new Console(host());
      let id = host().newId();
      await host().silt.must(['run', '--detach', '--bundle', bundle, '--console-socket', console.path, id]);
      console.receive();
      resizeTerminal(kernel, console.master, { rows: 33, columns: 99 });
      console.type('kept=something; for fd in /proc/$$/fd/*; do readlink $fd; done; echo $((40+2))\n');
      await console.waitForText('/dev/tty\r\n');
      await console.waitForText('\n42\r\n');
      for (const round of [1, 2]) {
        await host().silt.must(['checkpoint', '--image-path', imageOf(id), ...flags, id]);
        if (flags.length > 0) {
          console.type(`echo "first $((${round}+100))"\n`);
          await console.waitForText(`first ${round + 100}\r\n`);
        }
        await host().silt.must(['delete', '--force', id]);
        const from = ['--image-path', imageOf(id), '--bundle', bundle, '--console-socket', console.path];
        id = host().newId();
        await host().silt.must(['restore', '--detach', ...from, id]);
        console.receive();
        console.type('echo "$kept $((40+3)) $(stty size)"\n');
        await console.waitForText('something 43 33 99\r\n');
        // It is the shell's controlling terminal, and the shell gives it to its jobs.
        console.type('sh -c "echo job $((50+1)); sleep 1000"\n');
        await console.waitForText('job 51\r\n');
        console.type('\x03');
        console.type('echo "after $((40+4))"\n');
        await console.waitForText('after 44\r\n');
      }
      await host().silt.must(['delete', '--force', id]);
      console.close();
    }, 180_000);

  test('in the foreground is saved, and goes on in the foreground', async () => {
    const bundle = shell();
    const id = host().newId();
    const open = (...words: string[]): Promise<Terminal> =>
      Terminal.open(host().silt.words(words), { rows: 24, columns: 80 }, { env: host().environment });
    const first = await open('run', '--bundle', bundle, id);
    first.type('kept=something; echo $((40+2))\r');
    await first.waitForText(/\n42\n/);
    await host().silt.must(['checkpoint', '--image-path', imageOf(id), '--shell-job', id]);
    await first.ended();
    const second = await open('restore', '--bundle', bundle, '--image-path', imageOf(id), host().newId());
    second.type('\recho "$kept:$((1+1))"; stty size\r');
    await second.waitForText(/something:2\n24 80\n/);
    second.type('exit 5\r');
    expect(await second.ended()).toBe(5);
  }, 120_000);
});

/** Opens the terminal in different ways, and a shell on a terminal of its own; afterwards it tells what it finds. */
const PROGRAM = `
import fcntl, os, pty, subprocess, sys, time
own = os.open('/dev/tty', os.O_RDWR | os.O_NONBLOCK)
pid, inner = pty.fork()
if pid == 0: os.execvp('python3', ['python3', '-c', '''
import os, sys
tty = os.open("/dev/tty", os.O_RDWR)
while True: os.write(tty, b"inner " + os.read(tty, 100).strip() + b"|")
'''])
def ask(text):
    os.write(inner, text + b'\\n')
    got = b''
    while not got.endswith(b'|'): got += os.read(inner, 100)
    return got.split(b'\\n')[-1].decode()
def blocks(fd): return not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK
n = 0
while True:
    print(ask(b'%d' % n), blocks(0), blocks(own), flush=True)
    os.write(own, b'own\\n')
    sys.stdin.readline()
    n += 1
`;

checkpointProgramSuite('a program with a terminal in its terminal', (host, rootfs) => {
  test('goes on with both, each opened as it was', async () => {
    const shared = join(host().directory, 'shared');
    mkdirSync(shared);
    writeFileSync(join(shared, 'program.py'), PROGRAM);
    const bundle = host().bundle(['python3', '/srv/program.py'], {
      rootfs,
      process: { env: ['PATH=/usr/bin:/bin'], terminal: true },
      mounts: [{ destination: '/srv', type: 'bind', source: shared, options: ['rbind', 'ro'] }],
    });
    const console = new Console(host());
    const id = host().newId();
    await host().silt.must(['run', '--detach', '--bundle', bundle, '--console-socket', console.path, id]);
    await console.receive().waitForText('inner 0| True False\r\nown\r\n');
    const image = join(host().directory, 'image');
    await host().silt.must(['checkpoint', '--image-path', image, id]);
    await host().silt.must(['delete', '--force', id]);
    const later = host().newId();
    const from = ['--image-path', image, '--bundle', bundle, '--console-socket', console.path];
    await host().silt.must(['restore', '--detach', ...from, later]);
    console.receive().type('\n');
    await console.waitForText('inner 1| True False\r\nown\r\n');
    await host().silt.must(['delete', '--force', later]);
    console.close();
  }, 120_000);
});
