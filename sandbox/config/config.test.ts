import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { refusal } from '../../errors/testing/refusal';
import { OVERLAY_FORM } from './overlay-mode';
import { type Config, parseConfig, readConfig } from './config';

const FILE = '/etc/silt/test.toml';
const DEFAULTS: Config = {
  userns: 'auto',
  allowRootfsTarAnnotation: false,
  rootfsTarDirectories: [],
  checkpointDirectories: [],
  overlay: { scope: 'root', medium: { kind: 'memory' } },
  allowFlagOverride: false,
  upperSize: '50%',
  usernsFirstId: 0x70000000,
  usernsRanges: 4096,
  baseline: 'docker',
  oomScoreAdj: 'clamp',
  seed: 'share',
  seedLayers: '/var/lib/silt/layers',
  seedLayersSize: 16 * 2 ** 30,
  seedIdentity: 'stat',
  podsPerShim: 32,
  shimLingerSeconds: 10,
  cgroupDriver: 'auto',
};

describe('a configuration', () => {
  test('that says nothing has the defaults', () => {
    expect(parseConfig('# nothing\n', FILE)).toEqual(DEFAULTS);
  });

  test('may have every key', () => {
    const text = `
      userns = "auto"
      allow-rootfs-tar-annotation = true
      rootfs-tar-directories = ["/srv/seeds", "/var//lib/./seeds/"]
      checkpoint-directories = ["/srv//images"]
      overlay2 = "all:dir=/srv/files,size=1g"
      file-access = "exclusive"
      file-access-mounts = "shared"
      allow-flag-override = ["overlay2"]
      upper-size = "2g"
      userns-first-id = 1000000
      userns-ranges = 10
      baseline = "strict"
      oom-score-adj = "strict"
      seed = "copy"
      seed-layers = "/srv//layers"
      seed-layers-size = "512M"
      seed-identity = "digest"
      pods-per-shim = 1
      shim-linger-seconds = 0
      cgroup-driver = "systemd"
    `;
    expect(parseConfig(text, FILE)).toEqual({
      userns: 'auto',
      allowRootfsTarAnnotation: true,
      rootfsTarDirectories: ['/srv/seeds', '/var/lib/seeds/'],
      checkpointDirectories: ['/srv/images'],
      overlay: { scope: 'all', medium: { kind: 'directory', directory: '/srv/files', sizeBytes: 2 ** 30 } },
      allowFlagOverride: ['overlay2'],
      upperSize: '2g',
      usernsFirstId: 1_000_000,
      usernsRanges: 10,
      baseline: 'strict',
      oomScoreAdj: 'strict',
      seed: 'copy',
      seedLayers: '/srv/layers',
      seedLayersSize: 512 * 2 ** 20,
      seedIdentity: 'digest',
      podsPerShim: 1,
      shimLingerSeconds: 0,
      cgroupDriver: 'systemd',
    });
  });

  test.each<[string, Partial<Config>]>([
    ['userns = "none"', { userns: 'none' }],
    ['allow-rootfs-tar-annotation = false', { allowRootfsTarAnnotation: false }],
    ['rootfs-tar-directories = []', { rootfsTarDirectories: [] }],
    ['overlay2 = "none"', { overlay: { scope: 'none' } }],
    ['allow-flag-override = true', { allowFlagOverride: true }],
    ['upper-size = "1048576"', { upperSize: '1048576' }],
    ['upper-size = "512M"', { upperSize: '512M' }],
    ['upper-size = "64k"', { upperSize: '64k' }],
    ['upper-size = "10%"', { upperSize: '10%' }],
    ['userns-first-id = 65536', { usernsFirstId: 65536 }],
    ['userns-ranges = 1', { usernsRanges: 1 }],
    ['baseline = "none"', { baseline: 'none' }],
    ['userns-ranges = 32768', { usernsRanges: 32768 }],
    ['userns-first-id = 4294836224\nuserns-ranges = 1', { usernsFirstId: 4_294_836_224, usernsRanges: 1 }],
  ])('%s', (text, expected) => {
    expect(parseConfig(text, FILE)).toEqual({ ...DEFAULTS, ...expected });
  });

  test.each([
    ['userns = "yes"', 'userns must be "auto" or "none"'],
    ['userns = true', 'userns must be "auto" or "none"'],
    ['baseline = "Docker"', 'baseline must be "docker", "strict" or "none"'],
    ['oom-score-adj = "no"', 'oom-score-adj must be "clamp" or "strict"'],
    ['baseline = false', 'baseline must be "docker", "strict" or "none"'],
    ['overlay2 = true', 'overlay2 must be a string'],
    ['overlay2 = "root"', `overlay2 must be ${OVERLAY_FORM}; it is "root"`],
    ['file-access = "x"', 'file-access must be exclusive or shared; it is "x"'],
    ['allow-flag-override = 1', 'allow-flag-override must be true, false or a list of names of flags'],
    ['allow-rootfs-tar-annotation = "true"', 'allow-rootfs-tar-annotation must be true or false'],
    ['rootfs-tar-directories = "/srv"', 'rootfs-tar-directories must be a list of absolute paths'],
    ['rootfs-tar-directories = ["/srv", "seeds"]', 'rootfs-tar-directories must be a list of absolute paths'],
    ['rootfs-tar-directories = ["/srv", 1]', 'rootfs-tar-directories must be a list of absolute paths'],
    ['upper-size = 1048576', 'upper-size must be a size such as "2g" or "50%"'],
    ['upper-size = "2gb"', 'upper-size must be a size such as "2g" or "50%"'],
    ['upper-size = "1g,uid=0"', 'upper-size must be a size such as "2g" or "50%"'],
    ['upper-size = ""', 'upper-size must be a size such as "2g" or "50%"'],
    ['userns-first-id = 65535', 'userns-first-id must be a number from 65536 to 4294836224'],
    ['userns-first-id = 4294836225', 'userns-first-id must be a number from 65536 to 4294836224'],
    ['userns-first-id = "1000000"', 'userns-first-id must be a number from 65536 to 4294836224'],
    ['userns-ranges = 0', 'userns-ranges must be a number from 1 to 32768'],
    ['userns-ranges = 32769', 'userns-ranges must be a number from 1 to 32768'],
    ['userns-ranges = 1.5', 'userns-ranges must be a number from 1 to 32768'],
    [
      'userns-first-id = 4294836224\nuserns-ranges = 2',
      'userns-first-id 4294836224 and userns-ranges 2 of 65536 ids go beyond the last id, 4294967295',
    ],
  ])('is refused with file and key: %s', (text, message) => {
    expect(refusal(() => parseConfig(text, FILE))).toEqual({
      code: 'CONFIG_INVALID',
      message: `${FILE}: ${message}`,
      details: { path: FILE },
    });
  });

  test.each(['user-ns', 'constructor', 'toString', '__proto__', 'hasOwnProperty'])(
    'is refused for the key %s, which silt does not have',
    (key) => {
      expect(refusal(() => parseConfig(`${key} = "auto"`, FILE))).toEqual({
        code: 'CONFIG_INVALID',
        message: `${FILE}: ${key} is no key of silt's; the keys are userns, allow-rootfs-tar-annotation, rootfs-tar-directories, checkpoint-directories, overlay2, file-access, file-access-mounts, allow-flag-override, upper-size, userns-first-id, userns-ranges, baseline, oom-score-adj, seed, seed-layers, seed-layers-size, seed-identity, pods-per-shim, shim-linger-seconds, cgroup-driver, criu`,
        details: { path: FILE },
      });
    },
  );

  test('that is no TOML is refused with the file', () => {
    const { code, message, details } = refusal(() => parseConfig('userns = \n', FILE));
    expect([code, details]).toEqual(['CONFIG_INVALID', { path: FILE }]);
    expect(message).toMatch(new RegExp(`^${FILE} is not TOML: `));
  });
});

describe('the file', () => {
  const directory = mkdtempSync(join(tmpdir(), 'silt-config-'));
  afterAll(() => rmSync(directory, { recursive: true }));

  test('is read', () => {
    const path = join(directory, 'config.toml');
    writeFileSync(path, 'userns = "auto"\n');
    expect(readConfig(path)).toEqual({ ...DEFAULTS, userns: 'auto' });
  });

  test('that is not there is the defaults', () => {
    expect(readConfig(join(directory, 'none.toml'))).toEqual(DEFAULTS);
  });

  test('is the one that the environment names', () => {
    const path = join(directory, 'named.toml');
    writeFileSync(path, 'upper-size = "1g"\n');
    const before = process.env['SILT_CONFIG'];
    process.env['SILT_CONFIG'] = path;
    try {
      expect(readConfig().upperSize).toBe('1g');
    } finally {
      // An assignment of undefined would be the text "undefined".
      if (before === undefined) delete process.env['SILT_CONFIG'];
      else process.env['SILT_CONFIG'] = before;
    }
  });

  test('that cannot be read is refused by name', () => {
    expect(refusal(() => readConfig(directory))).toEqual({
      code: 'CONFIG_INVALID',
      message: `cannot read the configuration ${directory}: EISDIR: illegal operation on a directory, read`,
      details: { path: directory },
    });
  });
});
