import type { SeccompFilter } from '../../oci';
import { type Kernel, ProgramBuilder, setSeccompFilter } from '../../syscall';
import { keepOnly, leaveHostFilesystem } from '../programs/confine';

/**
 * Confines this process, a Node of silt's own that works on what strangers wrote: an empty root, the given capabilities and no others,
 * and a filter. From here on only its fds lead anywhere.
 * @param task what it is confined to, for the error
 */
export function confineNode(
  kernel: Kernel,
  {
    task,
    capabilities,
    filter,
  }: { readonly task: string; readonly capabilities: bigint; readonly filter: SeccompFilter },
): void {
  const p = new ProgramBuilder();
  leaveHostFilesystem(p, 'empty');
  keepOnly(p, capabilities);
  p.step(`confining ${task}`);
  setSeccompFilter(p, filter.bpf, filter.flags);
  kernel.run(p.build());
}
