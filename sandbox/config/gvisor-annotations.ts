import { SiltError } from '../../errors';

/** What becomes of an annotation of gVisor's. */
export interface GvisorAnnotation {
  /** `<NAME>` stands for anything. */
  readonly name: string;
  readonly effect: 'honoured' | 'ignored' | 'refused';
  /** A sentence for docs/compatibility.md; of a refused one also the end of the error. */
  readonly why: string;
}

const MOUNTS = 'volumes are real mounts, coherent for all who have them';
const FS_CHECKPOINTS = 'there is no /proc/gvisor in which a program could ask for it';
const IMAGES = 'how gVisor’s own checkpoints are written';
const CUDA = 'processes with CUDA are not checkpointed';
const PROGRAM = 'no program is executed around a checkpoint';
const ROOTFS = 'silt mounts no such root filesystem yet';

/**
 * Every annotation that gVisor of August 2026 reads (runsc/specutils, runsc/boot, pkg/shim/v1). What would change what a container is, and
 * is not built, is refused, so that nobody believes to have it. A test holds this table, the code and docs/compatibility.md together.
 */
export const gvisorAnnotations: readonly GvisorAnnotation[] = [
  { name: 'dev.gvisor.tar.rootfs.upper', effect: 'honoured', why: 'the seed, of every container of the pod' },
  { name: 'dev.gvisor.tar.rootfs.upper.<CONTAINER>', effect: 'honoured', why: 'the seed of one container' },
  {
    name: 'dev.gvisor.flag.<FLAG>',
    effect: 'honoured',
    why: 'for the flags that allow-flag-override lists; others are refused',
  },
  { name: 'dev.gvisor.spec.rootfs.source', effect: 'refused', why: ROOTFS },
  { name: 'dev.gvisor.spec.rootfs.type', effect: 'refused', why: ROOTFS },
  { name: 'dev.gvisor.spec.rootfs.overlay', effect: 'refused', why: ROOTFS },
  { name: 'dev.gvisor.spec.rootfs.options', effect: 'refused', why: ROOTFS },
  {
    name: 'dev.gvisor.spec.rootfs.directfs',
    effect: 'ignored',
    why: 'files are the host kernel’s, without a process between',
  },
  { name: 'dev.gvisor.spec.mount.<NAME>.source', effect: 'ignored', why: MOUNTS },
  { name: 'dev.gvisor.spec.mount.<NAME>.type', effect: 'ignored', why: MOUNTS },
  { name: 'dev.gvisor.spec.mount.<NAME>.share', effect: 'ignored', why: MOUNTS },
  { name: 'dev.gvisor.spec.mount.<NAME>.options', effect: 'ignored', why: 'the options of the spec hold' },
  { name: 'dev.gvisor.spec.mount.<NAME>.directfs', effect: 'ignored', why: MOUNTS },
  { name: 'dev.gvisor.empty-dir.<NAME>.force-shared', effect: 'ignored', why: MOUNTS },
  { name: 'dev.gvisor.spec.cgroup-parent', effect: 'refused', why: 'a cgroup is where the spec’s cgroupsPath says' },
  {
    name: 'dev.gvisor.container-name-remap.<ID>',
    effect: 'honoured',
    why: '`from=to`: which container of a saved pod one of another name goes on from',
  },
  { name: 'dev.gvisor.bundle.<NAME>', effect: 'ignored', why: 'bundles are sets of flags of gVisor’s own parts' },
  {
    name: 'dev.gvisor.internal.checkpoint.path',
    effect: 'honoured',
    why: 'of a pod’s first container: where its programs have it saved to',
  },
  {
    name: 'dev.gvisor.internal.checkpoint.enable',
    effect: 'honoured',
    why: 'the programs of this container may ask for a checkpoint, in /dev/gvisor/checkpoint',
  },
  {
    name: 'dev.gvisor.internal.checkpoint.resume',
    effect: 'honoured',
    why: 'of a pod’s first container: it goes on when it has been saved',
  },
  {
    name: 'dev.gvisor.internal.restore.path',
    effect: 'honoured',
    why: 'silt’s own: the checkpoint that the containers of a pod go on from, each by its name',
  },
  {
    name: 'dev.gvisor.internal.restore.background',
    effect: 'honoured',
    why: 'silt’s own: what is restored runs before its memory is there',
  },
  { name: 'dev.gvisor.internal.checkpoint.compression', effect: 'ignored', why: IMAGES },
  { name: 'dev.gvisor.internal.checkpoint.direct', effect: 'ignored', why: IMAGES },
  { name: 'dev.gvisor.internal.checkpoint.exclude-committed-zero-pages', effect: 'ignored', why: IMAGES },
  { name: 'dev.gvisor.internal.checkpoint.cuda-checkpoint-path', effect: 'refused', why: CUDA },
  { name: 'dev.gvisor.internal.checkpoint.cuda-checkpoint-sequential', effect: 'refused', why: CUDA },
  { name: 'dev.gvisor.internal.checkpoint.save-restore-exec-argv', effect: 'refused', why: PROGRAM },
  { name: 'dev.gvisor.internal.checkpoint.save-restore-exec-timeout', effect: 'refused', why: PROGRAM },
  { name: 'dev.gvisor.internal.fscheckpoint.<OPTION>', effect: 'refused', why: FS_CHECKPOINTS },
  {
    name: 'dev.gvisor.internal.cpufeatures',
    effect: 'honoured',
    why: 'the features of the CPU that programs are shown',
  },
  { name: 'dev.gvisor.internal.seccomp.<CONTAINER>', effect: 'ignored', why: 'the profile of the spec always holds' },
  { name: 'dev.gvisor.internal.nvproxy', effect: 'ignored', why: 'devices of the spec are the host’s own' },
  { name: 'dev.gvisor.internal.tpuproxy', effect: 'ignored', why: 'devices of the spec are the host’s own' },
];

const refused = gvisorAnnotations
  .filter(({ effect }) => effect === 'refused')
  .map((row) => ({ ...row, pattern: patternOf(row.name) }));

/** What a name of the table stands for. */
export function patternOf(name: string): RegExp {
  return new RegExp(`^${name.replaceAll('.', '\\.').replace(/<[A-Z]+>/, '.+')}$`);
}

/** @throws SiltError SPEC_UNSUPPORTED for an annotation that asks for what silt cannot do. */
export function refuseAnnotations(annotations: Readonly<Record<string, string>>): void {
  for (const name of Object.keys(annotations)) {
    const row = refused.find(({ pattern }) => pattern.test(name));
    if (!row) continue;
    const message = `$.annotations["${name}"] is not supported: ${row.why}`;
    throw new SiltError('SPEC_UNSUPPORTED', message, { jsonPath: '$.annotations' });
  }
}
