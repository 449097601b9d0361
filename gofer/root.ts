import { IF_KNOWN, type MountOptions, sysctlPath } from '../oci';
import {
  AT_FDCWD,
  attach,
  C,
  chdir,
  cloneTree,
  close,
  type Fd,
  fchdir,
  fchownat,
  flags,
  flagsOf,
  fsconfigCreate,
  fsconfigFlag,
  fsconfigReconfigure,
  fsconfigString,
  fsmount,
  fsopen,
  fspick,
  mkdirat,
  mount,
  mountSetattr,
  Named,
  open,
  pivotRoot,
  prctl,
  type ProgramBuilder,
  type Slot,
  symlinkat,
  umount,
  write,
} from '../syscall';
import { makeDeviceLinks, makeDevices } from './devices';
import { UPPER } from './fds';
import { idmapStep } from './idmap-step';
import { makeReadOnly, maskPaths } from './masks';
import { contextData, labelRoot } from './mount-label';
import type { BindStep, CgroupV1Step, FilesystemStep, MountStep, RemountStep, RootPlan } from './root-plan';
import { AttachedOverlays, DetachedOverlays, type Overlays } from './overlay';
import { showOverlayView } from './overlay-view';
import { isWrittenLater, writable } from './late-read-only';
import { mountRoot } from './root-mount';
import { openIfThere, openMounted, openTarget, type Owner } from './target';
import { bindGivenTerminal, makeTerminal } from './terminal';
import { overlayVolume } from './volume-overlay';

/** linux/securebits.h: SECURE_NO_SETUID_FIXUP is bit 2. */
const SECBIT_NO_SETUID_FIXUP = 1 << 2;

/** What the caller adds at points of the building. */
export interface BuildMoments {
  /** With the fd of the pty's master, when the plan has a terminal. */
  readonly sendTerminal: (master: Slot) => void;
  /** With a mount of the uppers that outlives the gofer's; only when the plan attaches layers: the one that it is given goes with those. */
  readonly sendUpper: (upper: Fd) => void;
  /** When the root filesystem is complete at the plan's mount point and the host's is still in place. */
  readonly beforePivot: () => void;
}

/**
 * Adds what the gofer does, from a fresh mount namespace to a root that the pod can be given: the process must be host
 * root in a mount namespace of its own and in the container's pid, ipc, network and cgroup namespaces.
 * @returns the root, mounted at the plan's mount point; for {@link enterRoot}
 */
export function buildRoot(p: ProgramBuilder, plan: RootPlan, moments: BuildMoments): Fd {
  if (plan.userns) createFilesAs(p, plan.owner);
  const shared = cloneShared(p, plan);
  p.step('cutting the gofer’s mounts off from the host’s');
  mount(p, 'none', '/', null, 'MS_REC|MS_SLAVE');
  setSysctls(p, plan.sysctls);
  const uppers = plan.upper === null ? undefined : p.donated(UPPER);
  const overlays = plan.attachLayers ? new AttachedOverlays(plan.mountPoint, uppers) : new DetachedOverlays(uppers);
  const root = mountRoot(p, plan, overlays);
  const context = { root, plan, shared, overlays };
  for (const step of plan.mounts) {
    p.step(`mounting ${describe(step)} on ${step.destination}`);
    p.scope(() => addMount(p, isWrittenLater(step, plan) ? writable(step) : step, context));
  }
  makeDevices(p, root, plan.devices, plan.owner);
  if (plan.deviceLinks) makeDeviceLinks(p, root, plan.owner);
  if (plan.terminal && plan.terminalGiven) {
    p.step('binding the terminal to /dev/console');
    p.scope(() => bindGivenTerminal(p, root, plan.owner));
  } else if (plan.terminal) makeTerminal(p, root, plan.terminal, plan.owner, moments.sendTerminal);
  p.step(`making the working directory ${plan.workingDirectory}`);
  p.scope(() => close(p, openTarget(p, { root, path: plan.workingDirectory, kind: 'directory', owner: plan.owner })));
  for (const { destination } of plan.mounts.filter((step) => isWrittenLater(step, plan))) {
    p.step(`making ${destination} read-only`);
    p.scope(() => close(p, setReadOnly(p, root, destination)));
  }
  maskPaths(p, root, plan.maskedPaths, { overlays, mountLabel: plan.mountLabel });
  makeReadOnly(p, root, plan.readonlyPaths);
  if (plan.readonlyRoot) {
    p.step('making the root filesystem read-only');
    mountSetattr(p, root, { set: C.MOUNT_ATTR_RDONLY });
  }
  if (plan.attachLayers && plan.upper) {
    p.step('handing the upper over');
    p.scope(() => moments.sendUpper(overlays.upperToKeep(p)));
  }
  moments.beforePivot();
  return root;
}

/** The process's root becomes the one that {@link buildRoot} made, and the host's mounts are gone. Closes its fd. */
export function enterRoot(p: ProgramBuilder, plan: RootPlan, root: Fd): void {
  p.step('leaving the host’s filesystem');
  fchdir(p, root);
  pivotRoot(p, '.', '.');
  umount(p, '.');
  chdir(p, '/');
  setRootPropagation(p, plan);
  close(p, root);
}

/** Only of the root itself: every other mount has been given its own propagation by then, and pivot_root refuses a shared one. */
export function setRootPropagation(p: ProgramBuilder, { propagation }: Pick<RootPlan, 'propagation'>): void {
  p.step('setting the propagation of the root filesystem');
  p.call('mount', [p.string('none'), p.string('/'), 0, flagsOf('MS_', propagation.type), 0]);
}

/**
 * For a copy of the mount namespace that belongs to another user namespace: shared mounts are slaves there, of those that they were copied from
 * (mount_namespaces(7)). Those of the spec start peer groups of their own, as with a runtime that mounts in the container’s namespaces. One that a later
 * mount hides is left: at its place is another now, or nothing. Where a symlink of the image, or of a seed, has led the later one there only the kernel
 * knows: then nothing is at the place (the fd is none, EBADF), or a directory on which nothing is mounted (EINVAL).
 */
export function shareAgain(p: ProgramBuilder, { mounts }: Pick<RootPlan, 'mounts'>): void {
  const seen = mounts.filter((step, i) => isShared(step) && !mounts.slice(i + 1).some((later) => hides(later, step)));
  const root = seen.length > 0 ? open(p, '/', 'O_PATH|O_DIRECTORY') : undefined;
  for (const { destination, options } of seen) {
    p.step(`sharing ${destination} again`);
    p.scope(() => {
      const mounted = openIfThere(p, root!, destination, false);
      const types = options.propagation.filter((type) => (type & C.MS_SHARED) !== 0);
      setPropagation(p, mounted, types, HIDDEN);
      close(p, mounted);
    });
  }
}

const HIDDEN = ['EBADF', 'EINVAL'];

function isShared({ options }: MountStep): boolean {
  return options.propagation.some((type) => (type & C.MS_SHARED) !== 0);
}

/** Whether a later mount is at the place of an earlier one, or above it. */
function hides(later: MountStep, { destination }: MountStep): boolean {
  if (later.kind === 'remount') return false;
  return destination === later.destination || destination.startsWith(`${later.destination.replace(/\/$/, '')}/`);
}

/** Clones of host trees, by the steps that mount them. */
type SharedTrees = ReadonlyMap<MountStep, Slot>;

/**
 * The trees in which a mount of the container shall appear on the host too: they are cloned while they are the host's peers, which
 * is over once the gofer's mounts are slaves.
 */
function cloneShared(p: ProgramBuilder, { mounts }: RootPlan): SharedTrees {
  const trees = new Map<MountStep, Slot>();
  for (const step of mounts) {
    if (step.kind !== 'bind' || step.view || step.ofContainer || !isShared(step)) continue;
    p.step(`opening ${step.source} as a peer of the host’s`);
    trees.set(step, cloneBind(p, step));
  }
  return trees;
}

function cloneBind(p: ProgramBuilder, { source, options }: BindStep): Slot {
  return cloneTree(p, AT_FDCWD, source, { recursive: options.recursive, name: 'bind' });
}

/** A clone of what is in the container's own root filesystem. */
function cloneInner(p: ProgramBuilder, root: Fd, { source, options }: BindStep): Slot {
  const opened = openMounted(p, root, source);
  const tree = cloneTree(p, opened, '', { recursive: options.recursive, name: 'bind' });
  close(p, opened);
  return tree;
}

/**
 * What the gofer makes in the container's filesystems (mount points, devices) is the pod's root's: an idmapped filesystem takes no
 * file of an owner that has no id there. It stays host root otherwise: the secure bit keeps setfsuid(2) from dropping capabilities.
 */
function createFilesAs(p: ProgramBuilder, { uid, gid }: Owner): void {
  p.step('creating files as the pod’s root');
  prctl(p, 'PR_SET_SECUREBITS', new Named(SECBIT_NO_SETUID_FIXUP, 'SECBIT_NO_SETUID_FIXUP'));
  p.call('setfsgid', [gid]);
  p.call('setfsuid', [uid]);
}

/**
 * Sysctls of the network, ipc and uts namespaces are written through the host's /proc by a process that is in those
 * namespaces: proc_sys looks up the tables of the caller, not of the mount.
 */
export function setSysctls(p: ProgramBuilder, sysctls: RootPlan['sysctls']): void {
  for (const [key, value] of sysctls) {
    p.step(`setting the sysctl ${key}`);
    p.scope(() => {
      const fd = open(p, sysctlPath(key), 'O_WRONLY');
      write(p, fd, value);
      close(p, fd);
    });
  }
}

function describe(step: MountStep): string {
  if (step.kind === 'filesystem') return step.type;
  if (step.kind === 'remount') return 'other options';
  return step.kind === 'bind' ? step.source : 'the container’s cgroup';
}

/** What mounts are added to and made with. */
interface Building {
  readonly root: Fd;
  readonly plan: RootPlan;
  readonly shared: SharedTrees;
  readonly overlays: Overlays;
}

function addMount(p: ProgramBuilder, step: MountStep, building: Building): void {
  const { root, plan } = building;
  if (step.kind === 'bind') addBind(p, step, building);
  else if (step.kind === 'filesystem') addFilesystem(p, root, step, plan);
  else if (step.kind === 'remount') remount(p, root, step);
  else addCgroupV1(p, root, step, plan);
}

function addFilesystem(p: ProgramBuilder, root: Fd, step: FilesystemStep, plan: RootPlan): void {
  if (step.given !== undefined) {
    place(p, root, step, p.donated(step.given), 'directory', plan);
    return;
  }
  const tree = makeFilesystem(p, step);
  place(p, root, step, tree, 'directory', plan);
  close(p, tree);
}

/** A new filesystem as a step describes it, attached nowhere. The slot gets the fd of its mount. */
export function makeFilesystem(p: ProgramBuilder, step: FilesystemStep): Slot {
  const context = fsopen(p, step.type);
  configure(p, context, step.data);
  fsconfigCreate(p, context);
  const tree = fsmount(p, context, step.options.attrSet, step.type);
  if (step.chown) fchownat(p, tree, '', step.chown.uid, step.chown.gid, 'AT_EMPTY_PATH');
  if (step.rootLabel !== undefined) labelRoot(p, tree, step.rootLabel);
  close(p, context);
  return tree;
}

function configure(p: ProgramBuilder, context: Fd, data: FilesystemStep['data']): void {
  for (const [key, value] of data) {
    if (value === undefined) fsconfigFlag(p, context, key, IF_KNOWN.includes(key) ? { tolerate: ['EINVAL'] } : {});
    else fsconfigString(p, context, key, value);
  }
}

/**
 * Changes the mount at a place: what the options name, and nothing else of it, as mount(8) does. EINVAL: no mount is there.
 */
function remount(p: ProgramBuilder, root: Fd, { destination, data, options }: RemountStep): void {
  const target = openMounted(p, root, destination);
  if (data.length > 0) {
    const context = fspick(p, target);
    configure(p, context, data);
    fsconfigReconfigure(p, context);
    close(p, context);
  }
  const { attrSet: set, attrClear: clear, propagation } = options;
  // With nothing to change still a check that there is a mount.
  mountSetattr(p, target, { set, clear });
  setPropagation(p, target, propagation);
  setRecursiveAttributes(p, target, options);
  close(p, target);
}

function setReadOnly(p: ProgramBuilder, root: Fd, destination: string): Slot {
  const mounted = openMounted(p, root, destination);
  mountSetattr(p, mounted, { set: C.MOUNT_ATTR_RDONLY });
  return mounted;
}

function addBind(p: ProgramBuilder, step: BindStep, { root, plan, shared, overlays }: Building): void {
  const { options, view, idmap } = step;
  const tree =
    view && idmap
      ? showOverlayView(p, view, p.donated(idmap.userns), overlays)
      : (shared.get(step) ?? (step.ofContainer ? cloneInner(p, root, step) : cloneBind(p, step)));
  if (idmap && !view) {
    p.step(idmapStep(step.source));
    const attributes = { userns: p.donated(idmap.userns), recursive: idmap.recursive };
    mountSetattr(p, tree, attributes, '', idmap.optional ? { tolerate: ['EINVAL'] } : {});
    p.step(`mounting ${describe(step)} on ${step.destination}`);
  }
  if (options.attrSet !== 0 || options.attrClear !== 0)
    mountSetattr(p, tree, { set: options.attrSet, clear: options.attrClear });
  const shown =
    step.overlay === undefined
      ? tree
      : overlayVolume(p, tree, { step, name: step.overlay, userns: plan.userns, overlays });
  if (shown !== tree && options.attrSet !== 0) mountSetattr(p, shown, { set: options.attrSet });
  place(p, root, step, shown, step.directory ? 'directory' : 'file', plan);
  close(p, tree);
  if (shown !== tree) close(p, shown);
}

/** runc shows a v1 host's cgroups as a tmpfs with a bind mount per hierarchy; programs look for exactly that. */
function addCgroupV1(p: ProgramBuilder, root: Fd, step: CgroupV1Step, plan: RootPlan): void {
  const context = fsopen(p, 'tmpfs');
  configure(p, context, [['mode', '755'], ...contextData(plan.mountLabel)]);
  fsconfigCreate(p, context);
  const tmpfs = fsmount(p, context, step.options.attrSet & ~C.MOUNT_ATTR_RDONLY, 'cgroups');
  place(p, root, step, tmpfs, 'directory', plan);
  for (const { name, hostPath } of step.view.directories) {
    p.step(`mounting the cgroup ${hostPath} on ${step.destination}/${name}`);
    p.scope(() => {
      const tree = cloneTree(p, AT_FDCWD, hostPath, { name: 'cgroup' });
      mountSetattr(p, tree, { set: step.options.attrSet });
      mkdirat(p, tmpfs, name, 0o755, { tolerate: ['EEXIST'] });
      const target = p.slot('target');
      p.call('openat', [tmpfs, p.string(name), flags('O_PATH|O_DIRECTORY|O_CLOEXEC'), 0], { out: target });
      attach(p, tree, target);
      close(p, target);
      close(p, tree);
    });
  }
  for (const { name, target } of step.view.links) symlinkat(p, target, tmpfs, name, { tolerate: ['EEXIST'] });
  if (step.options.attrSet & C.MOUNT_ATTR_RDONLY) mountSetattr(p, tmpfs, { set: C.MOUNT_ATTR_RDONLY });
  close(p, tmpfs);
}

/**
 * Attaches a finished mount at its destination and gives it the propagation that the spec asks for: its own, or that of
 * `rootfsPropagation` when it is one of the recursive kinds. Without either, a bind mount stays a slave of the host's.
 */
function place(
  p: ProgramBuilder,
  root: Fd,
  step: MountStep,
  tree: Fd,
  kind: 'directory' | 'file',
  plan: RootPlan,
): void {
  const target = openTarget(p, { root, path: step.destination, kind, owner: plan.owner });
  attach(p, tree, target);
  const inherited = plan.propagation.recursive ? [plan.propagation.type | C.MS_REC] : [];
  setPropagation(p, tree, step.options.propagation.length > 0 ? step.options.propagation : inherited);
  setRecursiveAttributes(p, tree, step.options);
  close(p, target);
}

function setPropagation(p: ProgramBuilder, tree: Fd, types: readonly number[], tolerate: readonly string[] = []): void {
  for (const type of types) {
    const attributes = { propagation: type & ~C.MS_REC, recursive: (type & C.MS_REC) !== 0 };
    mountSetattr(p, tree, attributes, '', { tolerate });
  }
}

function setRecursiveAttributes(
  p: ProgramBuilder,
  tree: Fd,
  { recursiveAttrSet: set, recursiveAttrClear: clear }: MountOptions,
): void {
  if (set !== 0 || clear !== 0) mountSetattr(p, tree, { set, clear, recursive: true });
}
