import { forwardMethod, ForwardRequest, forwardRequest, taskEvents } from './index';

test('topics and type URLs', () => {
  expect(Object.entries(taskEvents).map(([topic, { typeName }]) => [topic, typeName])).toEqual([
    ['/tasks/create', 'containerd.events.TaskCreate'],
    ['/tasks/start', 'containerd.events.TaskStart'],
    ['/tasks/exit', 'containerd.events.TaskExit'],
    ['/tasks/delete', 'containerd.events.TaskDelete'],
    ['/tasks/exec-added', 'containerd.events.TaskExecAdded'],
    ['/tasks/exec-started', 'containerd.events.TaskExecStarted'],
    ['/tasks/oom', 'containerd.events.TaskOOM'],
    ['/tasks/paused', 'containerd.events.TaskPaused'],
    ['/tasks/resumed', 'containerd.events.TaskResumed'],
    ['/tasks/checkpointed', 'containerd.events.TaskCheckpointed'],
  ]);
});

test('an event in its envelope', () => {
  const request = forwardRequest(
    'k8s.io',
    '/tasks/start',
    { containerId: 'web', pid: 300 },
    1_790_000_000_005_000_000n,
  );
  // The fixture of ForwardRequest in fixtures.test.ts, made by protoc.
  expect(Buffer.from(ForwardRequest.encode(request)).toString('hex')).toBe(
    '0a4c0a0b0880f7c4d50610c096b10212066b38732e696f1a0c2f7461736b732f737461727422270a1b' +
      '636f6e7461696e6572642e6576656e74732e5461736b537461727412080a0377656210ac02',
  );
});

test('where events go', () => {
  expect(forwardMethod).toMatchObject({ service: 'containerd.services.events.ttrpc.v1.Events', method: 'Forward' });
});
