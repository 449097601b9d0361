/** Every command of the README, typed as it stands there. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { binDirectory, checkout, containerdSuite, runCommand, siltProgram, type Containerd } from '../harness';
import { takeInventory, waitForNoLeaks, type Inventory } from '../harness/leak-check';
import { type Docker, dockerSuite } from '../harness/docker';
import { readmeBlocks, unmarkedBlocks, type ReadmeBlock } from './readme-blocks';
import { type, type NewcomerSettings } from './newcomer';

const blocks = readmeBlocks();
const system = process.env['SILT_TEST_PEER'] ?? 'system';

/** What cannot be run here, and why. */
const NOT_HERE: Readonly<Record<string, string>> = {
  nerdctl: 'no suite of Debian has nerdctl',
  kubernetes: 'there is no cluster here; the suites of integration/cri show the same pod through CRI',
};

/** Runs a block and looks for what it should print. */
async function run(block: ReadmeBlock, settings: NewcomerSettings): Promise<void> {
  const { code, stdout, stderr } = await type(block.script, settings);
  const output = `${stdout.toString()}${stderr}`;
  if (code !== 0) throw new Error(`exit status ${code}\n${block.script}\n${output}`);
  if (block.prints !== undefined) expect(output).toContain(block.prints);
}

function each(kind: string, settings: () => NewcomerSettings): void {
  const own = blocks.filter((block) => block.run === kind);
  test.each(own.map((block, i) => [`${kind}, block ${i + 1}: ${block.script.split('\n')[0]!}`, block] as const))(
    '%s',
    (_, block) => run(block, settings()),
  );
}

test('each block of commands says what it is run by', () => {
  expect(unmarkedBlocks()).toBe(0);
  const kinds = ['host', 'bundle', 'docker', 'docker-24', 'containerd', 'kubernetes-node', ...Object.keys(NOT_HERE)];
  expect(blocks.map((block) => block.run).filter((kind) => !kinds.includes(kind))).toEqual([]);
  expect(new Set(blocks.map((block) => block.run)).size).toBe(kinds.length);
});

for (const { run: kind, script } of blocks.filter((block) => block.run in NOT_HERE))
  test.skip(`${kind}: ${script.split('\n')[0]} [skipped: ${NOT_HERE[kind]!}]`, () => undefined);

const once = system === 'system' ? describe : describe.skip;

once(`on a host (README)${system === 'system' ? '' : ' [skipped: the same with every containerd]'}`, () => {
  // Made below: a suite that is skipped makes nothing.
  const directory = join(tmpdir(), `silt-readme-${process.pid}`);
  const target = join(directory, 'installed');
  const settings = (): NewcomerSettings => ({
    directory,
    environment: {
      ...process.env,
      PATH: `${binDirectory}:${process.env['PATH']}:/usr/sbin`,
      SILT_ROOT: join(directory, 'silt'),
      SILT_CONFIG: join(directory, 'silt.toml'),
    },
    wrappers: {
      make: `cd ${checkout} && PATH=/usr/local/bin:/usr/bin:/bin DESTDIR=${target} exec /usr/bin/make "$@"`,
      // There is no systemd here, and nothing to be restarted.
      systemctl: 'exit 0',
      silt: `case $1 in install) exec ${siltProgram} "$@" --containerd-config=${directory}/containerd.toml ;; esac; exec ${siltProgram} "$@"`,
    },
    paths: {},
  });
  let before: Inventory;
  const owner = {
    directory,
    namespace: directory,
    except: () => [],
    fileRoots: [{ path: join(directory, 'silt'), depth: 6 }],
    keptDirectories: [join(directory, 'silt', 'cache')],
  };
  beforeAll(() => {
    // The pool of id ranges is made once, by the first container, and stays.
    mkdirSync(join(directory, 'silt', 'id-ranges'), { recursive: true, mode: 0o700 });
    before = takeInventory(owner);
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  each('host', settings);
  each('bundle', settings);
  each('kubernetes-node', settings);

  test('make install has put both programs, the manual and the completions there', () => {
    const files = [
      'bin/silt',
      'bin/containerd-shim-silt-v1',
      'share/man/man1/silt.1',
      'share/bash-completion/completions/silt',
    ];
    expect(files.filter((file) => !existsSync(join(target, 'usr/local', file)))).toEqual([]);
  });

  test('leaves nothing behind', async () => {
    expect(await waitForNoLeaks(before, owner)).toEqual([]);
  }, 30_000);
});

containerdSuite('README', {}, (host) => {
  const settings = (containerd: Containerd): NewcomerSettings => ({
    directory: containerd.directory,
    environment: containerd.environment,
    wrappers: { ctr: `exec ${containerd.ctrWords([]).join(' ')} "$@"` },
    paths: {
      'docker.io/library/busybox:latest': 'silt.test/busybox:1',
      '/srv/seeds': containerd.seeds,
      '/run/silt/default': join(containerd.siltRoot, containerd.namespace),
    },
  });
  each('containerd', () => settings(host()));

  afterAll(() => host().remove('web'));
});

const inDocker = (host: Docker): NewcomerSettings => ({
  directory: host.directory,
  environment: host.environment,
  wrappers: {
    // systemd returns when dockerd has been told; it takes the runtimes up a moment later.
    systemctl: `
        wanted=$(grep -o '"silt[a-z-]*": *{' ${host.config})
        kill -HUP ${host.pid}
        for name in $(echo "$wanted" | tr -d '": {'); do
          until docker info --format '{{json .Runtimes}}' | grep -q "\\"$name\\""; do sleep 0.1; done
        done`,
    silt: `case $1 in install) shift; exec ${siltProgram} install --docker-config=${host.config} "$@" ;; esac; exec ${siltProgram} "$@"`,
  },
  paths: { '/run/docker': host.execRoot, '/tmp/web.tar': join(host.directory, 'web.tar') },
});

dockerSuite('README with Docker', { runtimes: () => ({}), firstRuntime: 'runc' }, (host) => {
  each('docker', () => inDocker(host()));

  test('the snapshot holds what the container wrote', async () => {
    const listing = await runCommand(['tar', '-tf', join(host().directory, 'web.tar')]);
    expect(listing.stdout.toString().split('\n')).toContain('./page');
  });
});

dockerSuite('README with a newer Docker', { dockers: 'newer', runtimes: () => ({}), firstRuntime: 'runc' }, (host) => {
  each('docker', () => inDocker(host()));
  each('docker-24', () => inDocker(host()));
});
