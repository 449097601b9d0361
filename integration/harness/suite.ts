/** How integration tests are declared: which containerd and runtime, what is skipped and why, and the closing leak check. */
import { Containerd, startContainerd } from './containerd';
import type { SiltSettings } from './containerd-config';
import type { CriSettings } from './cri/config';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { takeInventory, waitForNoLeaks, type Inventory } from './leak-check';
import { ownerOfSocket } from './processes';
import { type SystemdLayout, whyNoSystemd } from './systemd';
import { findPeer, findPeerProgram, type MissingPeer, type Peer } from './peers';

type TestBody = () => Promise<void>;
type TestFunction = (name: string, body: TestBody, timeoutMs?: number) => void;

/** The runtime under test. Runs against runc show that a test itself is sound. */
export const runtime = process.env['SILT_TEST_RUNTIME'] ?? 'io.containerd.silt.v1';
export const isSilt = runtime === 'io.containerd.silt.v1';
const RUNC = 'io.containerd.runc.v2';
/** What the tests that are being declared run against. */
let declared = runtime;

/** `test` if the condition holds, else a skipped test whose name carries the reason, so that every report shows it. */
export function testIf(condition: boolean, reason: string): TestFunction {
  if (condition) return (name, body, timeoutMs) => test(name, body, timeoutMs);
  return (name, body) => test.skip(`${name} [skipped: ${reason}]`, body);
}

/**
 * At the end of a short exec among many: ctr opens its ends of the streams in the background, and on a busy machine a process that
 * ends first finds ctr giving up on them. That happens with every runtime and is not what such tests are about.
 */
export const untilRead = 'sleep 0.5';

/** A test of something that only silt has. */
export const siltTest: TestFunction = (name, body, timeoutMs) =>
  testIf(isSilt && declared === runtime, 'is about silt, and another runtime is under test')(name, body, timeoutMs);

/** Which containerd the tests of this run are for; decided by the test runner before jest starts. */
const peerName = process.env['SILT_TEST_PEER'] ?? 'system';

/** A test that is slow and about nothing that differs between versions of containerd. */
export const onMachinesContainerd = testIf(peerName === 'system', 'runs on the machine’s own containerd only');

export interface SuiteSettings extends SiltSettings {
  /** What is not of silt alone is also run against runc, in the same run. */
  readonly besideRunc?: boolean;
  /** What runc leaves behind after such tests: the closing check is then silt's alone. */
  readonly runcLeaves?: string;
  /** What containerd itself may leave behind in such tests. */
  readonly containerdLeaves?: RegExp;
  /** For what does not depend on containerd's version: the suite runs against this one only. */
  readonly onlyPeer?: 'system';
  /** The least major version of containerd that can do this: 1 stands for 1.6, 1.7 for itself. */
  readonly needs?: number;
  /** The only version, in the same notation. */
  readonly onlyRelease?: number;
  /** Starts containerd with CRI. */
  readonly cri?: CriSettings;
  /** Starts containerd beside a systemd of its own, with hierarchies so laid out. */
  readonly systemd?: SystemdLayout;
  /** What is done once before the inventory that the closing check compares with; a first container unless told. */
  readonly warmUp?: (containerd: Containerd) => Promise<void>;
}

/** What only a first container makes (the namespace's cgroup, directories for sockets) is no leak. */
async function runFirstContainer(containerd: Containerd): Promise<void> {
  const first = await containerd.run(['true']);
  if (first.code !== 0) throw new Error(`the first container failed: ${first.stderr}\n${containerd.logTail()}`);
}

/**
 * Declares a group of tests with a containerd of its own, which `host()` returns inside of tests. Ends with a test that nothing is
 * left. When the chosen containerd cannot be had here, every test of the group is skipped with that reason.
 */
export function containerdSuite(name: string, settings: SuiteSettings, define: (host: () => Containerd) => void): void {
  for (const one of settings.besideRunc && isSilt ? [runtime, RUNC] : [runtime])
    declareSuite(name, settings, one, define);
}

function declareSuite(
  name: string,
  settings: SuiteSettings,
  under: string,
  define: (host: () => Containerd) => void,
): void {
  const { onlyPeer = peerName, needs = 0, onlyRelease } = settings;
  const unavailable =
    onlyPeer !== peerName
      ? `does not depend on containerd, runs with that of ${onlyPeer}`
      : (process.env['SILT_TEST_SKIP'] ?? '') !== ''
        ? process.env['SILT_TEST_SKIP']
        : peerRelease() < needs
          ? `needs containerd ${needs}`
          : onlyRelease !== undefined && peerRelease() !== onlyRelease
            ? `is for containerd ${onlyRelease}`
            : settings.systemd && whyNoSystemd(settings.systemd);
  const title = `${name} (containerd of ${peerName}, ${under.split('.').at(-2) ?? under})`;
  declared = under;
  if (unavailable !== undefined && unavailable !== '') {
    describe.skip(`${title} [skipped: ${unavailable}]`, () => define(() => neverStarted()));
    declared = runtime;
    return;
  }
  describe(title, () => {
    let containerd: Containerd | undefined;
    let before: Inventory | undefined;
    const host = (): Containerd => containerd ?? neverStarted();

    beforeAll(async () => {
      const { cri, systemd } = settings;
      const peer = requirePeer(await findPeer(peerName));
      containerd = await startContainerd({
        peer,
        silt: settings,
        runtime: under,
        ...(cri && { cri }),
        ...(systemd && { systemd }),
      });
      await (settings.warmUp ?? runFirstContainer)(containerd);
      before = takeInventory(containerd.ownership);
      before = await settle(containerd, before);
    }, 120_000);

    afterAll(async () => {
      await containerd?.destroy();
    }, 60_000);

    // A group of its own, so that what it does after all of its tests is done before the last one here.
    describe('with it', () => define(host));

    testIf(under !== RUNC || settings.runcLeaves === undefined, `runc leaves ${settings.runcLeaves ?? ''}`)(
      'leaves nothing behind',
      async () => {
        await host().collectGarbage();
        const left = await waitForNoLeaks(before!, host().ownership, settings.containerdLeaves);
        expect(left).toEqual([]);
      },
      30_000,
    );
  });
  declared = runtime;
}

/** The version of this run's containerd as a number, such as 1.7; 0 when it cannot be had. */
export function peerRelease(): number {
  const peer = findPeerProgram(peerName);
  if (peer === undefined) return 0;
  const [, release] = / v?(\d+\.\d+)\S* /.exec(execFileSync(peer, ['--version'], { encoding: 'latin1' })) ?? [];
  return Number(release ?? 0);
}

/** The state of rest after the first container: what is still going away is no part of it. */
async function settle(containerd: Containerd, first: Inventory): Promise<Inventory> {
  let now = first;
  for (let quiet = 0; quiet < 3;) {
    const next = takeInventory(containerd.ownership);
    const same = [...now].every(([kind, things]) => things.size === next.get(kind)?.size);
    quiet = same ? quiet + 1 : 0;
    now = next;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return now;
}

function neverStarted(): never {
  throw new Error('containerd has not been started');
}

function requirePeer(peer: Peer | MissingPeer): Peer {
  if ('version' in peer) return peer;
  throw new Error(`containerd of ${peer.name}: ${peer.reason}`);
}

/** The pid of a task's first process, as containerd knows it. */
export async function taskPid(containerd: Containerd, id: string): Promise<number> {
  const listing = (await containerd.mustCtr(['tasks', 'ls'])).stdout.toString();
  const line = listing.split('\n').find((text) => text.split(/\s+/)[0] === id);
  if (line === undefined) throw new Error(`no task ${id} in ${listing}`);
  return Number(line.split(/\s+/)[1]);
}

/** Status word of a task (`RUNNING`, `STOPPED`, …), or undefined without such a task. */
export async function taskStatus(containerd: Containerd, id: string): Promise<string | undefined> {
  const listing = (await containerd.mustCtr(['tasks', 'ls'])).stdout.toString();
  const line = listing.split('\n').find((text) => text.split(/\s+/)[0] === id);
  return line?.split(/\s+/)[2];
}

/** Path of the socket on which the shim of a container serves containerd. */
export function shimSocket(containerd: Containerd, id: string): string {
  const read = (name: string): string | undefined => {
    try {
      return readFileSync(join(containerd.bundle(id), name), 'utf8').trim();
    } catch {
      return undefined;
    }
  };
  const bootstrap = read('bootstrap.json');
  const address = bootstrap === undefined ? read('address') : (JSON.parse(bootstrap) as { address: string }).address;
  if (address === undefined) throw new Error(`${id}: no address of a shim in ${containerd.bundle(id)}`);
  return address.replace(/^unix:\/\//, '');
}

/** The shim that serves a container: the process that listens on the address which containerd has been given. */
export function shimPid(containerd: Containerd, id: string): number {
  const pid = ownerOfSocket(shimSocket(containerd, id));
  if (pid === undefined) throw new Error(`${id}: nobody listens on ${shimSocket(containerd, id)}`);
  return pid;
}

/** silt's sandbox of a pod, by the pod's state. */
export function sandboxPid(containerd: Containerd, pod: string): number {
  const state = readFileSync(join(containerd.siltRoot, containerd.namespace, pod, 'pod.json'), 'utf8');
  return (JSON.parse(state) as { sandbox: { pid: number } }).sandbox.pid;
}
