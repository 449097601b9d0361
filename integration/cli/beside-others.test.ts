/** What commands print and how they end, beside runc and, where it runs, gVisor's runsc. docs/compatibility.md has the differences. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { commandLineSuite, mustRun, runCommand, Runtime, waitFor } from '../harness';
import { findRunscs } from '../harness/runsc';

type Json = Record<string, unknown>;

/** What is in a document, without the values: `data.pids.current`, `[].id`. */
function fieldsOf(value: unknown, at = ''): string[] {
  if (Array.isArray(value)) return value.length === 0 ? [`${at}[]`] : fieldsOf(value[0], `${at}[]`);
  if (typeof value !== 'object' || value === null) return [at];
  return Object.entries(value).flatMap(([key, one]) => fieldsOf(one, at === '' ? key : `${at}.${key}`));
}

const CODES: readonly (readonly [string, (id: string) => string[], number])[] = [
  ['state of one that is not there', () => ['state', 'nobody'], 1],
  ['kill of one that is not there', () => ['kill', 'nobody', '9'], 1],
  ['delete of one that is not there', () => ['delete', 'nobody'], 1],
  ['delete by force of one that is not there', () => ['delete', '--force', 'nobody'], 0],
  ['start of one that is not there', () => ['start', 'nobody'], 1],
  ['pause of one that is not there', () => ['pause', 'nobody'], 1],
  ['update of one that is not there', () => ['update', '--pids-limit', '7', 'nobody'], 1],
  ['events of one that is not there', () => ['events', '--stats', 'nobody'], 1],
  ['ps of one that is not there', () => ['ps', 'nobody'], 1],
  ['exec in one that is not there', () => ['exec', 'nobody', 'true'], 255],
  ['state without an id', () => ['state'], 1],
  ['delete of one that runs', (id) => ['delete', id], 1],
  ['start of one that runs', (id) => ['start', id], 1],
  ['create of one that is there', (id) => ['create', '--bundle', '/nowhere', id], 1],
  ['run without a bundle', () => ['run', '--bundle', '/nowhere', 'other'], 1],
  ['kill with no signal', (id) => ['kill', id, 'NOSUCH'], 1],
  ['a signal that does nothing', (id) => ['kill', id, 'WINCH'], 0],
  ['exec of a program that is not there', (id) => ['exec', id, '/no/such/program'], 255],
  ['exec of a directory', (id) => ['exec', id, '/proc'], 255],
  ['exec of what is not executable', (id) => ['exec', id, '/etc/passwd'], 255],
  ['exec that fails', (id) => ['exec', id, 'sh', '-c', 'exit 126'], 126],
  ['exec of a shell that finds nothing', (id) => ['exec', id, 'sh', '-c', 'no-such-program'], 127],
  ['exec that is ended by a signal', (id) => ['exec', id, 'sh', '-c', 'kill -9 $$'], 137],
  ['exec without a program', (id) => ['exec', id], 255],
  ['exec in a directory that is not there', (id) => ['exec', '--cwd', '/no/such', id, 'true'], 255],
  ['list in a format that is none', () => ['list', '--format', 'nosuch'], 1],
  ['help', () => ['--help'], 0],
  ['help of a command', () => ['exec', '--help'], 0],
];

commandLineSuite('beside other runtimes', (host) => {
  const both = (): readonly Runtime[] => [host().silt, host().runc];
  const started = async (runtime: Runtime): Promise<string> => {
    const id = host().newId();
    await runtime.must(['run', '--detach', '--bundle', host().sleeper({ annotations: { a: 'b' } }), id]);
    return id;
  };
  const json = async (runtime: Runtime, ...words: string[]): Promise<unknown> =>
    JSON.parse(await runtime.must(words)) as unknown;

  test('exit statuses are runc’s', async () => {
    for (const runtime of both()) {
      const id = await started(runtime);
      const found: [string, number][] = [];
      for (const [what, words] of CODES) found.push([what, (await runtime.run(words(id))).code]);
      expect(found).toEqual(CODES.map(([what, , code]) => [what, code]));
      await runtime.must(['kill', id, 'KILL']);
      await waitFor('its end', async () => (await runtime.status(id)) === 'stopped');
      const codes: number[] = [];
      for (const words of [
        ['kill', id, 'TERM'],
        ['exec', id, 'true'],
        ['start', id],
        ['pause', id],
        ['delete', id],
      ])
        // prettier-ignore
        codes.push((await runtime.run(words)).code);
      expect(codes).toEqual([1, 255, 1, 1, 0]);
    }
  }, 120_000);

  test('run ends as its program does, by a signal with 128 and its number', async () => {
    for (const runtime of both()) {
      const codes: number[] = [];
      for (const script of ['exit 0', 'exit 126', 'no-such-program']) {
        const bundle = host().bundle(['sh', '-c', script]);
        codes.push((await runtime.run(['run', '--bundle', bundle, host().newId()])).code);
      }
      const id = host().newId();
      const running = runtime.start(['run', '--bundle', host().sleeper(), id]);
      await waitFor('it to run', async () => /"running"/.test((await runtime.run(['state', id])).stdout.toString()));
      await runtime.must(['kill', id, 'KILL']);
      codes.push((await running.ended).code);
      expect(codes).toEqual([0, 126, 127, 137]);
    }
  }, 60_000);

  test('documents have runc’s fields, and values where these are no matter of the moment', async () => {
    const documents: Json[] = [];
    for (const runtime of both()) {
      const id = await started(runtime);
      const [state, list, ps, events] = [
        await json(runtime, 'state', id),
        await json(runtime, 'list', '-f', 'json'),
        await json(runtime, 'ps', '-f', 'json', id),
        await json(runtime, 'events', '--stats', id),
      ] as [Json, Json[], number[], Json];
      expect(ps).toEqual([state['pid']]);
      expect([state['id'], state['status'], state['annotations']]).toEqual([id, 'running', { a: 'b' }]);
      expect(state['created']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/);
      documents.push({ state: fieldsOf(state), list: fieldsOf(list), owner: list[0]!['owner'], events });
      expect((await runtime.must(['list'])).split('\n')[0]!.split(/\s+/)).toEqual(['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER']); // prettier-ignore
      expect(await runtime.must(['list', '-q'])).toBe(`${id}\n`);
      await runtime.must(['delete', '--force', id]);
    }
    const [ofSilt, ofRunc] = documents as [Json, Json];
    expect([ofSilt['state'], ofSilt['list'], ofSilt['owner']]).toEqual([ofRunc['state'], ofRunc['list'], ofRunc['owner']]); // prettier-ignore
    const [silts, runcs] = [fieldsOf(ofSilt['events']), fieldsOf(ofRunc['events'])];
    // What docs/compatibility.md says that silt's statistics do not have.
    const without = /^data\.(cpuset\.|cpu\.usage\.percpu_(kernel|user)|memory\.raw\.(total_)?(shmem|swap|swapcached|workingset_refault_\w+)$)/; // prettier-ignore
    expect(runcs.filter((field) => !without.test(field) && !silts.includes(field))).toEqual([]);
  });

  test('features announces what runc does, but for what is refused', async () => {
    const { code } = await host().runc.run(['features']);
    expect(code).toBe(0);
    const [silts, runcs] = (await Promise.all(both().map((runtime) => json(runtime, 'features')))) as [Json, Json];
    const lists = (value: unknown, at = ''): [string, string][] => {
      if (Array.isArray(value)) return value.map((one) => [at, String(one)]);
      if (typeof value !== 'object' || value === null) return [];
      return Object.entries(value).flatMap(([key, one]) => (key === 'annotations' ? [] : lists(one, `${at}.${key}`)));
    };
    const own = lists(silts).map((one) => one.join(' '));
    // Of foreign machines silt's filters know nothing.
    const foreign = /archs SCMP_ARCH_(MIPS|PPC|S390|RISCV|PARISC|ARM|X86|AARCH|X32)/;
    expect(lists(runcs).map((one) => one.join(' ')).filter((one) => !own.includes(one) && !foreign.test(one))).toEqual([]); // prettier-ignore
    const fields = (one: Json): string[] => fieldsOf(one).filter((field) => !field.startsWith('annotations.'));
    expect(fields(runcs).filter((field) => !fields(silts).includes(field))).toEqual([]);
  });

  test('--version has runc’s lines', async () => {
    for (const { program } of both()) {
      const { stdout } = await runCommand([program, '--version']);
      const name = program.replace(/^.*\//, '');
      expect(stdout.toString()).toMatch(new RegExp(`^${name} version \\S+\ncommit: \\S+\nspec: \\d+\\.\\d+\\.\\d+`));
      expect((await runCommand([program, '-v'])).stdout.toString()).toBe(stdout.toString());
    }
  });

  test('each table is there as JSON', async () => {
    const { silt } = host();
    expect(await json(silt, 'ps', '--json')).toEqual([]);
    const id = await started(silt);
    expect(await json(silt, 'list', '--json')).toEqual(await json(silt, 'list', '--format', 'json'));
    expect(await json(silt, 'ps', '--json', id)).toEqual(await json(silt, 'ps', '--format', 'json', id));
    expect(await json(silt, 'ps', '--json')).toEqual([
      { id, status: 'running', sandbox: false, podId: id, name: '', pod: '', namespace: '' },
    ]);
    const findings = (await json(silt, 'check', '--json')) as Json[];
    expect(findings.map((one) => Object.keys(one).sort().slice(0, 1))).not.toEqual([]);
    expect(await json(silt, 'cpu-features', '--json')).toContain('fpu');
    const program = await json(silt, 'program', '--json', host().bundle(['true']));
    expect(JSON.stringify(program)).toContain('execve');
    await silt.must(['delete', '--force', id]);
  });

  test('--no-new-keyring leaves the session keyring the caller’s, and without it there is a new one', async () => {
    const source = join(host().directory, 'keyring.c');
    // keyctl(2): KEYCTL_GET_KEYRING_ID of KEY_SPEC_SESSION_KEYRING.
    writeFileSync(source, '#include <stdio.h>\n#include <sys/syscall.h>\n#include <unistd.h>\nint main(void) { printf("%ld\\n", syscall(SYS_keyctl, 0, -3, 0)); return 0; }\n'); // prettier-ignore
    const prober = join(host().rootfs, 'bin/keyring');
    await mustRun(['gcc', '-static', '-o', prober, source]);
    const callers = (await mustRun([prober])).stdout.toString();
    // The baseline filter knows no keyctl.
    const config = join(host().directory, 'keyring.toml');
    writeFileSync(config, 'userns = "none"\nbaseline = "none"\n');
    const env = { ...host().environment, SILT_CONFIG: config };
    for (const runtime of both()) {
      const run = (...flags: string[]): Promise<string> =>
        runtime.must(['run', ...flags, '--bundle', host().bundle(['keyring']), host().newId()], { env });
      expect(await run('--no-new-keyring')).toBe(callers);
      const own = await run();
      expect(own).toMatch(/^\d+\n$/);
      expect(own).not.toBe(callers);
    }
  });

  test('--no-pivot is taken', async () => {
    for (const runtime of both()) {
      const bundle = host().bundle(['echo', 'here']);
      expect(await runtime.must(['run', '--no-pivot', '--bundle', bundle, host().newId()])).toBe('here\n');
    }
  });

  const runscs = findRunscs();
  const declare = runscs.length > 0 ? test : test.skip;
  declare(
    `fields of runsc’s documents${runscs.length > 0 ? '' : ' [skipped: there is no runsc]'}`,
    async () => {
      const wrapper = join(host().directory, 'runsc');
      const flags = '--platform=systrap --network=none --ignore-cgroups';
      writeFileSync(wrapper, `#!/bin/sh\nexec ${runscs.at(-1)!.path} ${flags} "$@"\n`, { mode: 0o755 });
      const runsc = new Runtime(wrapper, join(host().directory, 'runsc-state'), host().environment);
      const found: Record<string, string[][]> = {};
      for (const runtime of [runsc, host().silt]) {
        const id = host().newId();
        const bundle = host().sleeper();
        const { code, stderr } = await runtime.run(['run', '--detach', '--bundle', bundle, id]);
        // It is somebody else's, and does not run on every machine.
        if (runtime === runsc && code !== 0) {
          console.warn(`skipped: runsc does not run here: ${stderr}`);
          return;
        }
        for (const words of [
          ['state', id],
          ['list', '--format', 'json'],
          ['ps', '--format', 'json', id],
          ['events', '--stats', id],
        ])
          // prettier-ignore
          (found[words[0]!] ??= []).push(fieldsOf(await json(runtime, ...words)));
        await runtime.must(['delete', '--force', id]);
      }
      for (const [command, [runscs_, silts]] of Object.entries(found)) {
        const missing = runscs_!.filter(
          (field) => !silts!.includes(field) && !field.startsWith('data.network_interfaces'),
        );
        expect([command, missing]).toEqual([command, []]);
      }
    },
    60_000,
  );
});
