/** What the gofer has while it builds a root filesystem: a hook of that time makes it wait, and the test looks. */
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { containerdSuite, shellSpec, siltTest, SpecBench, waitFor } from '../harness';

function status(pid: number, key: string): string {
  return new RegExp(`^${key}:\\s*(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';
}

const namespaceOf = (pid: number | 'self', kind: string): string => readlinkSync(`/proc/${pid}/ns/${kind}`);

/** capability.h's numbers of what only the host itself would be done to with. */
const NEVER = { NET_RAW: 13, SYS_MODULE: 16, SYS_RAWIO: 17, SYS_PTRACE: 19, SYS_BOOT: 22, SYS_RESOURCE: 24, SYS_TIME: 25, SYSLOG: 34, PERFMON: 38, BPF: 39 }; // prettier-ignore
const MOST_CAPABILITIES = 16;

/** What an open file of a process is, without what differs from run to run. */
function openFiles(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`)
    .map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
    .map((link) => link.replace(/^(socket|pipe|user|mnt|pid|net):.*/, '$1').replace(/^\/proc\/\d+$/, '/proc/self'));
}

/** Names of the sockets of the host's network namespace that a process has; sockets of a pair have none. */
function namedSockets(pid: number): string[] {
  const inodes = readdirSync(`/proc/${pid}/fd`)
    .map((fd) => /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1])
    .filter((inode) => inode !== undefined);
  const lines = readFileSync('/proc/net/unix', 'latin1').trim().split('\n').slice(1).map((line) => line.split(/ +/)); // prettier-ignore
  return inodes.map((inode) => {
    const line = lines.find((words) => words[6] === inode);
    return line ? (line[7] ?? '') : `no unix socket: ${inode}`;
  });
}

/** Processes that may end while they are looked at. */
function processes(which: (pid: number) => boolean): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        return pid > 0 && which(pid);
      } catch {
        return false;
      }
    });
}

for (const userns of ['none', 'auto'] as const) {
  containerdSuite(`the gofer at work, user namespaces ${userns}`, { userns, onlyPeer: 'system' }, (host) => {
    siltTest('has few capabilities, a filter, the pod’s network and no fd but those of its work', async () => {
      const bench = new SpecBench(host());
      const [looked, told] = [join(bench.directory, 'looked'), join(bench.directory, 'told')];
      const script = `cat > ${told}.new; mv ${told}.new ${told}; while [ ! -e ${looked} ]; do sleep 0.1; done`;
      const spec = shellSpec('echo ran', (it) => {
        it['hooks'] = { createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', script], env: ['PATH=/bin:/usr/bin'] }] };
      });
      const output = bench.output(spec);
      output.catch(() => undefined);
      try {
        await waitFor('the hook to run', () => existsSync(told), { timeoutMs: 60_000 });
        const { pid: launcher } = JSON.parse(readFileSync(told, 'utf8')) as { pid: number };
        const mounts = namespaceOf(launcher, 'mnt');
        const inside = processes((pid) => namespaceOf(pid, 'mnt') === mounts);
        const [gofer, ...more] = inside.filter((pid) => inside.includes(Number(status(pid, 'PPid'))));
        expect([typeof gofer, more]).toEqual(['number', []]);
        const held = BigInt(`0x${status(gofer!, 'CapEff')}`);
        expect(held).toBe(BigInt(`0x${status(gofer!, 'CapPrm')}`));
        expect(held.toString(2).replaceAll('0', '').length).toBeLessThanOrEqual(MOST_CAPABILITIES);
        expect(Object.entries(NEVER).filter(([, bit]) => (held >> BigInt(bit)) & 1n)).toEqual([]);
        expect(status(gofer!, 'Seccomp')).toBe('2');
        expect(status(gofer!, 'NoNewPrivs')).toBe('1');
        expect(namespaceOf(gofer!, 'net')).toBe(namespaceOf(launcher, 'net'));
        expect(namespaceOf(gofer!, 'net')).not.toBe(namespaceOf('self', 'net'));
        // Its report socket and the one to the starter; the pod's root, the upper, and what it mounts.
        expect(namedSockets(gofer!)).toEqual(['', '']);
        const known = ['/', '/dev/null', '/proc/self', 'anon_inode:[pidfd]', 'socket', bench.rootfs];
        if (userns === 'auto') known.push('user');
        expect(openFiles(gofer!).filter((file) => !known.includes(file))).toEqual([]);
      } finally {
        writeFileSync(looked, '');
      }
      expect(await output).toBe('ran');
    });
  });
}
