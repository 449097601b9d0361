import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { refusal } from '../../errors/testing/refusal';
import { gvisorAnnotations, patternOf, refuseAnnotations } from './gvisor-annotations';

const checkout = join(__dirname, '../..');
const example = (name: string): string => name.replace(/<[A-Z]+>/, 'app');

test('docs/compatibility.md has exactly the annotations of the table', () => {
  const text = readFileSync(join(checkout, 'docs', 'compatibility.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `(dev\.gvisor\.[^`]+)` \| (\w+) \| (.+) \|$/gm)];
  expect(rows.map(([, name, effect, why]) => ({ name, effect, why }))).toEqual(gvisorAnnotations);
});

test('what the code reads is honoured by the table, and nothing else is', () => {
  const sources = ['sandbox', 'shim', 'gofer'].flatMap((room) =>
    readdirSync(join(checkout, room), { recursive: true, encoding: 'utf8' }).map((name) => join(room, name)),
  );
  const read = sources
    .filter((name) => /(?<!\.test|\.fixture|gvisor-annotations)\.ts$/.test(name))
    .flatMap((name) => readFileSync(join(checkout, name), 'utf8').match(/(?<=')dev\.gvisor\.[a-z.-]+/g) ?? []);
  const honoured = gvisorAnnotations.filter(({ effect }) => effect === 'honoured').map(({ name }) => name);
  for (const name of read) expect(honoured.filter((one) => one.startsWith(name))).not.toEqual([]);
  for (const name of honoured) expect([name, read.filter((one) => name.startsWith(one))]).not.toEqual([name, []]);
});

test.each(gvisorAnnotations.filter(({ effect }) => effect === 'refused'))(
  '$name is refused by name',
  ({ name, why }) => {
    const given = example(name);
    expect(refusal(() => refuseAnnotations({ other: 'x', [given]: 'y' }))).toMatchObject({
      code: 'SPEC_UNSUPPORTED',
      message: `$.annotations["${given}"] is not supported: ${why}`,
    });
  },
);

test('the others are not', () => {
  const others = gvisorAnnotations.filter(({ effect }) => effect !== 'refused').map(({ name }) => [example(name), 'x']);
  refuseAnnotations({ ...Object.fromEntries(others), 'io.kubernetes.cri.container-type': 'container' } as Record<
    string,
    string
  >);
});

test('a name stands for itself, with anything in its place', () => {
  expect(patternOf('dev.gvisor.spec.mount.<NAME>.type').test('dev.gvisor.spec.mount.my-dir.type')).toBe(true);
  expect(patternOf('dev.gvisor.spec.rootfs.type').test('dev.gvisor.spec.rootfs.typed')).toBe(false);
});
