import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { refusal } from '../../errors/testing/refusal';
import { parseConfig } from './config';
import { allowSeed, SEED_ANNOTATION, seedOf } from './seed-policy';

const NAME = 'io.kubernetes.cri.container-name';

describe('the seed that annotations ask for', () => {
  test.each<[string, Record<string, string>, string | undefined]>([
    ['none', {}, undefined],
    ['the annotation', { [SEED_ANNOTATION]: '/a.tar' }, '/a.tar'],
    ['the one of this container', { [NAME]: 'web', [`${SEED_ANNOTATION}.web`]: '/web.tar' }, '/web.tar'],
    [
      'the one of this container before the general one',
      { [NAME]: 'web', [`${SEED_ANNOTATION}.web`]: '/web.tar', [SEED_ANNOTATION]: '/a.tar' },
      '/web.tar',
    ],
    [
      'the general one when only another container is named',
      { [NAME]: 'db', [`${SEED_ANNOTATION}.web`]: '/web.tar', [SEED_ANNOTATION]: '/a.tar' },
      '/a.tar',
    ],
    ['none when only another container is named', { [NAME]: 'db', [`${SEED_ANNOTATION}.web`]: '/web.tar' }, undefined],
    [
      'none for the container that only holds the pod',
      { 'io.kubernetes.cri.container-type': 'sandbox', [SEED_ANNOTATION]: '/a.tar' },
      undefined,
    ],
    ['none for a named one without a name', { [`${SEED_ANNOTATION}.web`]: '/web.tar' }, undefined],
  ])('%s', (_, annotations, seed) => {
    expect(seedOf(annotations)).toBe(seed);
  });

  test('has gVisor’s name', () => {
    expect(SEED_ANNOTATION).toBe('dev.gvisor.tar.rootfs.upper');
  });
});

describe('a seed', () => {
  // /tmp may itself be a symlink.
  const top = realpathSync(mkdtempSync(join(tmpdir(), 'silt-seeds-')));
  const at = (name: string): string => join(top, name);
  afterAll(() => rmSync(top, { recursive: true }));

  mkdirSync(at('allowed/deep'), { recursive: true });
  mkdirSync(at('allowed-not'));
  mkdirSync(at('elsewhere'));
  for (const name of ['allowed/a.tar', 'allowed/deep/b.tar', 'allowed-not/c.tar', 'elsewhere/secret.tar']) {
    writeFileSync(at(name), '');
  }
  symlinkSync('../elsewhere', at('allowed/out'));
  symlinkSync('../elsewhere/secret.tar', at('allowed/link.tar'));
  symlinkSync('allowed', at('door'));
  symlinkSync(at('nowhere'), at('allowed/dangling'));

  const config = (...directories: string[]) =>
    parseConfig(
      `allow-rootfs-tar-annotation = true\nrootfs-tar-directories = ${JSON.stringify(directories)}`,
      'config.toml',
    );
  const allowed = config(at('allowed'));

  test.each([
    ['a file in an allowed directory', 'allowed/a.tar', 'allowed/a.tar'],
    ['a file further down', 'allowed/deep/b.tar', 'allowed/deep/b.tar'],
    ['a way through a symlink that leads inside', 'door/deep/b.tar', 'allowed/deep/b.tar'],
    ['a way that goes up and comes back', 'allowed/../allowed/a.tar', 'allowed/a.tar'],
    // Whether it is there is for the one who opens it to say.
    ['a file that is not there', 'allowed/none.tar', 'allowed/none.tar'],
    // So is that it is a symlink: opening it follows none.
    ['a symlink as the last component, unresolved', 'allowed/link.tar', 'allowed/link.tar'],
  ])('%s is allowed', (_, seed, real) => {
    expect(allowSeed(`${top}/${seed}`, allowed)).toBe(at(real));
  });

  test('may lie in any of several directories, and in one that is given as a symlink or with a slash', () => {
    expect(allowSeed(at('elsewhere/secret.tar'), config(at('allowed'), `${at('elsewhere')}/`))).toBe(
      at('elsewhere/secret.tar'),
    );
    expect(allowSeed(at('allowed/a.tar'), config(at('door')))).toBe(at('allowed/a.tar'));
    expect(allowSeed(at('allowed/a.tar'), config('/'))).toBe(at('allowed/a.tar'));
  });

  test.each([
    ['elsewhere', 'elsewhere/secret.tar'],
    ['in a directory whose name only begins alike', 'allowed-not/c.tar'],
    ['through a symlink that leads out', 'allowed/out/secret.tar'],
    ['up and out', 'allowed/../elsewhere/secret.tar'],
    ['the directory itself', 'allowed'],
    ['the directory itself, with a dot', 'allowed/.'],
    ['its parent', 'allowed/..'],
  ])('%s is refused', (_, seed) => {
    const path = `${top}/${seed}`;
    expect(refusal(() => allowSeed(path, allowed))).toEqual({
      code: 'SEED_REFUSED',
      message: `the seed ${path} lies in none of the directories that rootfs-tar-directories allows (${at('allowed')})`,
      details: { path },
    });
  });

  test('is refused where no directory is allowed', () => {
    expect(refusal(() => allowSeed(at('allowed/a.tar'), config()))).toMatchObject({
      code: 'SEED_REFUSED',
      message: expect.stringMatching(/rootfs-tar-directories allows \(none\)$/) as string,
    });
  });

  test('is refused, before anything is looked at, while seeds by annotation are off', () => {
    const off = parseConfig(`rootfs-tar-directories = ${JSON.stringify([at('allowed')])}`, 'config.toml');
    expect(refusal(() => allowSeed('/nowhere/x.tar', off))).toEqual({
      code: 'SEED_REFUSED',
      message:
        "the annotation dev.gvisor.tar.rootfs.upper asks for the seed /nowhere/x.tar, but seeds by annotation are off; set allow-rootfs-tar-annotation = true in silt's configuration",
      details: { path: '/nowhere/x.tar' },
    });
  });

  test('must be given by an absolute path', () => {
    expect(refusal(() => allowSeed('allowed/a.tar', allowed))).toEqual({
      code: 'SEED_UNREADABLE',
      message: 'the seed allowed/a.tar must be given as an absolute path',
      details: { path: 'allowed/a.tar' },
    });
  });

  test.each([
    ['that is not there', 'nowhere/a.tar', 'ENOENT'],
    ['that is a dangling symlink', 'allowed/dangling/a.tar', 'ENOENT'],
    ['below a file', 'allowed/a.tar/x/b.tar', 'ENOTDIR'],
  ])('in a directory %s cannot be opened', (_, seed, errno) => {
    const path = at(seed);
    expect(refusal(() => allowSeed(path, allowed))).toEqual({
      code: 'SEED_UNREADABLE',
      message: `cannot open the seed ${path}: ${errno}`,
      details: { path, errno },
    });
  });
});
