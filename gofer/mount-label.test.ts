import { parseMountOptions } from '../oci';
import { listProgram, ProgramBuilder } from '../syscall';
import { labelMount } from './mount-label';
import { AttachedOverlays } from './overlay';
import { buildRoot } from './root';
import { planRoot } from './plan';
import type { RootPlan } from './root-plan';

const LABEL = 'system_u:object_r:container_file_t:s0:c1,c2';

function planOf(mountLabel: string, attachLayers = false): RootPlan {
  const filesystem = (type: string): { destination: string; type: string; source: string } => ({
    destination: `/${type}`,
    type,
    source: type,
  });
  return planRoot({
    spec: {
      ociVersion: '1.2.0',
      mounts: ['proc', 'sysfs', 'tmpfs', 'mqueue', 'devpts', 'cgroup', 'ext4']
        .map(filesystem)
        .concat({ destination: '/data', type: 'bind', source: '/dir' }),
      linux: { mountLabel, maskedPaths: ['/proc/kcore'] },
    },
    bundle: '/bundle',
    layers: ['/layers/1'],
    ownerOf: () => ({ uid: 0, gid: 0 }),
    upper: { fs: 'fs', work: 'work' },
    overlayVolumes: false,
    cover: false,
    kernel: attachLayers ? [6, 1] : [6, 15],
    mountPoint: '/mount-point',
    idMaps: null,
    placeOf: () => undefined,
    kindOf: () => 'directory',
    viewOf: () => undefined,
    isTmpfs: () => false,
    modeOf: () => undefined,
    cgroup: { directories: [], links: [] },
  });
}

function callsOf(plan: RootPlan): { step: string; call: string }[] {
  const p = new ProgramBuilder();
  const nothing = (): void => undefined;
  buildRoot(p, plan, { sendTerminal: nothing, sendUpper: nothing, beforePivot: nothing });
  return listProgram(p.build());
}

test('what is mounted anew has it as its context, but for what the policy labels; of a volume nothing is labelled', () => {
  const labelled = callsOf(planOf(LABEL)).filter(({ call }) => call.includes(LABEL));
  expect(
    labelled.map(
      ({ step, call }) => `${step}: ${/\$\w+/.exec(call)![0]} ${/"(context|security.selinux)"/.exec(call)![1]}`,
    ),
  ).toEqual([
    // prettier-ignore
    'adding the upper: $overlay_fs context',
    'mounting tmpfs on /tmpfs: $tmpfs_fs context',
    'mounting mqueue on /mqueue: $labelled security.selinux',
    'mounting devpts on /devpts: $devpts_fs context',
    'mounting the container’s cgroup on /cgroup: $tmpfs_fs context',
    'mounting ext4 on /ext4: $ext4_fs context',
    'preparing the empty directory that masks paths: $tmpfs_fs context',
  ]);
});

test('without one nothing is labelled', () => {
  const calls = callsOf(planOf('')).map(({ call }) => call);
  expect(calls.filter((call) => /context"|selinux/.test(call))).toEqual([]);
});

test('mount(2) is told it in quotes, for its commas', () => {
  const p = new ProgramBuilder();
  new AttachedOverlays('/place').make(p, { lowers: [], nodev: false, mountLabel: LABEL });
  const [call] = listProgram(p.build()).flatMap((one) => (one.call.includes(LABEL) ? [one.call] : []));
  expect(call).toContain(`context=\\"${LABEL}\\"`);
  expect(callsOf(planOf(LABEL, true)).filter((one) => one.call.includes('context=')).map(({ step }) => step)).toEqual(['mounting the overlay']); // prettier-ignore
});

test('a context of the mount’s own stays, and is taken out of the quotes in which engines write it', () => {
  const options = parseMountOptions([`context="${LABEL}"`, 'fscontext=a:b:c', 'other="x"']);
  expect(options.data).toEqual([
    { key: 'context', value: LABEL },
    { key: 'fscontext', value: 'a:b:c' },
    { key: 'other', value: '"x"' },
  ]);
  expect(labelMount('tmpfs', options, 'another')).toEqual({ data: [] });
  expect(labelMount('tmpfs', { data: [] }, 'another')).toEqual({ data: [['context', 'another']] });
});

test.each([
  ['defcontext', []],
  ['fscontext', [['context', LABEL]]],
  ['rootcontext', [['context', LABEL]]],
])('beside %s of the mount’s own there is what the kernel takes', (key, data) => {
  expect(labelMount('ext4', { data: [{ key, value: 'a:b:c' }] }, LABEL)).toEqual({ data });
});
