import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative, openInterpreter } from '../../native';
import { Kernel } from '../../syscall';
import { countDescriptions } from './descriptions';

test('each open of a file counts once, however many processes have the fd', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'silt-descriptions-'));
  const open = (name: string): number => openSync(join(directory, name), 'a+');
  const fds = [open('one'), open('one'), open('other')];
  // It has the first as its stdin and stdout: the same description again.
  const child = spawn('sleep', ['1000'], { stdio: [fds[0]!, fds[0]!, 'ignore'] });
  try {
    const kernel = new Kernel(loadNative(), openInterpreter());
    const count = (...pids: number[]): number => countDescriptions(kernel, pids, fstatSync(fds[0]!));
    expect(count(process.pid)).toBe(2);
    expect(count(process.pid, child.pid!)).toBe(2);
    expect(count(child.pid!)).toBe(1);
    expect(count()).toBe(0);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
    for (const fd of fds) closeSync(fd);
    rmSync(directory, { recursive: true });
  }
});
