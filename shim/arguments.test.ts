import { refusal } from '../errors/testing/refusal';
import { parseArguments, type ShimArguments } from './arguments';

const NOTHING: ShimArguments = {
  namespace: '',
  address: '',
  publishBinary: '',
  id: '',
  bundle: process.cwd(),
  socket: '',
  server: '',
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

test('a server takes the words of a start that went through Node', () => {
  expect(parseArguments(['-namespace', 'n', '-id', 'web', '-pod', 'web', 'serve'])).toEqual({
    ...NOTHING,
    namespace: 'n',
    id: 'web',
    action: 'serve',
  });
});

test('the command line of silt’s own server', () => {
  expect(
    parseArguments([
      '-namespace',
      'n',
      '-id',
      'web',
      '-socket',
      '/run/silt/s/1',
      '-server',
      '/run/silt/s/2.2',
      'serve',
    ]),
  ).toEqual({
    ...NOTHING,
    namespace: 'n',
    id: 'web',
    socket: '/run/silt/s/1',
    server: '/run/silt/s/2.2',
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

describe('ids and namespaces become names of directories, which the shim removes at its end', () => {
  const parse = (namespace: string, id: string) => parseArguments([`-namespace=${namespace}`, `-id=${id}`, 'start']);

  test.each(['web', 'A1', 'a-b_c.d', '0123456789abcdef'.repeat(4), 'x'.repeat(76)])('%s is one', (name) => {
    expect([parse('default', name).id, parse(name, 'web').namespace]).toEqual([name, name]);
  });

  test.each(['', '.', '..', 'a/b', '../a', 'a..b', '-a', 'a-', 'a b', 'ä', 'a\n', 'x'.repeat(77)])(
    '%j is none',
    (name) => {
      const rule = `must be letters and digits with single . _ - between them, at most 76 characters, not ${JSON.stringify(name)}`;
      expect(refusal(() => parse('default', name))).toMatchObject({ code: 'REQUEST_INVALID', message: `-id ${rule}` });
      expect(refusal(() => parse(name, 'web'))).toMatchObject({
        code: 'REQUEST_INVALID',
        message: `-namespace ${rule}`,
      });
    },
  );
});
