import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Server, unary } from 'ttrpc';
import { Any, type ForwardRequest, forwardMethod, taskEvents, unpackAny } from '../proto';
import { Publisher, type PublisherOptions } from './publisher';

const home = mkdtempSync(join(tmpdir(), 'silt-events-'));
const socket = join(home, 'containerd.ttrpc');
afterAll(() => rmSync(home, { recursive: true }));

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  jest.restoreAllMocks();
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** containerd, as far as events go: notes what arrives, and answers as `answer` does. */
async function startContainerd(answer: (request: ForwardRequest) => Promise<void> | void = () => undefined) {
  const arrived: ForwardRequest[] = [];
  const server = new Server();
  const forward = unary(forwardMethod, async (request: ForwardRequest) => {
    arrived.push(request);
    await answer(request);
    return {};
  });
  server.register(forwardMethod.service, { [forwardMethod.method]: forward });
  rmSync(socket, { force: true });
  const listener = createServer();
  listener.listen(socket);
  await server.serve(listener);
  cleanUps.push(() => server.close());
  return { arrived, stop: () => server.close() };
}

function publisherOf(options: Partial<PublisherOptions> = {}) {
  const errors: string[] = [];
  const publisher = new Publisher({
    namespace: 'k8s.io',
    ttrpcAddress: socket,
    address: '/run/containerd/containerd.sock',
    publishBinary: '/nonexistent/containerd',
    onError: (message) => errors.push(message),
    ...options,
  });
  cleanUps.push(() => publisher.close(0));
  return { publisher, errors };
}

const publish = (publisher: Publisher, ...ids: string[]): void => {
  for (const id of ids) publisher.publish('/tasks/oom', { containerId: id });
};

const idIn = (event: Any | null | undefined): string | undefined =>
  unpackAny(taskEvents['/tasks/oom'], event ?? undefined)?.containerId;
const idOf = (request: ForwardRequest): string | undefined => idIn(request.envelope?.event);
const idsOf = (requests: readonly ForwardRequest[]): (string | undefined)[] => requests.map(idOf);

async function until(condition: () => boolean): Promise<void> {
  for (let round = 0; round < 400 && !condition(); round++) await sleep(5);
  expect(condition()).toBe(true);
}

test('an event arrives in containerd’s envelope', async () => {
  const { arrived } = await startContainerd();
  const { publisher } = publisherOf();
  const before = Date.now();
  publisher.publish('/tasks/start', { containerId: 'web', pid: 42 });
  await publisher.close(2000);
  expect(arrived).toHaveLength(1);
  const { namespace, topic, timestamp, event } = arrived[0]!.envelope!;
  expect([namespace, topic, event?.typeUrl]).toEqual(['k8s.io', '/tasks/start', 'containerd.events.TaskStart']);
  expect(unpackAny(taskEvents['/tasks/start'], event)).toMatchObject({ containerId: 'web', pid: 42 });
  const seconds = Number(timestamp?.seconds);
  expect(seconds).toBeGreaterThanOrEqual(Math.floor(before / 1000));
  expect(seconds).toBeLessThanOrEqual(Date.now() / 1000);
});

test('events arrive in the order in which they were published, one at a time', async () => {
  let running = 0;
  let most = 0;
  const { arrived } = await startContainerd(async () => {
    most = Math.max(most, ++running);
    await sleep(1);
    running--;
  });
  const { publisher, errors } = publisherOf();
  const ids = Array.from({ length: 20 }, (_, i) => `c${i}`);
  publish(publisher, ...ids.slice(0, 15));
  await until(() => arrived.length > 3);
  publish(publisher, ...ids.slice(15));
  await publisher.close(2000);
  expect(idsOf(arrived)).toEqual(ids);
  expect([most, errors]).toEqual([1, []]);
});

test('while containerd is away events wait, and then come in their order', async () => {
  rmSync(socket, { force: true });
  const { publisher, errors } = publisherOf();
  publish(publisher, 'first');
  await until(() => errors.length > 0);
  publish(publisher, 'second');
  const { arrived } = await startContainerd();
  publish(publisher, 'third');
  await until(() => arrived.length === 3);
  expect(idsOf(arrived)).toEqual(['first', 'second', 'third']);
  // One complaint, not one for each attempt.
  expect(errors).toEqual([expect.stringMatching(/^cannot publish \/tasks\/oom: cannot connect to .*: connect ENOENT/)]);
});

test('an event that containerd refuses is tried again before any newer one', async () => {
  let refusals = 3;
  const { arrived } = await startContainerd((request) => {
    if (idOf(request) === 'b' && refusals-- > 0) throw new Error('not now');
  });
  const { publisher, errors } = publisherOf();
  publish(publisher, 'a', 'b', 'c');
  await publisher.close(4000);
  expect(idsOf(arrived)).toEqual(['a', 'b', 'b', 'b', 'b', 'c']);
  expect(errors).toEqual([expect.stringContaining('cannot publish /tasks/oom: ')]);
});

test('a containerd that is restarted gets what the old one did not answer', async () => {
  const first = await startContainerd(async (request) => {
    // The connection goes while the event is on its way.
    if (idOf(request) === 'b') await first.stop();
  });
  const { publisher } = publisherOf();
  publish(publisher, 'a', 'b', 'c');
  await until(() => first.arrived.length === 2);
  const second = await startContainerd();
  await publisher.close(4000);
  expect([idsOf(first.arrived), idsOf(second.arrived)]).toEqual([
    ['a', 'b'],
    ['b', 'c'],
  ]);
});

test('beyond what is kept the oldest events go, and none besides', async () => {
  let letGo = (): void => undefined;
  const hold = new Promise<void>((resolve) => (letGo = resolve));
  const { arrived } = await startContainerd(() => hold);
  const { publisher } = publisherOf();
  const ids = Array.from({ length: 4098 }, (_, i) => `c${i}`);
  publish(publisher, ids[0]!);
  await until(() => arrived.length === 1);
  // 4096 are kept, the one that is on its way among them. Two more push out the two oldest; one of those is out already.
  publish(publisher, ...ids.slice(1));
  letGo();
  await publisher.close(4000);
  expect(idsOf(arrived)).toEqual([ids[0], ...ids.slice(2)]);
});

test('an event that is published in the very moment in which the last one is done is sent too', async () => {
  // Every number of promise steps between the answer and the next event.
  for (let steps = 0; steps < 12; steps++) {
    const { publisher } = publisherOf();
    const sent: (string | undefined)[] = [];
    jest.spyOn(Client, 'connect').mockResolvedValue({
      call: (_: unknown, request: ForwardRequest) => {
        sent.push(idOf(request));
        const answer = Promise.resolve({});
        let step = answer.then(() => undefined);
        for (let i = 0; i < steps; i++) step = step.then(() => undefined);
        void step.then(() => {
          if (sent.length === 1) publish(publisher, 'b');
        });
        return answer;
      },
      close: () => Promise.resolve(),
    } as unknown as Client);
    publish(publisher, 'a');
    await new Promise(setImmediate);
    expect([steps, sent]).toEqual([steps, ['a', 'b']]);
  }
});

describe('closing', () => {
  test('waits until everything is out', async () => {
    const { arrived } = await startContainerd(() => sleep(5));
    const { publisher } = publisherOf();
    publish(publisher, 'a', 'b', 'c');
    await publisher.close(2000);
    expect(idsOf(arrived)).toEqual(['a', 'b', 'c']);
  });

  test('gives up after the time that it is given', async () => {
    rmSync(socket, { force: true });
    const { publisher } = publisherOf();
    publish(publisher, 'a');
    const start = performance.now();
    await publisher.close(30);
    expect(performance.now() - start).toBeGreaterThanOrEqual(29);
    expect(performance.now() - start).toBeLessThan(1000);
    // From then on nothing is tried any more.
    const { arrived } = await startContainerd();
    await sleep(60);
    expect(arrived).toEqual([]);
  });

  test('without anything published is done at once', async () => {
    const { publisher } = publisherOf();
    await expect(publisher.close(60_000)).resolves.toBeUndefined();
  });
});

const log = join(home, 'published');
const binary = join(home, 'containerd');
const script = (body: string): void => writeFileSync(binary, `#!/bin/sh\n${body}\n`, { mode: 0o755 });

test('where the ttrpc socket has no events service, the publish binary takes the event', async () => {
  const server = new Server();
  rmSync(socket, { force: true });
  await server.serve(createServer().listen(socket));
  cleanUps.push(() => server.close());
  script(`cat > ${log}.instead`);
  const { publisher, errors } = publisherOf({ publishBinary: binary });
  publish(publisher, 'a');
  await publisher.close(4000);
  expect(idIn(Any.decode(readFileSync(`${log}.instead`)))).toBe('a');
  expect(errors).toHaveLength(1);
});

describe('without a ttrpc address', () => {
  test('each event goes through containerd’s own publisher, on its stdin', async () => {
    script(`echo "$*" >> ${log}.args; cat > ${log}.$(wc -l < ${log}.args)`);
    const { publisher, errors } = publisherOf({ ttrpcAddress: '', publishBinary: binary });
    publish(publisher, 'a', 'b');
    await publisher.close(4000);
    expect(errors).toEqual([]);
    const args = '--address /run/containerd/containerd.sock publish --topic /tasks/oom --namespace k8s.io';
    expect(readFileSync(`${log}.args`, 'utf8')).toBe(`${args}\n${args}\n`);
    const events = [1, 2].map((n) => Any.decode(readFileSync(`${log}.${n}`)));
    expect(events.map(idIn)).toEqual(['a', 'b']);
  });

  test('a publisher that fails is tried again', async () => {
    script(`cat > /dev/null; echo x >> ${log}.tries; test $(wc -l < ${log}.tries) -ge 2`);
    const { publisher, errors } = publisherOf({ ttrpcAddress: '', publishBinary: binary });
    publish(publisher, 'a');
    await publisher.close(4000);
    expect(readFileSync(`${log}.tries`, 'utf8')).toBe('x\nx\n');
    expect(errors).toEqual([`cannot publish /tasks/oom: ${binary} ended with 1`]);
  });

  test('one that is not there is named', async () => {
    const { publisher, errors } = publisherOf({ ttrpcAddress: '' });
    publish(publisher, 'a');
    await until(() => errors.length === 1);
    expect(errors[0]).toBe('cannot publish /tasks/oom: spawn /nonexistent/containerd ENOENT');
  });
});
