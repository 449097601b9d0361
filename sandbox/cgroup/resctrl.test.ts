import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { refusal } from '../../errors/testing/refusal';
import { cgroupEntry } from './cgroup';
import {
  type Directories,
  makeResctrl,
  planResctrl,
  removeResctrl,
  resctrlRoot,
  schemataOf,
  writeSchemata,
} from './resctrl';

/** As /sys/fs/resctrl of a machine with two L3 caches shows them. */
const SCHEMATA = '    L3:0=7ff;1=7ff\n    MB:0= 100;1= 100\n';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'silt-resctrl-'));
  fill(root);
  mkdirSync(join(root, 'info'));
  writeFileSync(join(root, 'info/last_cmd_status'), 'ok\n');
});
afterEach(() => rmSync(root, { recursive: true }));

function fill(group: string): void {
  writeFileSync(join(group, 'schemata'), SCHEMATA);
  writeFileSync(join(group, 'tasks'), '');
  mkdirSync(join(group, 'mon_groups'), { recursive: true });
}

/** The kernel’s: files of a group come and go with its directory. */
const kernels: Directories = {
  mkdir: (path) => {
    mkdirSync(path);
    fill(path);
  },
  rmdir: (path) => rmSync(path, { recursive: true }),
};
const made = (): string[] => readdirSync(root).filter((name) => !['info', 'mon_groups', 'schemata', 'tasks'].includes(name)); // prettier-ignore
const at = (...path: string[]): string => join(root, ...path);
const text = (...path: string[]): string => readFileSync(at(...path), 'utf8');

test('a container has a class of its own, which goes with it', () => {
  const plan = planResctrl({ l3CacheSchema: 'L3:0=f', memBwSchema: 'MB:0=20', schemata: ['L2:0=3'] }, 'web', root);
  expect(plan).toEqual({ path: at('web'), own: true, schemata: ['L3:0=f', 'MB:0=20', 'L2:0=3'] });
  makeResctrl(plan, kernels);
  expect(text('web/schemata')).toBe('L3:0=f\nMB:0=20\nL2:0=3\n');
  removeResctrl(plan, kernels);
  removeResctrl(plan, kernels);
  expect(made()).toEqual([]);
});

test('without schemata its class is what the kernel makes', () => {
  makeResctrl(planResctrl({}, 'web', root), kernels);
  expect(text('web/schemata')).toBe(SCHEMATA);
});

test('a named class is made with what it is to have, and stays', () => {
  const plan = planResctrl({ closID: 'gold', schemata: ['L3:0=f'] }, 'web', root);
  makeResctrl(plan, kernels);
  expect(text('gold/schemata')).toBe('L3:0=f\n');
  removeResctrl(plan, kernels);
  expect(made()).toEqual(['gold']);
});

test.each([
  ['a class that is there is used, and not written to', { closID: 'gold', schemata: ['L3:1=07FF;0=7ff', 'mb:1=100'] }],
  ['a class of a container’s name that is there is not its own', {}],
])('%s', (_, wanted: object) => {
  for (const name of ['gold', 'web']) kernels.mkdir(at(name));
  const plan = planResctrl(wanted, 'web', root);
  makeResctrl(plan, kernels);
  removeResctrl(plan, kernels);
  expect([text('gold/schemata'), text('web/schemata')]).toEqual([SCHEMATA, SCHEMATA]);
});

test.each<[string, object, string, string]>([
  ['a class that has other shares', { closID: 'gold', l3CacheSchema: 'L3:0=f' }, 'SPEC_INVALID', '"L3:0=f"'],
  ['a class that has no such resource', { closID: 'gold', schemata: ['L2:0=f'] }, 'SPEC_INVALID', '"L2:0=f"'],
  ['a class that is not there', { closID: 'silver' }, 'SPEC_INVALID', 'silver'],
])('%s is refused', (_, wanted, code, words) => {
  kernels.mkdir(at('gold'));
  const error = refusal(() => makeResctrl(planResctrl(wanted, 'web', root), kernels));
  expect(error).toMatchObject({ code });
  expect(error.message).toContain(words);
});

test.each([
  ['L3:0=f\nMB:0=10\n', 'MB:0=20', ['L3:0=f', 'MB:0=20']],
  [' mb : 0=10', 'MB:0=20', ['MB:0=20']],
  ['L3:0=f\n\nMB:0=10', '', ['L3:0=f', 'MB:0=10']],
])('of %j beside %j the lines of MB give way', (l3CacheSchema, memBwSchema, lines) => {
  expect(schemataOf({ l3CacheSchema, memBwSchema })).toEqual(lines);
});

test('lines in one text are compared one by one with a class that is there', () => {
  kernels.mkdir(at('gold'));
  const make = (l3CacheSchema: string): void =>
    makeResctrl(planResctrl({ closID: 'gold', l3CacheSchema }, 'web', root), kernels);
  make('L3:0=7ff;1=7ff\nMB:0=100\n');
  expect(refusal(() => make('L3:0=7ff\nMB:0=20\n')).message).toContain('"MB:0=20"');
  expect(refusal(() => make('nothing')).message).toContain('"nothing"');
});

test.each(['info', 'mon_groups', 'mon_data', 'schemata'])('%s is the filesystem’s own, and no class', (name) => {
  mkdirSync(at('mon_data'));
  for (const [closID, id] of [
    [name, 'web'],
    [undefined, name],
  ] as const) {
    const error = refusal(() => planResctrl({ ...(closID && { closID }), schemata: ['L3:0=7ff'] }, id, root));
    expect(error).toMatchObject({ code: 'SPEC_INVALID' });
    expect(error.message).toContain('is no class');
  }
});

test('the class / is that of the whole filesystem', () => {
  const plan = planResctrl({ closID: '/', enableMonitoring: true }, 'web', root);
  expect([plan.path, resctrlRoot(plan), resctrlRoot({ path: at('gold'), own: true })]).toEqual([root, root, root]);
  writeFileSync(at('info/last_cmd_status'), 'No more RMIDs\n');
  const full: Directories = { ...kernels, mkdir: () => { throw Object.assign(new Error('full'), { code: 'ENOSPC' }); } }; // prettier-ignore
  expect(refusal(() => makeResctrl(plan, full)).message).toContain('(No more RMIDs)');
});

test('of two who make one class the second finds it as wanted, and does not write to it', () => {
  const plans = [1, 2].map(() => planResctrl({ closID: 'gold', schemata: ['L3:0=f'] }, 'web', root));
  makeResctrl(plans[0]!, kernels);
  writeFileSync(at('gold/schemata'), 'L3:0=f;1=7ff\n');
  makeResctrl(plans[1]!, kernels);
  expect(text('gold/schemata')).toBe('L3:0=f;1=7ff\n');
  const other = { ...plans[1]!, schemata: ['L3:0=3'] };
  expect(refusal(() => makeResctrl(other, kernels)).message).toContain('"L3:0=3"');
});

test('a class of a container’s own that another has made meanwhile is left alone', () => {
  const plan = planResctrl({}, 'web', root);
  kernels.mkdir(at('web'));
  expect(refusal(() => makeResctrl(plan, kernels)).message).toContain('meanwhile');
  expect(made()).toEqual(['web']);
});

test('it is refused on a host without the filesystem', () => {
  expect(refusal(() => planResctrl({}, 'web', undefined))).toMatchObject({ code: 'HOST_UNSUPPORTED' });
});

test.each(['enableMonitoring', 'enableCMT', 'enableMBM'])('%s counts the container apart', (key) => {
  kernels.mkdir(at('gold'));
  const plan = planResctrl({ closID: 'gold', [key]: true }, 'web', root);
  makeResctrl(plan, kernels);
  expect(existsSync(at('gold/mon_groups/web'))).toBe(true);
  removeResctrl(plan, kernels);
  expect(readdirSync(at('gold/mon_groups'))).toEqual([]);
});

test('its processes write themselves into the class, and then into the group that counts them', () => {
  const resctrl = { path: '/r/gold', own: false, monitor: '/r/gold/mon_groups/web' };
  const directories = [{ version: 1 as const, mountPoint: '/c', controllers: ['pids'], path: '/c/web' }];
  expect(cgroupEntry({ mode: 'v1', directories, resctrl }).files).toEqual([
    '/r/gold/tasks',
    '/r/gold/mon_groups/web/tasks',
    '/c/web/tasks',
  ]);
});

test('what the kernel says of a refusal is told, and nothing is left', () => {
  writeFileSync(at('info/last_cmd_status'), 'Out of CLOSIDs\n');
  const full: Directories = {
    ...kernels,
    mkdir: () => {
      throw Object.assign(new Error('full'), { code: 'ENOSPC' });
    },
  };
  const error = refusal(() => makeResctrl(planResctrl({}, 'web', root), full));
  expect(error).toMatchObject({ code: 'SYSCALL_FAILED', details: { errno: 'ENOSPC' } });
  expect(error.message).toContain('(Out of CLOSIDs)');
});

test('a class is taken back when its shares cannot be written', () => {
  const withoutSchemata: Directories = { ...kernels, mkdir: (path) => mkdirSync(path) };
  const plan = planResctrl({ schemata: ['L3:0=f'] }, 'web', root);
  expect(refusal(() => makeResctrl(plan, withoutSchemata))).toMatchObject({ details: { errno: 'ENOENT' } });
  expect(made()).toEqual([]);
});

test('an update writes what is given', () => {
  const plan = planResctrl({}, 'web', root);
  makeResctrl(plan, kernels);
  writeSchemata(plan, ['L3:0=3', 'MB:1=30']);
  expect(text('web/schemata')).toBe('L3:0=3\nMB:1=30\n');
});
