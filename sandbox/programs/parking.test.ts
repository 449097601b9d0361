import { ProgramBuilder } from '../../syscall';
import { parkUntilStart, type StartGate } from './process';
import { callsIn, sequenceOf } from './testing';

/** What a parked launcher does about whose end it dies with, and when it can be let go. */
function order(gate: StartGate): string[] {
  const p = new ProgramBuilder();
  parkUntilStart(p, gate);
  const calls = callsIn(p.build(), '');
  return sequenceOf(calls, /^(prctl\(PR_SET_PDEATHSIG, \d+|sendmsg\(.*"ready"|read\(<start>|accept4)/).map((call) =>
    call.replace(/\(.*(ready)?.*/, '$1'),
  );
}

test('who is let go by a process that ends then has stopped to die with it before', () => {
  expect(order('socket')).toEqual(['prctl', 'sendmsg', 'read', 'accept4']);
});

test('who is let go by the shim dies with it for ever', () => {
  expect(order('pipe')).toEqual(['sendmsg', 'read']);
});
