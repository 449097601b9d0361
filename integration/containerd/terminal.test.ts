/** `ctr run -t` and `ctr tasks exec -t`: a real terminal, of the container's own devpts, of the right size. */
import { containerdSuite, Terminal, type Containerd } from '../harness';

const size = { rows: 33, columns: 101 };
const showSize = 'while sleep 0.05; do stty size; done';

/** Opens a terminal with ctr in it, closes it whatever happens in `use`. */
async function onTerminal(
  host: Containerd,
  words: string[],
  use: (terminal: Terminal) => Promise<void>,
): Promise<void> {
  const terminal = await Terminal.open(host.ctrWords(words), size, { env: host.environment });
  try {
    await use(terminal);
  } finally {
    await terminal.close();
  }
}

containerdSuite('terminals', {}, (host) => {
  const runWords = (script: string): string[] => {
    return host().runWords(host().newId(), ['sh', '-c', script], { flags: ['--rm', '--tty'] });
  };

  test('run -t gives the process the first terminal of its own devpts, and passes its exit status on', async () => {
    const script = 'tty; ls -1 /dev/pts; test -t 0 && test -t 1 && test -t 2 && echo all three; echo $TERM; exit 9';
    await onTerminal(host(), runWords(script), async (terminal) => {
      expect(await terminal.ended()).toBe(9);
      expect(terminal.screen.split('\n')).toEqual(['/dev/pts/0', '0', 'ptmx', 'all three', 'xterm', '']);
    });
  });

  test('run -t takes the size of the terminal it is started on, and follows it', async () => {
    await onTerminal(host(), runWords(showSize), async (terminal) => {
      await terminal.waitForText(/33 101\n/);
      await terminal.resize({ rows: 41, columns: 77 });
      await terminal.waitForText(/41 77\n/);
      terminal.type('\x03');
      expect(await terminal.ended()).toBe(130);
    });
  });

  test('run -t echoes what is typed, and Ctrl-D ends the input', async () => {
    await onTerminal(host(), runWords('echo ready; cat; echo done'), async (terminal) => {
      await terminal.waitForText(/ready/);
      terminal.type('hello\r');
      await terminal.waitForText(/hello\nhello\n/);
      terminal.type('\x04');
      expect(await terminal.ended()).toBe(0);
      expect(terminal.screen).toMatch(/done\n$/);
    });
  });

  test('exec -t has a terminal of its own, and is resized', async () => {
    const id = await host().startContainer();
    const script = `tty; trap 'echo changed to $(stty size)' WINCH; ${showSize}`;
    await onTerminal(host(), host().execWords(id, ['sh', '-c', script], ['--tty']), async (terminal) => {
      await terminal.waitForText(/\/dev\/pts\/0\n/);
      await terminal.waitForText(/33 101\n/);
      await terminal.resize({ rows: 20, columns: 60 });
      await terminal.waitForText(/changed to 20 60\n/);
      terminal.type('\x03');
      expect(await terminal.ended()).toBe(130);
    });
    await host().remove(id);
  });

  test('a lot of output through a terminal arrives in order', async () => {
    await onTerminal(host(), runWords('seq 50000'), async (terminal) => {
      expect(await terminal.ended()).toBe(0);
      const expected = Array.from({ length: 50_000 }, (_, index) => `${index + 1}\n`).join('');
      expect(terminal.screen === expected).toBe(true);
    });
  });

  test('two terminals of one container do not meet', async () => {
    const id = await host().startContainer();
    const words = (): string[] => host().execWords(id, ['sh', '-c', 'tty; read line; echo "read $line"'], ['--tty']);
    await onTerminal(host(), words(), async (first) => {
      await first.waitForText(/\/dev\/pts\/0/);
      await onTerminal(host(), words(), async (second) => {
        await second.waitForText(/\/dev\/pts\/1/);
        second.type('to the second\r');
        expect(await second.ended()).toBe(0);
        expect(second.screen).toContain('read to the second');
      });
      first.type('to the first\r');
      expect(await first.ended()).toBe(0);
      expect(first.screen).not.toContain('second');
    });
    await host().remove(id);
  });
});
