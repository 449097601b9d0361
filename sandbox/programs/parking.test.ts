import { ProgramBuilder } from '../../syscall';
import { parkUntilStart, type StartGate } from './parking';
import { callsIn, sequenceOf } from './testing';

/** What a parked launcher does about whose end it dies with, about signals, and when it can be let go. */
function order(gate: StartGate, filtered: boolean): string[] {
  const p = new ProgramBuilder();
  const parking = parkUntilStart(p, gate);
  parking.wait(filtered);
  parking.finish?.();
  const calls = callsIn(p.build(), '');
  return sequenceOf(
    calls,
    /^(prctl\(PR_SET_PDEATHSIG, \d+|sendmsg\(.*"ready"|read\(<start>|accept4|rt_sigprocmask|signalfd4|ppoll|exit_group)/,
  ).map((call) => call.replace(/\(.*(ready)?.*/, '$1'));
}

const block = ['rt_sigprocmask', 'signalfd4'];
const wait = ['ppoll'];
const end = Array.from({ length: 4 }, () => ['signalfd4', 'ppoll', 'exit_group']).flat();

test('who is let go by a process that ends then has stopped to die with it before', () => {
  const begun = [...block, 'prctl', 'sendmsg', 'read', 'exit_group'];
  expect(order('socket', false)).toEqual([...begun, ...wait, 'accept4', 'rt_sigprocmask', ...end]);
});

test('who is let go by the shim dies with it for ever', () => {
  expect(order('pipe', false)).toEqual([...block, 'sendmsg', ...wait, 'read', 'exit_group', 'rt_sigprocmask', ...end]);
});

test('behind a filter of the spec only the calls are made that start it', () => {
  expect(order('socket', true)).toEqual(['prctl', 'sendmsg', 'read', 'exit_group', 'accept4']);
  expect(order('pipe', true)).toEqual(['sendmsg', 'read', 'exit_group']);
});
