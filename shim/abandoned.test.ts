import { EventEmitter } from 'node:events';
import type { Server } from 'node:net';
import { type AbandonedPod, endWhenAbandoned } from './abandoned';

let listener: EventEmitter & { listening: boolean };
let pod: { empty: boolean; used: boolean; ended: number };
beforeEach(() => {
  jest.useFakeTimers();
  listener = Object.assign(new EventEmitter(), { listening: true });
  pod = { empty: true, used: false, ended: 0 };
  const watched: AbandonedPod = { isEmpty: () => pod.empty, wasUsed: () => pod.used, end: () => pod.ended++ };
  endWhenAbandoned(listener as unknown as Server, watched);
});
afterEach(() => jest.useRealTimers());

function connect(): EventEmitter {
  const socket = new EventEmitter();
  listener.emit('connection', socket);
  return socket;
}

test('a pod to which nobody connects ends after five seconds', () => {
  jest.advanceTimersByTime(4999);
  expect(pod.ended).toBe(0);
  jest.advanceTimersByTime(1);
  expect(pod.ended).toBe(1);
});

test('one with a connection and a container stays, whatever becomes of them one by one', () => {
  const socket = connect();
  pod.used = true;
  pod.empty = false;
  jest.advanceTimersByTime(60_000);
  socket.emit('close');
  jest.advanceTimersByTime(60_000);
  connect();
  pod.empty = true;
  jest.advanceTimersByTime(60_000);
  expect(pod.ended).toBe(0);
});

test('one that is empty ends three seconds after its last connection', () => {
  const [first, second] = [connect(), connect()];
  pod.used = true;
  first.emit('close');
  jest.advanceTimersByTime(60_000);
  second.emit('close');
  jest.advanceTimersByTime(2999);
  expect(pod.ended).toBe(0);
  jest.advanceTimersByTime(1);
  expect(pod.ended).toBe(1);
});

test('one that nothing was asked of in fifteen seconds ends in spite of its connection', () => {
  connect();
  jest.advanceTimersByTime(14_999);
  expect(pod.ended).toBe(0);
  jest.advanceTimersByTime(1);
  expect(pod.ended).toBe(1);
});

test('one that has been closed is left alone', () => {
  listener.emit('close');
  jest.advanceTimersByTime(60_000);
  expect(pod.ended).toBe(0);
});
