/**
 * The manifests that are shipped and those of docs/kubernetes.md, by the rules of the Kubernetes API reference as far as they use it: a field that is
 * not listed here is a misspelt one, or a new one whose rule is to be added. An API server would drop it silently.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkout, onMachinesContainerd } from '../harness';

// It has no types of its own.
// eslint-disable-next-line @typescript-eslint/no-require-imports
const { loadAll } = require('js-yaml') as { readonly loadAll: (text: string) => unknown[] };

type Rule = (value: unknown, path: string) => string[];
interface Field {
  readonly rule: Rule;
  readonly required: boolean;
}

const must = (rule: Rule): Field => ({ rule, required: true });
const may = (rule: Rule): Field => ({ rule, required: false });
const told = (found: boolean, path: string, what: string): string[] => (found ? [] : [`${path} is not ${what}`]);
const matching =
  (pattern: RegExp, what: string): Rule =>
  (value, path) =>
    told(typeof value === 'string' && pattern.test(value), path, `${what}: ${JSON.stringify(value)}`);
const oneOf =
  (...values: unknown[]): Rule =>
  (value, path) =>
    told(values.includes(value), path, `one of ${values.join(', ')}: ${JSON.stringify(value)}`);
const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const record =
  (fields: Readonly<Record<string, Field>>): Rule =>
  (value, path) => {
    if (!isRecord(value)) return [`${path} is not an object`];
    const unknown = Object.keys(value).filter((key) => !(key in fields));
    const missing = Object.entries(fields).filter(([key, { required }]) => required && !(key in value));
    return [
      ...unknown.map((key) => `${path}.${key} is no field`),
      ...missing.map(([key]) => `${path}.${key} is missing`),
      ...Object.entries(value).flatMap(([key, one]) => fields[key]?.rule(one, `${path}.${key}`) ?? []),
    ];
  };
const list =
  (rule: Rule): Rule =>
  (value, path) =>
    Array.isArray(value)
      ? value.flatMap((one, i) => rule(one, `${path}[${i}]`))
      : [`${path} is not a list: ${JSON.stringify(value)}`];
const map =
  (key: Rule, rule: Rule): Rule =>
  (value, path) =>
    isRecord(value)
      ? Object.entries(value).flatMap(([name, one]) => [...key(name, `${path}'s key`), ...rule(one, `${path}.${name}`)])
      : [`${path} is not an object`];

const name = matching(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, 'a name (RFC 1123)');
const key = matching(/^([a-z0-9.-]+\/)?[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?$/, 'a qualified name');
const label = matching(/^([A-Za-z0-9]([\w.-]*[A-Za-z0-9])?)?$/, 'a label’s value, a string');
const quantity = matching(/^\d+(\.\d+)?(m|[kMGT]|[KMGT]i)?$/, 'a quantity');
const text = matching(/^/, 'a string');
const boolean = oneOf(true, false);
const path = matching(/^\//, 'an absolute path');
/** A host would be one with a dot, a port, or `localhost` before the first slash: images of the reader's own have no home yet. */
const image = matching(
  /^(?![^/]*[.:][^/]*\/)(?!localhost\/)[\w./-]+(:[\w.-]+)?$/,
  'an image without a registry’s host',
);
const resources = map(oneOf('cpu', 'memory'), quantity);
const labels = map(key, label);
const metadata = record({
  name: must(name),
  namespace: may(name),
  labels: may(labels),
  annotations: may(map(key, text)),
});
const container = record({
  name: must(name),
  image: must(image),
  command: may(list(text)),
  securityContext: may(record({ privileged: may(boolean) })),
  resources: may(record({ requests: may(resources), limits: may(resources) })),
  volumeMounts: may(
    list(
      record({
        name: must(name),
        mountPath: must(path),
        mountPropagation: may(oneOf('None', 'HostToContainer', 'Bidirectional')),
      }),
    ),
  ),
});
const hostPathTypes = ['', 'DirectoryOrCreate', 'Directory', 'FileOrCreate', 'File', 'Socket', 'CharDevice'];
const podSpec = record({
  runtimeClassName: may(name),
  nodeSelector: may(labels),
  hostPID: may(boolean),
  automountServiceAccountToken: may(boolean),
  containers: must(list(container)),
  volumes: may(
    list(record({ name: must(name), hostPath: may(record({ path: must(path), type: may(oneOf(...hostPathTypes)) })) })),
  ),
});
const object = (apiVersion: string, fields: Readonly<Record<string, Field>>): Rule =>
  record({ apiVersion: must(oneOf(apiVersion)), kind: must(text), metadata: must(metadata), ...fields });
const kinds: Readonly<Record<string, Rule>> = {
  Namespace: object('v1', {}),
  Pod: object('v1', { spec: must(podSpec) }),
  DaemonSet: object('apps/v1', {
    spec: must(
      record({
        selector: must(record({ matchLabels: must(labels) })),
        template: must(record({ metadata: must(record({ labels: must(labels) })), spec: must(podSpec) })),
      }),
    ),
  }),
  RuntimeClass: object('node.k8s.io/v1', {
    handler: must(name),
    overhead: may(record({ podFixed: must(resources) })),
    scheduling: may(record({ nodeSelector: must(labels) })),
  }),
};

interface Manifest {
  readonly kind: string;
  readonly handler?: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly overhead?: { readonly podFixed: { readonly memory: string } };
  readonly scheduling?: { readonly nodeSelector: Readonly<Record<string, string>> };
  readonly spec?: Partial<PodSpec> & {
    readonly selector?: { readonly matchLabels: object };
    readonly template?: { readonly metadata: { readonly labels: object }; readonly spec: PodSpec };
  };
}
interface PodSpec {
  readonly runtimeClassName?: string;
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly containers: readonly { readonly volumeMounts?: readonly { readonly name: string }[] }[];
  readonly volumes?: readonly { readonly name: string }[];
}

function check(value: unknown): string[] {
  const kind = isRecord(value) && typeof value['kind'] === 'string' ? value['kind'] : '';
  return kinds[kind]?.(value, kind) ?? [`there is no kind ${JSON.stringify(kind)}`];
}

const deploy = join(checkout, 'deploy');
const read = (file: string): string => readFileSync(join(checkout, file), 'utf8');
const shipped = readdirSync(deploy)
  .filter((file) => file.endsWith('.yaml'))
  .map((file) => `deploy/${file}`);
const guide = read('docs/kubernetes.md');
const manifestsOf = (file: string): Manifest[] => loadAll(read(file)) as Manifest[];
const inGuide = [...guide.matchAll(/^```yaml\n([^]*?)^```$/gm)].flatMap(([, block]) => loadAll(block!)) as Manifest[];
const all = [...shipped.flatMap(manifestsOf), ...inGuide];

onMachinesContainerd('every manifest has the fields that its kind has, and no other', () => {
  expect(all.map(({ kind }) => kind).sort()).toEqual(['DaemonSet', 'Namespace', 'Pod', 'RuntimeClass']);
  expect(all.flatMap(check)).toEqual([]);
  return Promise.resolve();
});

onMachinesContainerd('they fit together, and what containerd and the guide call things', () => {
  const one = (kind: string): Manifest => all.find((manifest) => manifest.kind === kind)!;
  const [daemons, runtime, pod] = [one('DaemonSet'), one('RuntimeClass'), one('Pod')];
  expect(daemons.metadata.namespace).toBe(one('Namespace').metadata.name);
  const { selector, template } = daemons.spec!;
  expect(template!.metadata.labels).toMatchObject(selector!.matchLabels);
  const volumes = template!.spec.volumes!.map((volume) => volume.name);
  for (const { volumeMounts = [] } of template!.spec.containers)
    for (const mount of volumeMounts) expect(volumes).toContain(mount.name);
  expect(pod.spec!.runtimeClassName).toBe(runtime.metadata.name);
  for (const file of readdirSync(join(deploy, 'containerd')))
    expect(read(`deploy/containerd/${file}`)).toContain(`runtimes.${runtime.handler}]`);
  for (const selected of [template!.spec.nodeSelector!, runtime.scheduling!.nodeSelector])
    for (const [named, value] of Object.entries(selected)) expect(guide).toContain(`${named}=${value}`);
  return Promise.resolve();
});

onMachinesContainerd('the overhead of a pod is the figure that the guide has measured', () => {
  const { memory } = all.find(({ kind }) => kind === 'RuntimeClass')!.overhead!.podFixed;
  expect(guide).toMatch(new RegExp(`\`overhead\\.podFixed\`[^]{0,120} ${memory}:`));
  return Promise.resolve();
});

onMachinesContainerd('a manifest that is wrong is told by its field', () => {
  const [daemons] = manifestsOf('deploy/installer.yaml').slice(1);
  interface Mutable {
    apiVersion: string;
    metadata?: object;
    spec: { template: { spec: { containers: object[] } } };
  }
  const changed = (change: (manifest: Mutable) => void): string[] => {
    const copy = structuredClone(daemons) as unknown as Mutable;
    change(copy);
    return check(copy);
  };
  expect(changed((one) => Object.assign(one, { apiVersion: 'v1' }))).toEqual([
    'DaemonSet.apiVersion is not one of apps/v1: "v1"',
  ]);
  expect(changed((one) => Object.assign(one.spec, { replicas: 1 }))).toEqual(['DaemonSet.spec.replicas is no field']);
  expect(changed((one) => delete one.metadata)).toEqual(['DaemonSet.metadata is missing']);
  const template = 'DaemonSet.spec.template.spec';
  const inContainer = (fields: object): string[] =>
    changed((one) => Object.assign(one.spec.template.spec.containers[0]!, fields));
  for (const host of ['example.org/silt:1', 'localhost/silt', 'host:5000/silt'])
    expect(inContainer({ image: host })[0]).toContain(`${template}.containers[0].image is not an image without`);
  expect(inContainer({ resources: { requests: { memory: '32MB' } } })[0]).toContain('is not a quantity');
  return Promise.resolve();
});
