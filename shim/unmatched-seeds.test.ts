import { setTimeout as sleep } from 'node:timers/promises';
import { UnmatchedSeeds } from './unmatched-seeds';

const KEY = 'dev.gvisor.tar.rootfs.upper';
const NAME = 'io.kubernetes.cri.container-name';
const pod = { [`${KEY}.web`]: '/seeds/web.tar', [`${KEY}.wbe`]: '/seeds/wbe.tar', [KEY]: '/seeds/all.tar' };

let warnings: string[] = [];
beforeEach(() => (warnings = []));
const watch = (completeMs?: number) => new UnmatchedSeeds((message) => warnings.push(message), completeMs);

const WARNING =
  'the annotation dev.gvisor.tar.rootfs.upper.wbe gives the seed /seeds/wbe.tar to a container that the pod does not have (others it has: log)';

test('tells of a name that no container has, once', () => {
  const seeds = watch();
  seeds.add({ ...pod, 'io.kubernetes.cri.container-type': 'sandbox' });
  seeds.add({ ...pod, [NAME]: 'web' });
  seeds.add({ ...pod, [NAME]: 'log' });
  seeds.report();
  seeds.report();
  expect(warnings).toEqual([WARNING]);
});

test('tells when no container has come for a while', async () => {
  const seeds = watch(20);
  seeds.add({ ...pod, [NAME]: 'web' });
  seeds.add({ ...pod, [NAME]: 'log' });
  for (const until = Date.now() + 10_000; warnings.length === 0 && Date.now() < until;) await sleep(5);
  expect(warnings).toEqual([WARNING]);
});

test('says nothing of a pod that has every container, or no seeds', () => {
  const seeds = watch();
  seeds.add({ [`${KEY}.web`]: '/seeds/web.tar', [NAME]: 'web' });
  seeds.report();
  watch().report();
  expect(warnings).toEqual([]);
});
