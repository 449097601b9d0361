import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type sendUnaryData, Server, ServerCredentials, type ServerUnaryCall, status } from '@grpc/grpc-js';
import type { Spec } from '../oci';
import { getContainerMethod } from '../proto';
import { parseConfig } from '../sandbox';
import { askContainerd, CriWishes } from './cri-wishes';

const NODE = 2;
const config = parseConfig('', '');
const ofType = (type: string, more: object = {}): Spec => ({
  ociVersion: '1.1.0',
  annotations: { 'io.kubernetes.cri.container-type': type },
  ...more,
});
const kubelets = { 'io.kubernetes.pod.name': 'a', 'io.kubernetes.pod.uid': 'b' };

/** What the pod, a container without a profile and one with a profile get. */
async function given(words: object | Error | undefined): Promise<string[]> {
  const warnings: string[] = [];
  const ask = (): Promise<object | undefined> =>
    words instanceof Error ? Promise.reject(words) : Promise.resolve(words);
  const wishes = new CriWishes(ask, { info: () => undefined, warn: (message) => warnings.push(message) });
  const specs = [ofType('sandbox'), ofType('container'), ofType('container', { linux: { seccomp: {} } })];
  const found: string[] = [];
  for (const spec of specs) {
    const { userns, baseline } = await wishes.applyTo(config, spec);
    found.push(`${userns} ${baseline}`);
  }
  return [...found, ...warnings];
}

const quiet = { info: () => undefined, warn: () => undefined };
const defaults = ['auto docker', 'auto docker', 'auto docker'];

describe('what CRI’s client asks for', () => {
  test('no profile is no filter, for containers only', async () => {
    expect(await given({})).toEqual(['auto docker', 'auto none', 'auto docker']);
  });

  test('the host’s users by name are the host’s users', async () => {
    expect(await given({ usersMode: NODE })).toEqual(['none docker', 'none none', 'none docker']);
    expect(await given({ usersMode: 0 })).toEqual(['auto docker', 'auto none', 'auto docker']);
  });

  test.each([
    ['a kubelet says so for every pod, and is not taken at its word', { usersMode: NODE, labels: kubelets }],
    ['without a record there is no wish', undefined],
  ])('%s', async (_, words) => {
    expect(await given(words)).toEqual(defaults);
  });

  test('what cannot be found out is no wish, and told once', async () => {
    expect(await given(new Error('no answer'))).toEqual([...defaults, expect.stringMatching(/kubelet.*: no answer$/)]);
  });

  test('nobody is asked about what is no pod of CRI’s, nor where nothing could change', async () => {
    const ask = jest.fn(() => Promise.resolve({}));
    const wishes = new CriWishes(ask, quiet);
    expect(await wishes.applyTo(config, { ociVersion: '1.1.0' })).toBe(config);
    for (const cgroupsPath of ['/kubepods/burstable/pod1/a', '/a/kubepods', 'kubepods-pod1.slice:cri-containerd:a']) {
      const spec = ofType('sandbox', { linux: { cgroupsPath } });
      expect(await wishes.applyTo(config, spec)).toBe(config);
    }
    expect(await wishes.applyTo(config, ofType('container'))).toBe(config);
    const none = parseConfig('userns = "none"\nbaseline = "none"', '');
    expect(await wishes.applyTo(none, ofType('sandbox'))).toBe(none);
    expect(ask).not.toHaveBeenCalled();
  });

  test('what the operator has tightened stays, and what is granted is logged', async () => {
    const info = jest.fn();
    const wishes = new CriWishes(() => Promise.resolve({ usersMode: NODE }), { ...quiet, info });
    const strict = parseConfig('baseline = "strict"', '');
    expect(await wishes.applyTo(strict, ofType('sandbox'))).toMatchObject({ userns: 'none', baseline: 'strict' });
    expect(await wishes.applyTo(strict, ofType('container'))).toMatchObject({ userns: 'none', baseline: 'strict' });
    expect(info).toHaveBeenCalledWith('userns is none, as CRI’s client asks, which is no kubelet');
  });

  test('a pod without a pause container says it itself', async () => {
    const wishes = new CriWishes(() => Promise.reject(new Error('is not asked')), quiet);
    wishes.learn({ labels: {}, usersMode: NODE });
    expect(await wishes.applyTo(config, { ociVersion: '1.1.0' })).toMatchObject({ userns: 'none', baseline: 'docker' });
    expect(await wishes.applyTo(config, ofType('container'))).toMatchObject({ userns: 'none', baseline: 'none' });
  });
});

describe('containerd’s record of a pod', () => {
  const directory = mkdtempSync(join(tmpdir(), 'silt-wishes-'));
  const socket = join(directory, 's');
  const server = new Server();
  const metadata = {
    Version: 'v1',
    Metadata: {
      ID: 'pod',
      Config: {
        metadata: { name: 'p' },
        labels: { a: 'b' },
        linux: { security_context: { namespace_options: { userns_options: { mode: NODE } } } },
      },
    },
  };

  beforeAll(async () => {
    const { path, request, response } = getContainerMethod;
    const types = {
      path,
      requestStream: false,
      responseStream: false,
      requestDeserialize: (bytes: Buffer) => request.decode(bytes),
      requestSerialize: (message: { id: string }) => Buffer.from(request.encode(message)),
      responseDeserialize: (bytes: Buffer) => response.decode(bytes),
      responseSerialize: (message: object) => Buffer.from(response.encode(message)),
    };
    const get = (call: ServerUnaryCall<{ id: string }, object>, answer: sendUnaryData<object>): void => {
      const { id } = call.request;
      const namespace = call.metadata.get('containerd-namespace')[0];
      if (id === 'silent') return;
      if (namespace !== 'k8s.io') answer({ code: status.NOT_FOUND, details: `no ${id} in ${String(namespace)}` });
      else if (id === 'pod') {
        const value = { typeUrl: 'x', value: Buffer.from(JSON.stringify(metadata)) };
        answer(null, {
          container: { id, extensions: [{ key: 'other' }, { key: 'io.cri-containerd.sandbox.metadata', value }] },
        });
      } else if (id === 'strange') {
        const value = { typeUrl: 'x', value: Buffer.from('{"Version":"v9","metadata":{}}') };
        answer(null, { container: { id, extensions: [{ key: 'io.cri-containerd.sandbox.metadata', value }] } });
      } else answer(null, { container: { id, extensions: [] } });
    };
    server.addService({ Get: types }, { Get: get as never });
    await new Promise((resolve, reject) =>
      server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      ),
    );
  });
  afterAll(() => {
    server.forceShutdown();
    rmSync(directory, { recursive: true });
  });

  test('has the pod’s labels and the mode of its users', async () => {
    expect(await askContainerd(socket, 'k8s.io', 'pod')).toEqual({ labels: { a: 'b' }, usersMode: NODE });
    expect(await askContainerd(`unix://${socket}`, 'k8s.io', 'other')).toBeUndefined();
  });

  test('that cannot be had is an error which says why', async () => {
    await expect(askContainerd(socket, 'elsewhere', 'pod')).rejects.toThrow(
      `/containerd.services.containers.v1.Containers/Get of containerd at ${socket}: no pod in elsewhere`,
    );
    await expect(askContainerd(socket, 'k8s.io', 'strange')).rejects.toThrow(/its record of pod strange has no name/);
    await expect(askContainerd(join(directory, 'none'), 'k8s.io', 'pod')).rejects.toThrow(/ENOENT/);
    await expect(askContainerd(socket, 'k8s.io', 'silent', 50)).rejects.toThrow(/no answer for 50 ms/);
  });
});
