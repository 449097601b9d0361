/** Restored with `--background`: a container runs before its memory is there, and never with wrong memory. */
import { appendFileSync, closeSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, statSync, writeFileSync, writeSync } from 'node:fs'; // prettier-ignore
import { join } from 'node:path';
import {
  checkpointProgramSuite,
  checkpointSuite,
  restoreContainer,
  siltTest,
  takeCheckpoint,
  waitFor,
  type Containerd,
} from '../harness';

const OWN = '/srv';
const MEBIBYTES = 96;

/**
 * Has memory that is found again by a digest. From the moment on that /go is there it uses it in every way: threads that read at once,
 * a child that has it from fork, parts that are given back, and a mapping that grows and so moves.
 */
const MEMORY = `
import hashlib, mmap, os, sys, threading, time
size = ${MEBIBYTES} << 20
memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
block = os.urandom(1 << 20)
for i in range(0, size, 1 << 20): memory[i:i + (1 << 20)] = (i >> 20).to_bytes(8, 'little') + block[8:]
moving = mmap.mmap(-1, 8 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
moving[:] = block * 8
def digest(): return hashlib.sha256(memory).hexdigest()
def say(what):
    with open('/report', 'a') as report: report.write(what + '\\n')
right = digest()
say('ready')
while not os.path.exists('/go'): time.sleep(0.002)
say('runs')
memory.madvise(mmap.MADV_DONTNEED, 64 << 20, 1 << 20)
if os.fork() == 0:
    memory[64 << 20:65 << 20] = (64).to_bytes(8, 'little') + block[8:]
    say('child ' + ('right' if digest() == right else 'wrong'))
    os._exit(0)
if any(memory[64 << 20:65 << 20]): say('wrong: given back and still there')
memory[64 << 20:65 << 20] = (64).to_bytes(8, 'little') + block[8:]
moving.resize(64 << 20)
say('moved ' + ('right' if moving[:8 << 20] == block * 8 and not any(moving[8 << 20:9 << 20]) else 'wrong'))
found = []
def read(part):
    for i in range(part, ${MEBIBYTES}, 4): found.append(memory[i << 20:(i << 20) + 8] == i.to_bytes(8, 'little'))
threads = [threading.Thread(target=read, args=(part,)) for part in range(4)]
for one in threads: one.start()
for one in threads: one.join()
say('threads ' + ('right' if all(found) and len(found) == ${MEBIBYTES} else 'wrong'))
say('memory ' + ('right' if digest() == right else 'wrong'))
os.wait()
say('done')
time.sleep(1000)
`;

for (const userns of ['none', 'auto'] as const) {
  checkpointProgramSuite(`restore in the background, userns = "${userns}"`, (host, rootfs) => {
    const programs = (): string => join(host().directory, 'programs');
    const image = (): string => join(host().directory, 'image');

    beforeAll(async () => {
      appendFileSync(String(host().environment['SILT_CONFIG']), `userns = "${userns}"\n`);
      mkdirSync(programs());
      writeFileSync(join(programs(), 'memory.py'), MEMORY);
      const id = host().newId();
      await host().silt.must(['run', '--detach', '--bundle', bundle(), id]);
      await waitFor('its memory', async () => (await reported(id)).includes('ready'), { timeoutMs: 120_000 });
      await host().silt.must(['checkpoint', '--image-path', image(), id], { timeoutMs: 120_000 });
      await host().silt.must(['delete', '--force', id]);
    }, 240_000);

    const bundle = (): string =>
      host().bundle(['python3', `${OWN}/memory.py`], {
        rootfs,
        process: { env: ['PATH=/usr/bin:/bin'] },
        mounts: [{ destination: OWN, type: 'bind', source: programs(), options: ['rbind', 'ro'] }],
      });

    const reported = async (id: string): Promise<string[]> =>
      (await host().silt.must(['exec', id, 'sh', '-c', 'cat /report 2> /dev/null || true'])).trim().split('\n');

    async function restore(from = image()): Promise<{ id: string; said: string }> {
      const id = host().newId();
      const flags = ['--detach', '--background', '--bundle', bundle(), '--image-path', from];
      const { code, stderr } = await host().silt.run(['restore', ...flags, id], { timeoutMs: 120_000 });
      if (code !== 0) throw new Error(stderr);
      return { id, said: stderr };
    }

    /** Everything that it finds is right. */
    async function usesItsMemory(id: string): Promise<void> {
      await host().silt.must(['exec', id, 'touch', '/go']);
      const right = ['ready', 'runs', 'child right', 'done', 'memory right', 'moved right', 'threads right'].sort();
      await waitFor('its end', async () => (await reported(id)).includes('done'), { timeoutMs: 120_000 });
      expect((await reported(id)).sort()).toEqual(right);
    }

    test('memory is right in whatever way it is used while it comes', async () => {
      const { id, said } = await restore();
      expect(said).toBe('');
      await usesItsMemory(id);
      await waitFor('the pager to end', () => Promise.resolve(keeperOf(id) === undefined));
      await host().silt.must(['delete', '--force', id]);
    }, 240_000);

    test('a checkpoint of it has all of its memory', async () => {
      const { id } = await restore();
      const second = join(host().directory, 'second');
      await host().silt.must(['checkpoint', '--image-path', second, id], { timeoutMs: 120_000 });
      await host().silt.must(['delete', '--force', id]);
      const size = (directory: string): number => statSync(pagesOf(directory)).size;
      expect(size(second)).toBeGreaterThan(0.95 * size(image()));
      const again = await restore(second);
      await usesItsMemory(again.id);
      await host().silt.must(['delete', '--force', again.id]);
    }, 240_000);

    test('a flipped bit that is found late ends the container, and says where', async () => {
      const pages = pagesOf(image());
      const flipped = flipBit(pages, Math.floor(statSync(pages).size / 2));
      try {
        const { id } = await restore();
        await waitFor('its end', async () => (await host().silt.status(id)) === 'stopped', { timeoutMs: 120_000 });
        const state = JSON.parse(await host().silt.must(['state', id])) as { memoryFailure: string };
        expect(state.memoryFailure).toMatch(/is damaged: pages-\d+\.img has changed between its bytes \d+ and/);
        await host().silt.must(['delete', '--force', id]);
      } finally {
        flipped();
      }
    }, 240_000);

    test('when the pager is killed, the container ends before anything of its memory is wrong', async () => {
      const { id } = await restore();
      const keeper = keeperOf(id)!;
      const [pager] = readFileSync(`/proc/${keeper}/task/${keeper}/children`, 'latin1').trim().split(' ');
      process.kill(Number(pager), 'SIGKILL');
      await waitFor('its end', async () => (await host().silt.status(id)) === 'stopped');
      await host().silt.must(['delete', '--force', id]);
    }, 240_000);

    test('nothing is left when the container is removed while its memory comes', async () => {
      const { id } = await restore();
      const keeper = keeperOf(id);
      expect(keeper).toBeDefined();
      await host().silt.must(['delete', '--force', id]);
      await waitFor('the pager to end', () => Promise.resolve(!isAlive(keeper!)));
    }, 240_000);

    /** Pid of the process that ends after the pager; undefined when there is none any more. */
    function keeperOf(id: string): number | undefined {
      const path = join(host().silt.root, id, id, 'container.json');
      const { pager } = JSON.parse(readFileSync(path, 'utf8')) as { pager: { pid: number } };
      return isAlive(pager.pid) ? pager.pid : undefined;
    }
  });
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return false;
  }
}

for (const userns of ['none', 'auto'] as const) {
  checkpointSuite(`through containerd, userns = "${userns}"`, { userns }, (host) => {
    /** Has 16 MiB in memory only, and says their digest when it is asked. */
    const holder = [
      'sh',
      '-c',
      'read id < /proc/sys/kernel/random/uuid; s=$id; while [ ${#s} -lt 16777216 ]; do s=$s$s; done; while :; do echo "$s" | md5sum > /sum.new; mv /sum.new /sum; sleep 0.1; done',
    ];
    const sumIn = (containerd: Containerd, id: string): Promise<string> =>
      waitFor('its digest', async () =>
        (await containerd.exec(id, ['sh', '-c', 'cat /sum 2> /dev/null'])).stdout.toString().trim(),
      );

    siltTest('the annotation has a container run before its memory is there', async () => {
      const id = await host().startContainer(holder);
      const sum = await sumIn(host(), id);
      const checkpoint = await takeCheckpoint(host(), id);
      await host().remove(id);
      const flags = ['--annotation', 'dev.gvisor.internal.restore.background=true'];
      const restored = await restoreContainer(host(), checkpoint, { flags });
      const path = join(host().siltRoot, host().namespace, restored, restored, 'container.json');
      expect(Object.keys(JSON.parse(readFileSync(path, 'utf8')) as object).includes('pager')).toBe(true);
      await host().exec(restored, ['rm', '-f', '/sum']);
      expect(await sumIn(host(), restored)).toBe(sum);
      await host().remove(restored);
    });
  });
}

/** The largest file with contents of memory. */
function pagesOf(directory: string): string {
  const names = readdirSync(directory).filter((name) => /^pages-/.test(name));
  return names.map((name) => join(directory, name)).sort((a, b) => statSync(b).size - statSync(a).size)[0]!;
}

/** Flips a bit of a byte of a file; what is returned flips it back. */
function flipBit(path: string, at: number): () => void {
  const flip = (): void => {
    const fd = openSync(path, 'r+');
    try {
      const byte = Buffer.alloc(1);
      readSync(fd, byte, 0, 1, at);
      byte[0]! ^= 4;
      writeSync(fd, byte, 0, 1, at);
    } finally {
      closeSync(fd);
    }
  };
  flip();
  return flip;
}
