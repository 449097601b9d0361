import { refusal } from '../../errors/testing/refusal';
import { permittedOomScoreAdj } from './oom-score';

const CAP_SYS_RESOURCE = 1n << 24n;
const bound = { ownCapabilities: 0n, ownOomScoreAdj: -5 };
const free = { ownCapabilities: CAP_SYS_RESOURCE, ownOomScoreAdj: -5 };
const clamp = { oomScoreAdj: 'clamp' } as const;

let warnings: string[] = [];
beforeEach(() => (warnings = []));
const warn = (message: string) => warnings.push(message);

const FOUND =
  "$.process.oomScoreAdj: -998 is lower than silt's own -5, which takes CAP_SYS_RESOURCE, and this host does not give it";

test.each([
  ['none', undefined, bound],
  ['silt’s own', -5, bound],
  ['a higher one', 900, bound],
  ['a lower one on a host that permits it', -998, free],
])('%s stays', (_, wanted, host) => {
  expect(permittedOomScoreAdj(wanted, host, { oomScoreAdj: 'strict' }, warn)).toBe(wanted);
  expect(warnings).toEqual([]);
});

test('a lower one becomes silt’s own, and the log says so', () => {
  expect(permittedOomScoreAdj(-998, bound, clamp, warn)).toBe(-5);
  expect(warnings).toEqual([`${FOUND}; it becomes -5`]);
});

test('a lower one is refused where the operator wants that', () => {
  expect(refusal(() => permittedOomScoreAdj(-998, bound, { oomScoreAdj: 'strict' }, warn))).toEqual({
    code: 'HOST_UNSUPPORTED',
    message: `${FOUND}; set restrict_oom_score_adj = true in containerd's configuration, or oom-score-adj = "clamp" in silt's`,
    details: { jsonPath: '$.process.oomScoreAdj' },
  });
});
