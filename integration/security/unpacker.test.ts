/** What the unpacker has while it reads a stranger's archive: it is stopped in the middle of that, and looked at from the host. */
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { UNPACKER_CAPABILITIES } from '../../sandbox/programs/unpack';
import { containerdSuite, openFiles, siltTest, tarArchive, type Containerd } from '../harness';
import { listProcesses } from '../harness/processes';
import { seedFlags } from '../filesystem/overlay';

const field = (pid: number, key: string): string =>
  new RegExp(`^${key}:[ \\t]*(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';

const namespaceOf = (pid: number | 'self', kind: string): string => readlinkSync(`/proc/${pid}/ns/${kind}`);

/** An archive that takes a while and leaves little: one name, again and again. */
function slowArchive(path: string): void {
  const again = tarArchive([{ name: './again', type: 'symlink', linkname: 'x' }]).subarray(0, 512);
  const parts = [
    tarArchive([{ name: './seeded', content: 'x' }]).subarray(0, 1024),
    ...Array<Buffer>(20_000).fill(again),
  ];
  writeFileSync(path, gzipSync(Buffer.concat([...parts, Buffer.alloc(1024)]), { level: 1 }));
}

/** The unpacker of this run's containerd, once it has its filter, stopped; undefined when it was done before it was seen. */
async function stopUnpacker(host: Containerd, isOver: () => boolean): Promise<number | undefined> {
  while (!isOver()) {
    for (const { pid } of listProcesses()) {
      try {
        const isOne =
          readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith('silt-unpacker') &&
          field(pid, 'Seccomp_filters') === '2' &&
          [...openFiles(pid).values()].some((path) => path.startsWith(host.seeds));
        if (!isOne) continue;
        process.kill(pid, 'SIGSTOP');
        return pid;
      } catch {
        // It is gone.
      }
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  return undefined;
}

for (const seed of ['share', 'copy'] as const) {
  containerdSuite(
    `the unpacker at work, seeds that are ${seed === 'share' ? 'shared' : 'copied'}`,
    { userns: 'auto', seed, onlyPeer: 'system' },
    (host) => {
      // prettier-ignore
      siltTest(
      'has an empty root, the archive and the directory, a filter, no network, and capabilities for files only',
      async () => {
        const path = join(host().seeds, 'slow.tar.gz');
        let pid: number | undefined;
        for (let tries = 0; pid === undefined && tries < 20; tries++) {
          slowArchive(path);
          let isOver = false;
          const run = host()
            .run(['cat', '/seeded'], { flags: seedFlags(path) })
            .finally(() => (isOver = true));
          pid = await stopUnpacker(host(), () => isOver);
          try {
            if (pid !== undefined) look(pid, path);
          } finally {
            if (pid !== undefined) process.kill(pid, 'SIGCONT');
            expect((await run).stdout.toString()).toBe('x');
          }
        }
        expect(pid).toBeDefined();
        expect(cgroups.filter((path) => existsSync(path))).toEqual([]);
      },
      120_000,
    );
    },
  );

  const look = (pid: number, archive: string): void => {
    expect(readdirSync(`/proc/${pid}/root`)).toEqual([]);
    const mounts = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').trim().split('\n');
    expect(mounts).toEqual([expect.stringMatching(/ \/ \/ ro,nosuid,nodev,noexec,relatime - tmpfs silt ro,size=4k/)]);
    expect(readlinkSync(`/proc/${pid}/cwd`)).toBe('/');

    const capabilities = UNPACKER_CAPABILITIES.toString(16).padStart(16, '0');
    expect(['CapPrm', 'CapEff', 'CapInh', 'CapAmb'].map((set) => field(pid, set))).toEqual([
      capabilities,
      capabilities,
      '0'.repeat(16),
      '0'.repeat(16),
    ]);
    expect(['NoNewPrivs', 'Seccomp', 'Seccomp_filters', 'Groups'].map((key) => field(pid, key).trim())).toEqual(['1', '2', '2', '']); // prettier-ignore
    for (const thread of readdirSync(`/proc/${pid}/task`))
      expect(readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8')).toMatch(/^Seccomp_filters:\t2$/m);
    expect(Number(/^\s*0\s+(\d+)\s+65536\n$/.exec(readFileSync(`/proc/${pid}/uid_map`, 'utf8'))?.[1])).toBeGreaterThan(65535); // prettier-ignore

    for (const kind of ['user', 'mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'])
      expect([kind, namespaceOf(pid, kind)]).not.toEqual([kind, namespaceOf('self', kind)]);
    const devices = readFileSync(`/proc/${pid}/net/dev`, 'utf8').match(/^ *\S+:/gm);
    expect(devices?.map((name) => name.trim())).toEqual(['lo:']);

    // Node's own are pipes and what it waits with; the directory is the root of a mount that is attached nowhere.
    const files = [...openFiles(pid).values()].filter((file) => !/^(pipe:|anon_inode:\[event(poll|fd)\]$)/.test(file));
    const known = files.map((file) => file.replace(/^socket:.*/, 'socket').replace(/^\/fs$/, '/'));
    expect([...new Set(known)].sort()).toEqual(['/', '/dev/null', archive, 'socket'].sort());
    expect(files.filter((file) => file.startsWith('socket:'))).toHaveLength(1);
    expect(readFileSync(`/proc/${pid}/environ`, 'latin1')).toBe('');
    lookAtCgroup(pid);
  };

  /** What it writes is charged to whom it is for: to the container, or, for a layer that many share, to nobody's pod. */
  const lookAtCgroup = (pid: number): void => {
    const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n');
    const own = seed === 'share' ? /\/silt-unpacker-[0-9a-z-]+$/ : /\/c\d+$/;
    const path = lines.map((line) => /^\d+:(?:|.*\bmemory\b.*):(.*)$/.exec(line)?.[1]).find((it) => it && own.test(it));
    expect([lines, path]).toEqual([lines, expect.any(String)]);
    const places = ['memory', ''].map((name) => join('/sys/fs/cgroup', name, path!));
    const directory = places.find((one) => existsSync(one))!;
    expect(readFileSync(join(directory, 'cgroup.procs'), 'utf8')).toContain(`${pid}\n`);
    const limit = ['memory.limit_in_bytes', 'memory.max'].map((name) => join(directory, name)).find((one) => existsSync(one))!; // prettier-ignore
    if (seed === 'share') expect(Number(readFileSync(limit, 'utf8'))).toBe(2 ** 31);
    // The range in front of those of the pods.
    const first = Number(/^\s*0\s+(\d+)/.exec(readFileSync(`/proc/${pid}/uid_map`, 'utf8'))?.[1]);
    expect(first < 0x7000_0000).toBe(seed === 'share');
    cgroups.push(directory);
  };
  const cgroups: string[] = [];
}
