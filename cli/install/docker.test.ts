import { refusal } from '../../errors/testing/refusal';
import { addToDocker, type DockerRuntime, removeFromDocker } from './docker';

const PATH = '/etc/docker/daemon.json';
const RUNTIME: DockerRuntime = {
  name: 'silt',
  program: '/usr/local/bin/silt',
  args: [],
  shim: false,
  clobber: true,
  experimental: false,
};
const add = (text: string | undefined, more: Partial<DockerRuntime> = {}): string | undefined =>
  addToDocker(text, PATH, { ...RUNTIME, ...more });
const remove = (text: string | undefined): string | undefined => removeFromDocker(text, PATH, 'silt');

const SOMEBODYS = `{
  "log-driver": "journald",
  "dns": ["10.0.0.1", "10.0.0.2"],
  "runtimes": {
    "runsc": { "path": "/usr/bin/runsc", "runtimeArgs": ["--platform=kvm"] }
  }
}
`;

describe('adding to daemon.json', () => {
  test('leaves every line that is there', () => {
    const added = '    "silt": {\n      "path": "/usr/local/bin/silt"\n    },\n';
    expect(add(SOMEBODYS)).toBe(SOMEBODYS.replace('    "runsc"', `${added}    "runsc"`));
  });

  test.each([
    ['no file', undefined],
    ['an empty file', ''],
    ['an empty object', '{}\n'],
  ])('to %s', (_, text) => {
    expect(add(text)).toBe(
      '{\n    "runtimes": {\n        "silt": {\n            "path": "/usr/local/bin/silt"\n        }\n    }\n}\n',
    );
  });

  test('with tabs where there are tabs', () => {
    expect(add('{\n\t"debug": true\n}\n')).toContain('\n\t"runtimes": {\n\t\t"silt": {\n\t\t\t"path"');
  });

  test('twice changes nothing', () => {
    expect(add(add(SOMEBODYS))).toBeUndefined();
  });

  test('is taken back to what it means', () => {
    expect(JSON.parse(remove(add(SOMEBODYS))!)).toEqual(JSON.parse(SOMEBODYS));
    expect(JSON.parse(remove(add('{"debug":true}'))!)).toEqual({ debug: true });
    expect(remove(SOMEBODYS)).toBeUndefined();
    expect(remove(undefined)).toBeUndefined();
  });

  test('with arguments, or as a shim', () => {
    expect(JSON.parse(add('{}', { args: ['--debug'] })!)).toEqual({
      runtimes: { silt: { path: '/usr/local/bin/silt', runtimeArgs: ['--debug'] } },
    });
    expect(JSON.parse(add('{}', { shim: true, program: 'io.containerd.silt.v1' })!)).toEqual({
      runtimes: { silt: { runtimeType: 'io.containerd.silt.v1' } },
    });
  });

  test('replaces another entry of the name, unless told not to', () => {
    const text = '{"runtimes":{"silt":{"path":"/old"}}}';
    expect(JSON.parse(add(text)!)).toEqual({ runtimes: { silt: { path: '/usr/local/bin/silt' } } });
    expect(add(text, { clobber: false })).toBeUndefined();
  });

  test('sets what runsc’s install sets', () => {
    const text = '{"exec-opts":["native.cgroupdriver=cgroupfs","x=y"]}';
    expect(JSON.parse(add(text, { experimental: true, cgroupDriver: 'systemd' })!)).toMatchObject({
      experimental: true,
      'exec-opts': ['x=y', 'native.cgroupdriver=systemd'],
    });
  });

  test.each<[string, string, RegExp]>([
    ['a comment', '{ // mine\n}', /is left as it is: it is not JSON: /],
    ['what was cut short', '{"runtimes": {', /it is not JSON: /],
    ['a list', '[]', /it is no JSON object/],
    ['runtimes of another kind', '{"runtimes": []}', /its "runtimes" is no JSON object/],
  ])('is refused for %s', (_, text, message) => {
    expect(refusal(() => add(text))).toMatchObject({
      code: 'ENGINE_CONFIG_INVALID',
      message: expect.stringMatching(message) as string,
    });
  });
});

test('the default runtime is not removed', () => {
  const text = '{"default-runtime":"silt","runtimes":{"silt":{"path":"/x"}}}';
  expect(refusal(() => remove(text)).message).toBe(
    `${PATH} is left as it is: silt is the default-runtime there; choose another one first`,
  );
});
