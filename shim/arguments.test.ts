import { refusal } from '../errors/testing/refusal';
import { parseArguments, type ShimArguments } from './arguments';

const NOTHING: ShimArguments = {
  namespace: '',
  address: '',
  publishBinary: '',
  id: '',
  bundle: process.cwd(),
  socket: '',
  debug: false,
  version: false,
  info: false,
  action: '',
};

test('the command lines of containerd', () => {
  const usual = ['-namespace', 'k8s.io', '-address', '/run/containerd/containerd.sock'];
  const publish = ['-publish-binary', '/usr/bin/containerd'];
  const common = {
    namespace: 'k8s.io',
    address: '/run/containerd/containerd.sock',
    publishBinary: '/usr/bin/containerd',
    id: 'web',
  };
  expect(parseArguments([...usual, ...publish, '-id', 'web', '-debug', 'start'])).toEqual({
    ...NOTHING,
    ...common,
    debug: true,
    action: 'start',
  });
  expect(parseArguments([...usual, ...publish, '-id', 'web', '-bundle', '/run/bundle', 'delete'])).toEqual({
    ...NOTHING,
    ...common,
    bundle: '/run/bundle',
    action: 'delete',
  });
  expect(parseArguments(['-v'])).toEqual({ ...NOTHING, version: true });
  expect(parseArguments(['-info'])).toEqual({ ...NOTHING, info: true });
});

test('the command line of silt’s own server', () => {
  expect(parseArguments(['-namespace', 'n', '-id', 'web', '-socket', '/run/silt/s/1', 'serve'])).toEqual({
    ...NOTHING,
    namespace: 'n',
    id: 'web',
    socket: '/run/silt/s/1',
    action: 'serve',
  });
});

describe('flags as Go’s flag package takes them', () => {
  test.each([
    [['-id', 'web']],
    [['--id', 'web']],
    [['-id=web']],
    [['--id=web']],
    // The last one counts.
    [['-id', 'db', '-id', 'web']],
  ])('%j', (args) => {
    expect(parseArguments(args)).toEqual({ ...NOTHING, id: 'web' });
  });

  test('values may be empty, or hold equals signs and dashes', () => {
    expect(parseArguments(['-id', '', '-namespace=', '-address=a=b', '-publish-binary', 'x-y'])).toEqual({
      ...NOTHING,
      address: 'a=b',
      publishBinary: 'x-y',
    });
  });

  // They become names of directories that the shim removes at its end.
  test.each([
    ['id', ''],
    ['id', '../../other'],
    ['id', 'a/b'],
    ['id', '.'],
    ['id', 'x'.repeat(77)],
    ['namespace', ''],
    ['namespace', '..'],
  ])('a command with the %s %j is refused', (flag, value) => {
    const other = flag === 'id' ? 'namespace' : 'id';
    const parse = (): unknown => parseArguments([`-${flag}=${value}`, `-${other}=fine`, 'serve']);
    expect(parse).toThrow(
      expect.objectContaining({ code: 'REQUEST_INVALID', message: expect.stringContaining(flag) as string }),
    );
  });

  test.each([[['-v']], [['-version']], [['--version']]])('%j asks for the version', (args) => {
    expect(parseArguments(args).version).toBe(true);
  });

  test('without any there is nothing', () => {
    expect(parseArguments([])).toEqual(NOTHING);
  });
});

describe('what is refused', () => {
  test.each<[string, string[], string]>([
    ['an unknown flag', ['-nosuch', 'start'], "Unknown option '--nosuch'"],
    ['a flag without its value', ['start', '-id'], "Option '--id <value>' argument missing"],
    ['a switch with a value', ['-debug=yes'], "Option '--debug' does not take an argument"],
  ])('%s', (_, args, text) => {
    const { code, message } = refusal(() => parseArguments(args));
    expect(code).toBe('REQUEST_INVALID');
    expect(message.startsWith(`containerd-shim-silt-v1: ${text}`)).toBe(true);
  });
});
