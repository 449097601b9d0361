/**
 * `linux.mountLabel`: SELinux's label for what is mounted anew for a container, where runc gives it (mountToRootfs in its rootfs_linux.go). As the
 * filesystem's `context` it is the label of every file of it, whatever is stored with the files (selinux, "Mount options").
 */
import type { MountOptions } from '../oci';
import { close, type Fd, openat, type ProgramBuilder } from '../syscall';

/** What is in these is labelled by the policy of the host. */
const OF_THE_POLICY: readonly string[] = ['proc', 'sysfs', 'cgroup', 'cgroup2'];
/** Not told by a parameter, but set on the root directory, in which new queues take after it. */
const BY_ATTRIBUTE: readonly string[] = ['mqueue'];

export interface LabelledMount {
  /** For fsconfig(2). */
  readonly data: readonly (readonly [key: string, value: string])[];
  /** For {@link labelRoot}. */
  readonly rootLabel?: string;
}

/** The kernel takes no `context` beside these, and does beside `fscontext` and `rootcontext` (selinux_add_opt in security/selinux/hooks.c). */
const EXCLUDING: readonly string[] = ['context', 'defcontext'];

/** How a new filesystem gets the label. One that its own options give a context, or files without a label one, keeps that. */
export function labelMount(
  type: string,
  { data }: Pick<MountOptions, 'data'>,
  label: string | undefined,
): LabelledMount {
  if (label === undefined || OF_THE_POLICY.includes(type)) return { data: [] };
  if (BY_ATTRIBUTE.includes(type)) return { data: [], rootLabel: label };
  return { data: data.some(({ key }) => EXCLUDING.includes(key)) ? [] : contextData(label) };
}

export function contextData(label: string | undefined): (readonly [key: string, value: string])[] {
  return label === undefined ? [] : [['context', label]];
}

/** Labels the root directory of a mount that is attached nowhere yet. */
export function labelRoot(p: ProgramBuilder, mount: Fd, label: string): void {
  const root = p.slot('labelled');
  openat(p, mount, '.', 'O_RDONLY|O_DIRECTORY', { out: root });
  p.call('fsetxattr', [root, p.string('security.selinux'), p.string(label), Buffer.byteLength(label), 0]);
  close(p, root);
}
