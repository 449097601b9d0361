import { parse } from 'smol-toml';
import { refusal } from '../../errors/testing/refusal';
import { addToContainerd, readContainerdRuntime, removeFromContainerd } from './containerd';

const PATH = '/etc/containerd/config.toml';
const silt = { name: 'silt', runtimeType: 'io.containerd.silt.v1' };
const add = (text: string | undefined): string | undefined => addToContainerd(text, PATH, silt);
const remove = (text: string | undefined): string | undefined => removeFromContainerd(text, PATH, 'silt');

/** As Debian's package has it, with what somebody has written into it. */
const DEBIAN = `# ours, do not touch
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni" # not /opt
      conf_dir = "/etc/cni/net.d"
  # where the images are
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
`;
const TABLE = `
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.silt]
  runtime_type = "io.containerd.silt.v1"
  pod_annotations = ["dev.gvisor.*"]
`;

describe('adding to containerd’s configuration', () => {
  test('whose lines end as those of Windows goes on so, there and back', () => {
    const windows = DEBIAN.replaceAll('\n', '\r\n');
    const added = add(windows)!;
    expect(added).toBe(`${DEBIAN}${TABLE}`.replaceAll('\n', '\r\n'));
    expect(remove(added)).toBe(windows);
  });

  test('leaves every line that is there', () => {
    expect(add(DEBIAN)).toBe(DEBIAN + TABLE);
  });

  test.each([
    ['no file', undefined],
    ['an empty file', ''],
  ])('to %s', (_, text) => {
    expect(add(text)).toBe(`version = 2\n${TABLE}`);
  });

  test('a file that does not end with a line’s end', () => {
    expect(add('version = 2')).toBe(`version = 2\n${TABLE}`);
  });

  test.each([3, 4])('of version %d', (version) => {
    expect(add(`version = ${version}\n`)).toBe(
      `version = ${version}\n\n[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.silt]\n  runtime_type = "io.containerd.silt.v1"\n  pod_annotations = ["dev.gvisor.*"]\n`,
    );
  });

  test('twice changes nothing', () => {
    expect(add(add(DEBIAN))).toBeUndefined();
  });

  test('is taken back to the letter', () => {
    expect(remove(add(DEBIAN))).toBe(DEBIAN);
    expect(remove(DEBIAN)).toBeUndefined();
    expect(remove(undefined)).toBeUndefined();
  });

  test('corrects a table that is there, line by line', () => {
    const text = `version = 3
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.silt] # mine
    # the old shim
    runtime_type = 'io.containerd.runc.v2'
    pod_annotations = [
      "a.*", # of a
      "b.*",
    ]
    sandboxer = 'podsandbox'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.silt.options]
    BinaryName = '/usr/bin/x'
`;
    expect(add(text)).toBe(`version = 3
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.silt] # mine
    # the old shim
    runtime_type = "io.containerd.silt.v1"
    pod_annotations = ["a.*","b.*","dev.gvisor.*"]
    sandboxer = 'podsandbox'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.silt.options]
    BinaryName = '/usr/bin/x'
`);
  });

  test('adds a key that is missing in a table that is there', () => {
    const head = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.silt]\n';
    expect(add(`${head}  runtime_type = "io.containerd.silt.v1"\n`)).toBe(
      `${head}  pod_annotations = ["dev.gvisor.*"]\n  runtime_type = "io.containerd.silt.v1"\n`,
    );
  });

  test('writes a name that needs quotes', () => {
    const text = addToContainerd('version = 2\n', PATH, { ...silt, name: 'silt.test' })!;
    expect(readContainerdRuntime(text, PATH, 'silt.test').runtime).toMatchObject({ runtime_type: silt.runtimeType });
  });

  test('keeps the types that JSON has not', () => {
    const text = 'version = 2\n[timeouts]\nat = 2026-11-21T06:00:00Z\n';
    expect(parse(add(text)!)).toMatchObject(parse(text));
  });

  test.each<[string, string, RegExp]>([
    ['no TOML', 'version = \n', /is left as it is: it is not TOML: /],
    ['version 1', '[plugins.cri]\n', /of version 1, .*`containerd config migrate`$/],
    ['a version to come', 'version = 5\n', /of version 5, .* use a newer silt/],
    [
      'runtimes written inline',
      'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\nruntimes = { runc = { runtime_type = "x" } }\n',
      /set by hand: runtime_type = "io.containerd.silt.v1", pod_annotations = \["dev.gvisor.\*"\]/,
    ],
  ])('is refused for %s', (_, text, message) => {
    expect(refusal(() => add(text))).toMatchObject({
      code: 'ENGINE_CONFIG_INVALID',
      message: expect.stringMatching(message) as string,
      details: { path: PATH },
    });
  });
});

describe('removing from containerd’s configuration', () => {
  test('takes the tables below it too, and leaves comments of the next one', () => {
    const head = 'version = 3\n';
    const tail =
      '\n# runc, for the rest\n[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]\n  runtime_type = "x"\n';
    const table =
      '\n[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.silt]\n  runtime_type = "y"\n  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.silt.options]\n    a = 1\n';
    expect(remove(head + table + tail)).toBe(head + tail);
  });

  test('is refused for the default runtime', () => {
    const text = `${add('version = 2\n')}[plugins."io.containerd.grpc.v1.cri".containerd]\n  default_runtime_name = "silt"\n`;
    expect(refusal(() => remove(text))).toMatchObject({
      code: 'ENGINE_CONFIG_INVALID',
      message: `${PATH} is left as it is: silt is the default_runtime_name there; choose another one first`,
    });
  });

  test('is refused for a table that has no header', () => {
    const text =
      'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes]\nsilt = { runtime_type = "x" }\n';
    expect(refusal(() => remove(text)).message).toMatch(/remove \[plugins.* by hand/);
  });
});

test('a string that looks like a header is none', () => {
  const text =
    'version = 2\n[plugins.x]\ntext = """\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.silt]\n"""\n';
  const added = add(text)!;
  expect(added).toBe(text + TABLE);
  expect(refusal(() => remove(added)).code).toBe('ENGINE_CONFIG_INVALID');
});
