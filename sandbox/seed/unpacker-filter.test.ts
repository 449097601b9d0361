import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { nativeDirectory } from '../../native';
import { type Bundle, bundleForTest } from '../../tools/bundle-for-test';

let bundle: Bundle;
beforeAll(() => {
  bundle = bundleForTest(
    ...['unpacker-filter.ts', '../programs/unpack.ts', '../../syscall/index.ts', '../../native/index.ts'].map((file) =>
      join(__dirname, file),
    ),
  );
});
afterAll(() => bundle.remove());

/**
 * Runs JavaScript in a Node under the unpacker's filters: the first one from before its start, the second one from within. `say`
 * prints what it is given, `attempt` what comes of a function.
 */
function underFilter(script: string): unknown[] {
  const before = `
    const silt = require(${JSON.stringify(bundle.file)});
    const fs = require('node:fs'), net = require('node:net'), zlib = require('node:zlib'), processes = require('node:child_process');
    const kernel = new silt.Kernel(silt.loadNative(${JSON.stringify(join(nativeDirectory(), 'silt.node'))}), -1);
    const install = ({ bpf, flags }) => {
      const p = new silt.ProgramBuilder();
      silt.prctl(p, 'PR_SET_NO_NEW_PRIVS', 1);
      silt.setSeccompFilter(p, bpf, flags);
      kernel.run(p.build());
    };
    const say = (what) => fs.writeSync(1, JSON.stringify(what) + '\\n');
    const attempt = (what) => { try { say(what() ?? 'done'); } catch (error) { say(error.code ?? error.message); } };
    const calls = (name, args) => { const p = new silt.ProgramBuilder(); p.call(name, args); kernel.run(p.build()); };`;
  const inner = `${before}\ninstall(silt.unpackerFilter());\n${script}`;
  const outer = `${before}
    install(silt.unpackerBaseline());
    const p = new silt.ProgramBuilder();
    // Node has made them close-on-exec.
    for (const fd of [0, 1, 2]) p.call('fcntl', [fd, silt.C.F_SETFD, 0]);
    // The loop of this Node has an io_uring already, and would fall over it.
    silt.execve(p, process.execPath, ['node', '-e', ${JSON.stringify(inner)}], []);
    kernel.run(p.build());`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ['-e', outer], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ended with ${status}: ${stderr}`);
  return stdout
    .trim()
    .split('\n')
    .map((line): unknown => JSON.parse(line));
}

test('no file is opened by a path, no program started, nobody signalled', () => {
  const script = `
    attempt(() => fs.readFileSync('/etc/passwd'));
    attempt(() => fs.readdirSync('/'));
    attempt(() => { const { error } = processes.spawnSync('/bin/true'); if (error) throw error; });
    attempt(() => process.kill(process.ppid, 0));`;
  expect(underFilter(script)).toEqual(['EPERM', 'EPERM', 'EPERM', 'EPERM']);
});

test('no socket is opened, on any thread', () => {
  const script = `
    net.connect('/run/any.sock').on('error', (error) => say(error.code));
    // An address by name is looked up in libuv's thread pool.
    require('node:dns').lookup('silt.test', (error) => say(error ? 'failed' : 'found'));`;
  expect(underFilter(script).sort()).toEqual(['EPERM', 'failed']);
});

test.each([
  ['socket', '[1, 1, 0]'],
  ['mount', '[0, 0, 0, 0, 0]'],
  ['unshare', '[0]'],
  ['setns', '[0, 0]'],
  ['ptrace', '[0, 0, 0, 0]'],
  ['process_vm_readv', '[1, 0, 0, 0, 0, 0]'],
  ['execve', '[0, 0, 0]'],
  ['bpf', '[0, 0, 0]'],
  ['openat', '[-100, 0, 0, 0]'],
  ['clone', '[17, 0, 0, 0, 0]'],
])('%s is refused', (name, args) => {
  const script = `try { calls('${name}', ${args}); say('done'); } catch (error) { say(/EPERM/.test(error.message) ? 'EPERM' : error.message); }`;
  expect(underFilter(script)).toEqual(['EPERM']);
});

test('Node works on: memory, timers, threads that decompress', () => {
  const packed = gzipSync(Buffer.alloc(3_000_000, 'silt')).toString('base64');
  const script = `
    let bytes = 0;
    const gunzip = zlib.createGunzip();
    gunzip.on('data', (chunk) => (bytes += chunk.length));
    gunzip.on('end', () => setTimeout(() => say(bytes), 10));
    gunzip.end(Buffer.from('${packed}', 'base64'));
    const grown = []; for (let i = 0; i < 200; i++) grown.push(Buffer.alloc(100_000, i)); say(grown.length);`;
  expect(underFilter(script)).toEqual([200, 3_000_000]);
});
