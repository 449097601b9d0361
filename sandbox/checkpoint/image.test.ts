import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { refusal } from '../../errors/testing/refusal';
import type { Mount, Spec } from '../../oci';
import { describeMounts } from './filesystems';
import { checkSpec, openCheckpoint } from './image';
import { imageOf, message, numbers } from '../checkpoint-image/image.fixture';
import { describeFile, type Manifest, writeManifest } from '../checkpoint-image/manifest';

const spec = (mounts: readonly Partial<Mount>[], process: object = {}): Spec => ({
  ociVersion: '1.0.2',
  process: { args: ['true'], cwd: '/', user: { uid: 0, gid: 0 }, ...process },
  mounts: mounts as Mount[],
});
const saved = (mounts: readonly Partial<Mount>[], terminal?: string) => ({
  spec: spec(mounts),
  mounts: describeMounts(spec(mounts)),
  ...(terminal === undefined ? {} : { terminal }),
});

const proc = { destination: '/proc', type: 'proc', source: 'proc' };
const data = { destination: '/data', type: 'bind', source: '/srv/one', options: ['rbind'] };

test.each([
  ['the same mounts', [proc, data], [proc, data]],
  ['in another order', [proc, data], [data, proc]],
  ['a bind mount of something else', [data], [{ ...data, source: '/srv/two', options: ['bind', 'ro'] }]],
  ['a bind mount by its options', [data], [{ destination: '/data', source: '/srv', options: ['rbind'] }]],
  ['a bind mount by saying no type', [{ destination: '/data', source: '/srv' }], [data]],
  ['none', [], []],
])('%s fit', (_, before, now) => {
  expect(() => checkSpec(saved(before), { spec: spec(now) })).not.toThrow();
});

test('what is missing, different and new is listed', () => {
  const before = [proc, data, { destination: '/cache', type: 'tmpfs' }];
  const now = [proc, { destination: '/cache', type: 'bind', source: '/c' }, { destination: '/new', type: 'tmpfs' }];
  expect(refusal(() => checkSpec(saved(before), { spec: spec(now) }))).toMatchObject({
    code: 'CHECKPOINT_INVALID',
    message: expect.stringContaining(
      'missing: /data; different: /cache (tmpfs, now bind); not in the checkpoint: /new',
    ) as string,
  });
});

test('a terminal goes on as one', () => {
  expect(() => checkSpec(saved([], 'tty[8800:1]'), { spec: spec([], { terminal: true }) })).not.toThrow();
  for (const [before, terminal] of [
    [saved([], 'tty[8800:1]'), false],
    [saved([]), true],
  ] as const) {
    const message = expect.stringContaining('terminal') as string;
    expect(refusal(() => checkSpec(before, { spec: spec([], { terminal }) }))).toMatchObject({ message });
  }
});

describe('a checkpoint of another machine', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'silt-image-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  test.each([
    ['another architecture', { architecture: 'pdp11' }, /was taken on pdp11, and this machine is \w+$/],
    [
      'a CPU with more features',
      { cpuFeatures: ['warp'] },
      /with features that this one lacks: warp; its programs may/,
    ],
  ])('%s is refused', async (_, changes, message) => {
    const usual = { version: 2, silt: '9.9', architecture: process.arch, cpuFeatures: [], files: [], ...saved([]) };
    await writeManifest(directory, { ...usual, ...changes } as unknown as Manifest);
    const opening = openCheckpoint(directory, spec([]), { baseline: 'none' });
    await expect(opening).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringMatching(message) as string,
    });
  });
});

describe('a forged checkpoint', () => {
  const given = { ...spec([], { user: { uid: 7, gid: 7 }, noNewPrivileges: true }), linux: { seccomp: { defaultAction: 'SCMP_ACT_ALLOW' } } } as unknown as Spec; // prettier-ignore
  /** A thread of user 7 with or without all capabilities and its seccomp filter. */
  const core = (rights: bigint, mode: bigint): Buffer => {
    const ids = [1, 2, 3, 4, 5, 6, 7, 8].flatMap((id) => numbers(id, [7n]));
    const creds = [...ids, ...[9, 10, 11, 12].flatMap((set) => numbers(set, [rights, 0n])), ...numbers(18, [1n])];
    return imageOf([message(3, numbers(1, [1n])), message(5, [message(10, creds), ...numbers(11, [mode]), ...numbers(12, [0n])])]); // prettier-ignore
  };
  const [good, evil, unfiltered] = [core(0n, 2n), core(0xffffffffn, 0n), core(0n, 0n)];
  const treeOf = (...threads: bigint[]): Buffer => imageOf([...numbers(1, [threads[0]!]), ...numbers(5, threads)]);
  const seccomp = imageOf([message(1, numbers(3, [0n]))]);
  const usual = { 'core-1.img': good, 'pstree.img': treeOf(1n), 'seccomp.img': seccomp };

  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'silt-image-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  async function open(
    files: Readonly<Record<string, Buffer>>,
    { version = 2, wanted = given, then }: { version?: number; wanted?: Spec; then?: () => void } = {},
  ): Promise<readonly string[]> {
    for (const [path, bytes] of Object.entries(files)) {
      mkdirSync(dirname(join(directory, path)), { recursive: true });
      writeFileSync(join(directory, path), bytes);
    }
    const described = await Promise.all(Object.keys(files).map((path) => describeFile(directory, path)));
    then?.();
    const rest = { silt: '9.9', architecture: process.arch, cpuFeatures: [], baseline: 'none', mounts: [] };
    const manifest = { version, ...rest, spec: wanted, files: described };
    await writeManifest(directory, manifest as unknown as Manifest);
    return (await openCheckpoint(directory, wanted, { baseline: 'none' })).process.names;
  }

  const inProcess = (files: Readonly<Record<string, Buffer>>): Record<string, Buffer> =>
    Object.fromEntries(Object.entries(files).map(([name, bytes]) => [`process/${name}`, bytes]));
  const refused = async (opening: Promise<unknown>, message: RegExp): Promise<void> =>
    expect(opening).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringMatching(message) as string,
    });

  test('is one that was not, but for its threads', async () => {
    expect(await open(usual)).toEqual(Object.keys(usual));
    await refused(open({ ...usual, 'core-1.img': evil }), /core-1.img: bounding .*core-1.img: no seccomp filter/);
  });

  test('that was not, of format 1', async () => {
    expect(await open(inProcess(usual), { version: 1 })).toEqual(Object.keys(usual));
  });

  test('with another image of the same name elsewhere', async () => {
    await refused(open({ ...usual, 'core-1.img': evil, 'sub/core-1.img': good }), /another image of that name/);
  });

  test('of format 1, with another image of the same name beside CRIU’s', async () => {
    const files = { ...inProcess({ ...usual, 'core-1.img': evil }), 'core-1.img': good };
    await refused(open(files, { version: 1 }), /another image of that name/);
  });

  test.each(['core-1.img', 'pstree.img'] as const)('with %s where CRIU does not look', async (name) => {
    const { [name]: moved, ...others } = usual;
    await refused(open({ ...others, [`sub/${name}`]: moved }), new RegExp(`does not list ${name}, which CRIU needs`));
  });

  test('with its filters where CRIU does not look', async () => {
    const { 'seccomp.img': moved, ...others } = usual;
    await refused(open({ ...others, 'sub/seccomp.img': moved }), /core-1.img: no seccomp filter/);
  });

  test('with the image of a thread by a number that CRIU writes otherwise', async () => {
    await refused(open({ ...usual, 'core-1.img': unfiltered, 'core-01.img': good }), /core-1.img: no seccomp filter/);
  });

  test.each([
    ['a file', 'sub/evil.bin'],
    ['nothing', 'nowhere'],
  ])('with an image beside them that is a symlink to %s', async (_, to) => {
    const then = (): void => symlinkSync(to, join(directory, 'core-5.img'));
    const files = { ...usual, 'pstree.img': treeOf(1n, 5n), 'sub/evil.bin': evil };
    await refused(open(files, { then }), /does not list: core-5.img; remove them/);
  });

  test('with an archive that its manifest does not list', async () => {
    const then = (): void => symlinkSync('/some/other.tar', join(directory, 'upper.tar'));
    await refused(open(usual, { then }), /does not list: upper.tar; remove them/);
  });

  test('with a listed image that is a symlink', async () => {
    const then = (): void => {
      renameSync(join(directory, 'core-1.img'), join(directory, 'other'));
      symlinkSync('other', join(directory, 'core-1.img'));
    };
    await refused(open(usual, { then }), /core-1.img: it is no regular file/);
  });

  test('of format 1, whose directory of images is a symlink', async () => {
    const then = (): void => {
      renameSync(join(directory, 'process'), join(directory, 'other'));
      writeFileSync(join(directory, 'other/core-5.img'), evil);
      symlinkSync('other', join(directory, 'process'));
    };
    await refused(open(inProcess(usual), { version: 1, then }), /process is no directory/);
  });

  test('with threads without an image, also where no filter is wanted', async () => {
    const wanted = { ...given, linux: {} };
    const files = { ...usual, 'pstree.img': treeOf(1n, 5n, 1n << 32n) };
    await refused(open(files, { wanted }), /does not list core-5.img, core--1.img, which CRIU needs/);
  });
});
