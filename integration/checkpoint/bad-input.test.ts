/** What cannot be saved or restored is refused with a clear error and a stable code; the container runs on, and nothing is left. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createHash } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import {
  checkpointCommandSuite,
  childrenOf,
  type CommandResult,
  findCriu,
  isAlive,
  mustRun,
  readProcess,
  runCommand,
  testIf,
  tooOldCriu,
  waitFor,
} from '../harness';
import {
  encodeFields,
  parseFields,
  readImage,
  type WireField,
  writeImage,
} from '../../sandbox/checkpoint-image/image-file';
import { describeFile, readManifest, writeManifest } from '../../sandbox/checkpoint-image/manifest';

/** Something of each kind that a checkpoint has files for. */
const counter = [
  'sh',
  '-c',
  'echo x > /dev/of-my-own; exec 5> /gone; echo y >&5; rm /gone; i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.02; done',
];

checkpointCommandSuite('bad input', (host) => {
  let bundle: string;
  let image: string;
  const directory = (): string => host().directory;

  beforeAll(async () => {
    bundle = host().bundle(counter);
    image = join(directory(), 'image');
    const id = await startCounter(bundle);
    await host().silt.must(['checkpoint', '--image-path', image, id]);
    await host().silt.must(['delete', id]);
  }, 60_000);

  async function startCounter(from = host().bundle(counter)): Promise<string> {
    const id = host().newId();
    await host().silt.must(['run', '--detach', '--bundle', from, id]);
    await goesOn(id);
    return id;
  }

  const countOf = async (id: string): Promise<number> =>
    Number((await host().silt.must(['exec', id, 'sh', '-c', 'cat /count 2> /dev/null || true'])).trim());

  async function goesOn(id: string): Promise<void> {
    let first: number | undefined;
    await waitFor(`${id} to count`, async () => {
      const count = await countOf(id);
      if (count > 0) first ??= count;
      return first !== undefined && count > first + 2;
    });
  }

  const remove = (id: string): Promise<string> => host().silt.must(['delete', '--force', id]);

  async function refusedRestore(
    from: string,
    changed = bundle,
    { flags = [], ...options }: { flags?: readonly string[]; env?: NodeJS.ProcessEnv } = {},
  ): Promise<string> {
    const id = host().newId();
    const args = ['restore', '--detach', ...flags, '--bundle', changed, '--image-path', from, id];
    const { code, stderr } = await host().silt.run(args, options);
    expect(code).not.toBe(0);
    expect((await host().silt.run(['state', id])).code).not.toBe(0);
    return stderr;
  }

  /** A configuration of its own for one command, with another CRIU. */
  function withCriu(path: string): { env: NodeJS.ProcessEnv } {
    const config = join(directory(), `${basename(path)}.toml`);
    writeFileSync(config, `criu = "${path}"\n`);
    return { env: { ...host().environment, SILT_CONFIG: config } };
  }

  /** A CRIU before which this is run. Where it restores it sees the system's programs and its own directory, so both lie in one. */
  function criuAfter(script: string, name: string): { env: NodeJS.ProcessEnv } {
    const found = findCriu();
    const real = 'path' in found ? realpathSync(found.path) : '';
    const place = join(directory(), 'criu');
    const ofSystem = real.startsWith('/usr/');
    if (ofSystem) mkdirSync(place, { recursive: true });
    else if (!existsSync(place)) cpSync(dirname(real), place, { recursive: true, verbatimSymlinks: true });
    const path = join(place, `criu-${name}`);
    const command = ofSystem ? real : join(place, basename(real));
    writeFileSync(path, `#!/bin/sh\n${script}\nexec ${command} "$@"\n`, { mode: 0o755 });
    return withCriu(path);
  }

  /** A CRIU that something happens to once its log has this text. */
  const accident = (text: string, what: string): { env: NodeJS.ProcessEnv } =>
    criuAfter(onceLogged(text, what), what.replaceAll(/\W/g, ''));

  function copyOfImage(): string {
    const copy = join(directory(), 'copy');
    rmSync(copy, { recursive: true, force: true });
    cpSync(image, copy, { recursive: true });
    return copy;
  }

  describe('a restore', () => {
    test('of no directory, an empty one, and one with something else', async () => {
      const nothing = join(directory(), 'nothing');
      expect(await refusedRestore(nothing)).toMatch(/there is no checkpoint .*nothing \(CHECKPOINT_INVALID\)/);
      mkdirSync(nothing);
      expect(await refusedRestore(nothing)).toMatch(/holds no checkpoint: .*ENOENT \(CHECKPOINT_INVALID\)/);
      writeFileSync(join(nothing, 'letter'), 'dear');
      expect(await refusedRestore(nothing)).toContain('CHECKPOINT_INVALID');
      expect(readdirSync(nothing)).toEqual(['letter']);
    });

    test('of an image in any file of which one bit is another one', async () => {
      const files = readdirSync(image, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ parentPath, name }) => join(parentPath, name).slice(image.length + 1));
      for (const wanted of ['checkpoint.json', 'deleted.tar', 'pages-1.img', 'tmpfs-0.tar', 'upper.tar'])
        expect(files).toContain(wanted);
      for (const file of files) {
        const copy = copyOfImage();
        const bytes = readFileSync(join(copy, file));
        bytes[bytes.length >> 1]! ^= 4;
        writeFileSync(join(copy, file), bytes);
        const stderr = await refusedRestore(copy);
        expect(stderr).toContain(file);
        expect(stderr).toMatch(/is damaged.*\(CHECKPOINT_INVALID\)/);
      }
    }, 120_000);

    test('of one that is cut short, lacks a file, or has one too many', async () => {
      const copy = copyOfImage();
      truncateSync(join(copy, 'core-1.img'), 100);
      expect(await refusedRestore(copy)).toMatch(/damaged: core-1.img has 100 bytes, not \d+ \(CHECKPOINT_INV/);
      rmSync(join(copy, 'core-1.img'));
      expect(await refusedRestore(copy)).toMatch(/incomplete: core-1.img is missing \(CHECKPOINT_INVALID\)/);
      const other = copyOfImage();
      writeFileSync(join(other, 'fs-7.img'), '');
      expect(await refusedRestore(other)).toMatch(/does not list: fs-7.img; remove them \(CHECKPOINT_INVALID\)/);
    });

    test('of a newer format says which silt can', async () => {
      const copy = copyOfImage();
      const path = join(copy, 'checkpoint.json');
      const body = readFileSync(path, 'utf8')
        .split('\n')
        .slice(0, -2)
        .join('\n')
        .replace('"version": 3', '"version": 99');
      writeFileSync(path, `${body}\n${createHash('sha256').update(body).digest('hex')}\n`);
      expect(await refusedRestore(copy)).toMatch(/is of format 99, and this silt knows 3; .* \(CHECKPOINT_INVALID\)/);
    });

    test('into other mounts, with the list of what is missing, different and new', async () => {
      const config = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as { mounts: object[] };
      const mounts = [
        ...config.mounts.slice(0, 2),
        { destination: '/data', type: 'tmpfs', source: 'tmpfs' },
        { destination: '/new', type: 'bind', source: '/usr', options: ['rbind', 'ro'] },
      ];
      const other = host().bundle(counter);
      writeFileSync(join(other, 'config.json'), JSON.stringify({ ...config, mounts }));
      expect(await refusedRestore(image, other)).toMatch(
        /missing: \/dev\/pts; not in the checkpoint: \/data, \/new \(CHECKPOINT_INVALID\)/,
      );
    });

    test('into less rights than its processes have', async () => {
      const config = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as { process: object };
      const other = host().bundle(counter);
      const process = { ...config.process, noNewPrivileges: true, user: { uid: 7, gid: 7 }, capabilities: {} };
      writeFileSync(join(other, 'config.json'), JSON.stringify({ ...config, process }));
      expect(await refusedRestore(image, other)).toMatch(
        /with rights that the one to be restored is not given: .*user\.uid \(saved 0, given 7\), .*noNewPrivileges .* \(CHECKPOINT_INVALID\)/,
      );
    });

    test('of an image whose threads were given more than its manifest says', async () => {
      const copy = copyOfImage();
      const path = join(copy, 'core-1.img');
      const { magic, entries } = readImage(path);
      // CredsEntry's cap_bnd and cap_prm: all of them.
      const everything = [...Array.from({ length: 2 }, () => word(12)), ...Array.from({ length: 2 }, () => word(10))];
      const core = within(parseFields(entries[0]!), 5, (thread) =>
        within(thread, 10, (creds) => [...creds.filter(({ number }) => number !== 12 && number !== 10), ...everything]),
      );
      writeImage(path, { magic, entries: [encodeFields(core), ...entries.slice(1)] });
      const manifest = readManifest(copy);
      const files = await Promise.all(manifest.files.map((file) => describeFile(copy, file.path)));
      await writeManifest(copy, { ...manifest, files });
      expect(await refusedRestore(copy)).toMatch(
        /holds threads with rights that the one to be restored is not given: core-1.img: bounding CAP_DAC_OVERRIDE .*CAP_SYS_ADMIN.*core-1.img: permitted .*\(CHECKPOINT_INVALID\)/,
      );
    });

    test('into the host’s mount namespace, and a checkpoint of what is in there', async () => {
      const config = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as {
        linux: { namespaces: { type: string }[] };
      };
      const namespaces = config.linux.namespaces.filter(({ type }) => type !== 'mount');
      const other = host().bundle(counter);
      writeFileSync(join(other, 'config.json'), JSON.stringify({ ...config, linux: { ...config.linux, namespaces } }));
      expect(await refusedRestore(image, other)).toMatch(
        /a mount namespace that is not the container’s own .*\(UNIMPLEMENTED\)/,
      );
      const id = host().newId();
      await host().silt.must(['run', '--detach', '--bundle', other, id]);
      const { code, stderr } = await host().silt.run([
        'checkpoint',
        '--image-path',
        join(directory(), `${id}.img`),
        id,
      ]);
      expect(code).not.toBe(0);
      expect(stderr).toMatch(/it has no mount namespace of its own.*\(CHECKPOINT_FAILED\)/);
      await remove(id);
    });

    test('of a name that is taken: what has it runs on', async () => {
      const id = await startCounter();
      const args = ['restore', '--detach', '--bundle', bundle, '--image-path', image, id];
      const { code, stderr } = await host().silt.run(args);
      expect(code).not.toBe(0);
      expect(stderr).toMatch(/there is a container of that name, and it is running; delete it first \(WRONG_STATE\)/);
      await goesOn(id);
      await remove(id);
    });

    test('whose CRIU is killed in the middle', async () => {
      const script = join(directory(), 'kill-criu');
      writeFileSync(script, KILL_CRIU, { mode: 0o755 });
      const hooked = host().bundle(counter, { hooks: { createRuntime: [{ path: script }] } });
      const stderr = await refusedRestore(image, hooked);
      expect(stderr).toMatch(/CRIU ended by signal 9 in the middle of its work/);
      const log = /CRIU's log is (\S+) \(CHECKPOINT_FAILED\)/.exec(stderr)?.[1];
      expect(readFileSync(String(log), 'utf8')).toContain('Running setup-namespaces');
      expect(log).toContain(join(directory(), 'host/criu-logs'));
    });

    test.each([
      ['fails', '', /silt's processes were killed before they were done/],
      ['is killed', onceLogged('Running setup-namespaces', 'kill -9 $$'), /CRIU ended by signal 9 in the middle/],
    ])('whose gofer is killed before it has seen the first process, and whose CRIU %s', async (how, watch, error) => {
      const name = how.replaceAll(' ', '-');
      const go = 'i=0; until [ -e /run/go ] || [ $((i += 1)) -gt 250 ]; do sleep 0.1; done';
      const restored = refusedRestore(image, bundle, criuAfter(`${watch}\n${go}`, name));
      restored.catch(() => undefined);
      const criu = await waitFor('CRIU', () => runningScript(join(directory(), `criu/criu-${name}`)));
      const { parent: silt } = readProcess(criu)!;
      // Neither CRIU, the holder nor the sandbox is in silt's session.
      const gofer = await waitFor('the gofer', () =>
        childrenOf(silt).find((pid) => fileOf(pid, 'cmdline').startsWith('silt-interp') && sessionOf(pid) !== pid),
      );
      const end = (): void => void process.kill(gofer, 'SIGKILL');
      if (watch === '') end();
      else process.kill(gofer, 'SIGSTOP');
      writeFileSync(`/proc/${criu}/root/run/go`, '');
      if (watch !== '') {
        await waitFor('the end of CRIU', () => !isAlive(criu));
        end();
      }
      expect(await restored).toMatch(error);
    });

    test('whose pager is killed while a hook runs: the hook ends, too', async () => {
      const script = join(directory(), 'kill-pager');
      const said = join(directory(), 'hook');
      writeFileSync(script, killPager(said), { mode: 0o755 });
      const hooked = host().bundle(counter, { hooks: { createRuntime: [{ path: script }] } });
      const stderr = await refusedRestore(image, hooked, { flags: ['--background'] });
      expect(stderr).toMatch(/the pager, .*, was killed/);
      const [hook, sleeper] = readFileSync(said, 'utf8').trim().split('\n');
      await waitFor('the hook to end', () => Promise.resolve(!existsSync(`/proc/${hook}`)), { timeoutMs: 5000 });
      await waitFor('what it started', () => Promise.resolve(!existsSync(`/proc/${sleeper}`)), { timeoutMs: 5000 });
    });
  });

  describe('a checkpoint', () => {
    let id: string;
    const target = (): string => join(directory(), 'target/one');

    beforeAll(async () => {
      id = await startCounter();
    }, 60_000);

    afterAll(() => remove(id));

    async function refused(args: readonly string[], options: { env?: NodeJS.ProcessEnv } = {}): Promise<string> {
      const result = await host().silt.run(['checkpoint', '--image-path', target(), ...args], options);
      return theErrorOf(result);
    }

    async function theErrorOf({ code, stderr }: CommandResult, of = id): Promise<string> {
      expect(code).not.toBe(0);
      expect(existsSync(target())).toBe(false);
      expect(existsSync(join(target(), '..')) ? readdirSync(join(target(), '..')) : []).toEqual([]);
      await goesOn(of);
      return stderr;
    }

    test('to a directory that holds one already leaves it as it is', async () => {
      const before = readdirSync(image, { recursive: true }).sort();
      const { code, stderr } = await host().silt.run(['checkpoint', '--image-path', image, id]);
      expect(code).not.toBe(0);
      expect(stderr).toMatch(/it is not empty; choose another directory or remove it \(CHECKPOINT_EXISTS\)/);
      expect(readdirSync(image, { recursive: true }).sort()).toEqual(before);
      await goesOn(id);
    });

    test.each(['100k', '700k', '4m'])(
      'to a disk of %s, which becomes full in the middle',
      async (size) => {
        const small = join(directory(), 'small');
        mkdirSync(small, { recursive: true });
        await host().silt.must(['exec', id, 'sh', '-c', 'cat /bin/busybox > /one; cat /one /one /one /one > /many']);
        // In a mount namespace of its own: nobody else sees the disk.
        const script = 'mount -t tmpfs -o size=$1 small $2; cd $2; shift 2; "$@"; status=$?; ls -A; exit $status';
        const words = host().silt.words(['checkpoint', '--image-path', join(small, 'image'), id]);
        const result = await runCommand(['unshare', '--mount', 'sh', '-c', script, 'sh', size, small, ...words], {
          env: host().environment,
          timeoutMs: 30_000,
        });
        expect(result.stdout.toString()).toBe('');
        expect(await theErrorOf(result)).toMatch(/\(NO_SPACE\)/);
      },
      60_000,
    );

    test('without CRIU', async () => {
      const stderr = await refused([id], withCriu('/nowhere/criu'));
      expect(stderr).toMatch(/need CRIU 4.1 or later, and \/nowhere\/criu is no executable file \(CRIU_UNUSABLE\)/);
    });

    const old = tooOldCriu();
    ('path' in old ? test : test.skip)(
      `with a CRIU that is too old${'path' in old ? '' : ` [skipped: ${old.reason}]`}`,
      async () => {
        const { path, version } = old as { path: string; version: string };
        const stderr = await refused([id], withCriu(path));
        expect(stderr).toContain(`need CRIU 4.1 or later; ${path} is ${version} (CRIU_UNUSABLE)`);
      },
    );

    test('with something that is no CRIU', async () => {
      expect(await refused([id], withCriu('/bin/true'))).toMatch(/cannot execute .*true: .* \(CRIU_UNUSABLE\)/);
    });

    test('whose CRIU is killed in the middle', async () => {
      const stderr = await refused([id], accident('Running post-dump', 'kill -9 $$'));
      expect(stderr).toMatch(
        /CRIU ended by signal 9 in the middle of its work; CRIU's log is \S+ \(CHECKPOINT_FAILED\)/,
      );
    });

    testIf(/\bcpuid_fault\b/.test(readFileSync('/proc/cpuinfo', 'utf8')), 'needs a CPU with CPUID faulting')(
      'whose CRIU is killed leaves programs with the CPU features that they were shown',
      async () => {
        const features = 'dev.gvisor.internal.cpufeatures';
        const other = await startCounter(host().bundle(counter, { annotations: { [features]: 'fpu,sse,sse2' } }));
        const { pid } = JSON.parse(await host().silt.must(['state', other])) as { pid: number };
        const args = ['checkpoint', '--image-path', target(), other];
        const result = await host().silt.run(args, accident('Running post-dump', 'kill -9 $$'));
        expect(await theErrorOf(result, other)).toContain('CRIU ended by signal 9');
        const tracer = /^TracerPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]!;
        expect(readFileSync(`/proc/${tracer}/comm`, 'utf8').trim()).toBe('silt-cpuid');
        const shown = await host().silt.must(['exec', other, 'grep', '-m1', '^flags', '/proc/cpuinfo']);
        expect(shown.trim().split(/\s+/).slice(2)).toEqual(['fpu', 'sse', 'sse2']);
        await remove(other);
      },
      60_000,
    );

    test.each(['TERM', 'INT'])('that is given up by SIG%s in the middle', async (signal) => {
      await refused(['--leave-running', id], accident('Dumping task', `kill -${signal} $PPID`));
    });

    test('whose process is killed in the middle: the container runs on, and the next one is as good as any', async () => {
      const { code } = await host().silt.run(
        ['checkpoint', '--image-path', target(), id],
        accident('Dumping task', 'kill -KILL $PPID'),
      );
      expect(code).not.toBe(0);
      expect(existsSync(target())).toBe(false);
      await goesOn(id);
      await host().silt.must(['checkpoint', '--leave-running', '--image-path', target(), id]);
      expect(readdirSync(join(target(), '..'))).toEqual(['one']);
      rmSync(target(), { recursive: true });
    });

    test('of a process that CRIU cannot dump says which, and what CRIU said', async () => {
      const source = join(directory(), 'connected.c');
      writeFileSync(source, CONNECTED);
      await mustRun(['gcc', '-static', '-O1', source, '-o', join(host().rootfs, 'bin/connected')]);
      const other = host().newId();
      const both = ['sh', '-c', `connected & ${counter[2]}`];
      await host().silt.must(['run', '--detach', '--bundle', host().bundle(both), other]);
      await waitFor(
        'the connection',
        async () => (await host().silt.run(['exec', other, 'ls', '/connected'])).code === 0,
      );
      const work = join(directory(), 'work');
      const result = await host().silt.run(['checkpoint', '--image-path', target(), '--work-path', work, other]);
      const stderr = await theErrorOf(result, other);
      expect(stderr).toMatch(
        /CRIU cannot save process \d+ \(connected\): inet: Connected TCP socket, consider using --tcp-established option/,
      );
      expect(stderr).toContain(`; CRIU's log is ${join(work, 'dump.log')} (CHECKPOINT_FAILED)`);
      expect(readFileSync(join(work, 'dump.log'), 'utf8')).toContain('Connected TCP socket');
      await remove(other);
    });

    test('of a container that has stopped, or was never started', async () => {
      const ended = host().newId();
      await host().silt.must(['run', '--detach', '--bundle', host().bundle(['true']), ended]);
      await waitFor('its end', async () => (await host().silt.status(ended)) === 'stopped');
      expect(await refused([ended])).toMatch(/cannot checkpoint container \w+: container not running \(WRONG_STATE\)/);
      await host().silt.must(['delete', ended]);
      const created = host().newId();
      await host().silt.must(['create', '--bundle', host().sleeper(), created]);
      expect(await refused([created])).toContain('(WRONG_STATE)');
      expect(await host().silt.status(created)).toBe('created');
      await remove(created);
    });

    test('of a container that is paused ends it, and one that fails leaves it paused', async () => {
      const other = await startCounter();
      await host().silt.must(['pause', other]);
      const { code } = await host().silt.run(
        ['checkpoint', '--image-path', target(), other],
        accident('Running post-dump', 'kill -9 $$ #'),
      );
      expect(code).not.toBe(0);
      expect(await host().silt.status(other)).toBe('paused');
      await host().silt.must(['checkpoint', '--image-path', target(), other]);
      expect(await host().silt.status(other)).toBe('stopped');
      await remove(other);
      const later = host().newId();
      await host().silt.must(['restore', '--detach', '--bundle', bundle, '--image-path', target(), later]);
      await goesOn(later);
      await remove(later);
      rmSync(target(), { recursive: true });
    });
  });
});

/** Shell that has something happen to a CRIU that it goes on as. */
function onceLogged(text: string, what: string): string {
  // Nobody's child: CRIU waits for any of its own, and would take the end of this for that of a process it has stopped.
  return `((until grep -q '${text}' /run/log; do kill -0 $$ || exit; done; ${what}) 3<&- 4<&- &)`;
}

/** The process that a shell runs this script in. */
function runningScript(path: string): number | undefined {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map(Number).find((pid) => fileOf(pid, 'cmdline').split('\0')[1] === path);
}

const sessionOf = (pid: number): number => Number(fileOf(pid, 'stat').replace(/.*\) /, '').split(' ')[3]);

/** Empty when the process is gone. */
function fileOf(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1');
  } catch {
    return '';
  }
}

const word = (number: number): WireField => ({ number, wireType: 0, value: 0xffffffffn });

/** With another content of the message of that number. */
function within(
  fields: readonly WireField[],
  number: number,
  change: (fields: readonly WireField[]) => readonly WireField[],
): WireField[] {
  return fields.map((field) =>
    field.number === number ? { ...field, value: encodeFields(change(parseFields(field.value as Buffer))) } : field,
  );
}

/** A hook that kills the CRIU that restores its container: what is in its cgroup by that name and is not the first process. */
const KILL_CRIU = String.raw`#!/bin/sh
pid=$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')
cgroup=$(sed -n 's/^[0-9]*:freezer://p; s/^0:://p' /proc/$pid/cgroup | sed -n 1p)
for p in $(cat /sys/fs/cgroup/freezer$cgroup/cgroup.procs /sys/fs/cgroup$cgroup/cgroup.procs 2> /dev/null); do
  [ $p != $pid ] && grep -q 'criu: restore' /proc/$p/cmdline && kill -9 $p
done
exit 0
`;

/** A hook that kills the pager of its container, the child of a child of silt, and goes on, with a child of its own. It writes who they are. */
const killPager = (said: string): string => String.raw`#!/bin/sh
sleep 60 &
printf '%s\n' $$ $! > ${said}
for keeper in $(cat /proc/$PPID/task/*/children); do
  [ "$(cat /proc/$keeper/comm)" = silt-keeper ] && kill -9 $(cat /proc/$keeper/task/*/children)
done
wait
`;

/** Holds a TCP connection with itself. */
const CONNECTED = `
#include <arpa/inet.h>
#include <fcntl.h>
#include <unistd.h>
int main(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9000)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(server, (void *)&to, sizeof to) || listen(server, 1) || connect(client, (void *)&to, sizeof to)) return 1;
  accept(server, 0, 0);
  close(open("/connected", O_CREAT | O_WRONLY, 0600));
  for (;;) pause();
}
`;
