/** Terminals from the command line: in the foreground, and handed to an engine over its console socket. */
import { closeSync, readlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { FdSocket, readTerminal } from '../harness/fd-socket';
import { commandLineSuite, sleep, Terminal, waitFor } from '../harness';

commandLineSuite('a terminal', (host) => {
  test('without one of our own: a shell is given its commands through a pipe and sees their end', async () => {
    const bundle = host().bundle(['sh', '-c', 'stty -echo; sh'], { process: { terminal: true } });
    const run = await host().silt.run(['run', '--bundle', bundle, host().newId()], { stdin: 'echo one; exit 7\n' });
    expect(run.stdout.toString()).toContain('one\n');
    expect(run.code).toBe(7);
    // No `\r`: where the output goes is no terminal.
    expect(run.stdout.toString()).not.toContain('\r');
    const ended = await host().silt.run(['run', '--bundle', bundle, host().newId()], { stdin: 'echo two\n' });
    expect(ended.stdout.toString()).toContain('two\n');
    expect(ended.code).toBe(0);
  });

  test('in the foreground is this one: size, its changes, exit status', async () => {
    const script = 'tty; stty size; echo go; while read line; do case $line in q) exit 6;; *) stty size;; esac; done';
    const bundle = host().bundle(['sh', '-c', script], { process: { terminal: true } });
    const words = host().silt.words(['run', '--bundle', bundle, host().newId()]);
    const terminal = await Terminal.open(words, { rows: 33, columns: 99 }, { env: host().environment });
    await terminal.waitForText(/\/dev\/pts\/0\n33 99\ngo\n/);
    await terminal.resize({ rows: 20, columns: 50 });
    await waitFor('the new size inside', async () => {
      terminal.type('size\r');
      await sleep(50);
      return terminal.screen.includes('20 50');
    });
    terminal.type('q\r');
    expect(await terminal.ended()).toBe(6);
  });

  test('of an exec has its size before the program runs', async () => {
    const { silt } = host();
    const id = host().newId();
    await silt.must(['run', '--detach', '--bundle', host().sleeper(), id]);
    const words = silt.words(['exec', '--tty', id, 'sh', '-c', 'tty; stty size; exit 3']);
    const terminal = await Terminal.open(words, { rows: 31, columns: 97 }, { env: host().environment });
    await terminal.waitForText(/\/dev\/pts\/0\n31 97\n/);
    expect(await terminal.ended()).toBe(3);
    await silt.must(['delete', '--force', id]);
  });

  test('goes to the console socket, as with runc', async () => {
    for (const runtime of [host().silt, host().runc]) {
      const id = host().newId();
      const path = join(host().directory, `${id}.sock`);
      const socket = new FdSocket(path);
      const bundle = host().bundle(['sh', '-c', 'read line; echo "got $line"; sleep 1000'], {
        process: { terminal: true },
      });
      await runtime.must(['create', '--bundle', bundle, '--console-socket', path, id]);
      const master = socket.receive();
      expect(readlinkSync(`/proc/self/fd/${master}`)).toMatch(/\/ptmx$/);
      await runtime.must(['start', id]);
      writeSync(master, 'something\n');
      const output = readTerminal(master);
      await waitFor('the answer', () => output.text.includes('got something'));
      output.close();
      await runtime.must(['delete', '--force', id]);
      closeSync(master);
      socket.close();
    }
  });

  test('that nobody would have is refused as by runc', async () => {
    const codes = [];
    for (const runtime of [host().silt, host().runc]) {
      const bundle = host().bundle(['true'], { process: { terminal: true } });
      codes.push((await runtime.run(['create', '--bundle', bundle, host().newId()])).code);
      codes.push(
        (await runtime.run(['create', '--bundle', host().sleeper(), '--console-socket', '/nowhere', host().newId()]))
          .code,
      );
    }
    expect(codes).toEqual([1, 1, 1, 1]);
  });
});
