/** Commands of silt's that are about the host, typed by somebody without an engine. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommand, siltProgram, startCommand, type CommandResult } from '../harness';
import { takeInventory, waitForNoLeaks, type Inventory } from '../harness/leak-check';

const system = (process.env['SILT_TEST_PEER'] ?? 'system') === 'system';
const once = system ? describe : describe.skip;

once(`host commands${system ? '' : ' [skipped: they do not depend on containerd]'}`, () => {
  // Made below: a suite that is skipped makes nothing.
  const directory = join(tmpdir(), `silt-host-${process.pid}`);
  const env = { ...process.env, SILT_ROOT: join(directory, 'silt'), SILT_CONFIG: join(directory, 'silt.toml') };
  const owner = {
    directory,
    namespace: directory,
    except: () => [],
    fileRoots: [{ path: env.SILT_ROOT, depth: 6 }],
    keptDirectories: [join(env.SILT_ROOT, 'cache')],
  };
  let before: Inventory;
  beforeAll(() => {
    // The pool of id ranges is made once, by the first container, and stays.
    mkdirSync(join(env.SILT_ROOT, 'id-ranges'), { recursive: true });
    before = takeInventory(owner);
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const silt = (...args: string[]): Promise<CommandResult> =>
    runCommand([siltProgram, ...args], { env, cwd: directory });

  describe('do', () => {
    test('runs a command on the host’s files, and throws away what it writes to them', async () => {
      writeFileSync(join(directory, 'there'), 'from the host\n');
      const script = 'pwd; cat there; echo changed > there; cat there; exit 7';
      const { code, stdout, stderr } = await silt('do', '--', 'sh', '-c', script);
      expect([code, stderr, stdout.toString()]).toEqual([7, '', `${directory}\nfrom the host\nchanged\n`]);
      expect(readFileSync(join(directory, 'there'), 'utf8')).toBe('from the host\n');
    });

    test('writes to volumes', async () => {
      const volume = join(directory, 'volume');
      mkdirSync(volume);
      expect(await silt('do', `--volume=${volume}:/mnt`, 'sh', '-c', 'echo kept > /mnt/file')).toMatchObject({
        code: 0,
      });
      expect(readFileSync(join(volume, 'file'), 'utf8')).toBe('kept\n');
    });

    test('has no network but the host’s when asked for', async () => {
      const interfaces = async (...flags: string[]): Promise<string> =>
        (await silt(...flags, 'do', 'cat', '/proc/net/dev')).stdout
          .toString()
          .match(/^ *\w+(?=:)/gm)!
          .join(' ');
      expect((await interfaces()).trim()).toBe('lo');
      expect(await interfaces('--network=host')).toBe(
        readFileSync('/proc/net/dev', 'utf8')
          .match(/^ *\w+(?=:)/gm)!
          .join(' '),
      );
    });

    test('passes signals on, and ends as the command does', async () => {
      const command = startCommand(
        [siltProgram, 'do', 'sh', '-c', 'trap "exit 5" TERM; echo ready; while :; do sleep 0.1; done'],
        {
          env,
          cwd: directory,
        },
      );
      await command.waitForOutput(/ready/, { timeoutMs: 20_000 });
      expect(await command.stop('SIGTERM')).toMatchObject({ code: 5 });
    });

    test('of a command that is not there is an error', async () => {
      const { code, stderr } = await silt('do', 'no-such-command');
      expect(code).toBe(1);
      expect(stderr).toMatch(/^silt: .*no-such-command.*\(EXEC_NOT_FOUND\)\n$/);
    });
  });

  test('spec writes what runc does, but for what docs/compatibility.md lists', async () => {
    type Json = Record<string, unknown>;
    const written = async (name: string, argv: string[]): Promise<{ text: string; spec: Json }> => {
      const bundle = join(directory, name);
      mkdirSync(bundle);
      const { code, stderr } = await runCommand([...argv, 'spec', '--bundle', bundle], { env });
      expect([code, stderr]).toEqual([0, '']);
      const text = readFileSync(join(bundle, 'config.json'), 'utf8');
      return { text, spec: JSON.parse(text) as Json };
    };
    const ours = await written('ours', [siltProgram]);
    const runcs = await written('runcs', ['runc']);
    expect(ours.text.slice(0, 3)).toBe(runcs.text.slice(0, 3));
    // Newer runcs write no ambient capabilities either.
    const { capabilities, ...process_ } = runcs.spec['process'] as { capabilities: Json };
    const { ambient, ...others } = capabilities;
    expect(ambient === undefined || Array.isArray(ambient)).toBe(true);
    const process = { ...process_, capabilities: others };
    expect(ours.spec).toEqual({ ...runcs.spec, ociVersion: '1.3.0', hostname: 'silt', process });
    const again = await silt('spec', '--bundle', join(directory, 'ours'));
    expect([again.code, again.stderr]).toEqual([
      1,
      `silt: cannot write ${join(directory, 'ours', 'config.json')}: it exists; remove it first (REQUEST_INVALID)\n`,
    ]);
  });

  test('an error is in the log as engines look for it', async () => {
    const log = join(directory, 'log.json');
    const { code } = await silt('--log', log, '--log-format=json', '-platform', 'kvm', 'start', 'nobody');
    expect(code).toBe(1);
    const lines = readFileSync(log, 'utf8').trim().split('\n');
    expect(lines.map((line) => JSON.parse(line) as object)).toEqual([
      {
        level: 'error',
        msg: expect.stringContaining('container nobody does not exist') as string,
        time: expect.stringMatching(/^\d{4}-.*(Z|\d\d)$/) as string,
      },
    ]);
  });

  test('check answers for this host, as a table and as JSON', async () => {
    const found = JSON.parse((await silt('check', '--json')).stdout.toString()) as {
      feature: string;
      status: string;
    }[];
    expect(found).toEqual(expect.arrayContaining([expect.objectContaining({ feature: 'kernel', status: 'ok' })]));
    const table = await silt('check');
    expect(table.code).toBe(0);
    expect(table.stdout.toString()).toMatch(/^FEATURE +STATUS +FOUND\nkernel +ok +Linux /);
  });

  test('cpu-features are those that /proc/cpuinfo lists for all processors, with commas and as JSON', async () => {
    const processors = [...readFileSync('/proc/cpuinfo', 'utf8').matchAll(/^(?:flags|Features)\s*:(.*)$/gm)].map(
      ([, names]) => names!.trim().split(/\s+/),
    );
    expect(processors.length).toBeGreaterThan(0);
    const common = processors[0]!.filter((name) => processors.every((names) => names.includes(name)));
    const [plain, json] = [await silt('cpu-features'), await silt('cpu-features', '--json')];
    expect([plain.code, plain.stdout.toString()]).toEqual([0, `${common.join(',')}\n`]);
    expect(JSON.parse(json.stdout.toString())).toEqual(common);
  });

  test('install and uninstall leave a file as it was', async () => {
    const config = join(directory, 'daemon.json');
    writeFileSync(config, '{\n  "debug": true\n}\n');
    const flags = [`--docker-config=${config}`];
    expect((await silt('install', '--dry-run', ...flags)).stdout.toString()).toContain('+  "runtimes": {');
    expect(readFileSync(config, 'utf8')).toBe('{\n  "debug": true\n}\n');
    expect(await silt('install', ...flags, '--', '--debug')).toMatchObject({ code: 0 });
    expect(JSON.parse(readFileSync(config, 'utf8'))).toEqual({
      runtimes: { silt: { path: siltProgram, runtimeArgs: ['--debug'] } },
      debug: true,
    });
    expect(await silt('uninstall', ...flags)).toMatchObject({ code: 0 });
    expect(JSON.parse(readFileSync(config, 'utf8'))).toEqual({ debug: true });
    expect(existsSync(`${config}.~1~`)).toBe(true);
  });

  test('leaves nothing behind', async () => {
    expect(await waitForNoLeaks(before, owner)).toEqual([]);
  }, 30_000);
});
