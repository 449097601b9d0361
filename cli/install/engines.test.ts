import { refusal } from '../../errors/testing/refusal';
import { chooseEngines, type EngineChoice } from './engines';

const both = (): boolean => true;
const none = (): boolean => false;

test.each<[string, EngineChoice, (program: string) => boolean, object]>([
  ['all that there are', {}, both, { docker: '/etc/docker/daemon.json', containerd: '/etc/containerd/config.toml' }],
  ['the one that there is', {}, (name) => name === 'containerd', { containerd: '/etc/containerd/config.toml' }],
  ['the one that is asked for', { docker: true }, both, { docker: '/etc/docker/daemon.json' }],
  ['one that is to come', { containerd: true }, none, { containerd: '/etc/containerd/config.toml' }],
  ['the one whose file is named', { dockerConfig: '/x' }, both, { docker: '/x' }],
  ['both by their files', { dockerConfig: '/x', containerdConfig: '/y' }, none, { docker: '/x', containerd: '/y' }],
])('the configurations of %s', (_, choice, has, expected) => {
  expect(chooseEngines(choice, has)).toEqual(expected);
});

test('no engine at all is an error', () => {
  expect(refusal(() => chooseEngines({}, none))).toMatchObject({ code: 'HOST_UNSUPPORTED' });
});
