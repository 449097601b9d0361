import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packAny, RuncOptions, RuntimeOptions } from '../proto';
import { parseConfig } from '../sandbox';
import { configWithOptions } from './runtime-options';

const operators = parseConfig('userns = "none"\nseed = "copy"', 'config.toml');
const directory = mkdtempSync(join(tmpdir(), 'silt-options-'));
const file = join(directory, 'silt.toml');
writeFileSync(file, 'baseline = "strict"');
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const runtime = (options: Parameters<typeof RuntimeOptions.encode>[0]): ReturnType<typeof packAny> =>
  packAny(RuntimeOptions, options);
const body = (text: string): { configBody: Uint8Array } => ({ configBody: Buffer.from(text) });

test.each([
  ['none', undefined, {}],
  ['runc’s, which say nothing of this', packAny(RuncOptions, { root: '/r' }), {}],
  ['runc’s with SystemdCgroup', packAny(RuncOptions, { systemdCgroup: true }), { cgroupDriver: 'systemd' }],
  ['runc’s with ShimCgroup', packAny(RuncOptions, { shimCgroup: '/a' }), { shimCgroup: '/a' }],
  ['a table with that key', runtime(body('ShimCgroup = "/a"')), { shimCgroup: '/a' }],
  ['a table', runtime(body('baseline = "none"')), { baseline: 'none' }],
  ['a table with runc’s key', runtime(body('SystemdCgroup = true')), { cgroupDriver: 'systemd' }],
  ['a table with runc’s key as it is by default', runtime(body('SystemdCgroup = false')), {}],
  ['a type that silt does not know', { typeUrl: 'x', value: new Uint8Array(1) }, {}],
] as const)('options: %s', (_, options, change) => {
  expect(configWithOptions(operators, options)).toEqual({ ...operators, ...change });
});

test('ConfigPath takes the place of the operator’s file', () => {
  expect(configWithOptions(operators, runtime({ configPath: file }))).toEqual(parseConfig('baseline = "strict"', file));
});

test.each([
  ['a file that is not there', runtime({ configPath: '/nowhere/silt.toml' }), '/nowhere/silt.toml'],
  ['a key that silt does not have', runtime(body('BinaryName = "x"')), 'BinaryName'],
  ['a value of the wrong kind', runtime(body('SystemdCgroup = "yes"')), 'SystemdCgroup must be true or false'],
])('%s is told', (_, options, words) => {
  expect(() => configWithOptions(operators, options)).toThrow(
    expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(words) as string }) as Error,
  );
});
