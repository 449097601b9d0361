import { join } from 'node:path';
import type { Program } from '../../syscall';
import { type ContainerRequest, planContainer } from './plan';
import { podPlan } from '../pod/plan';
import { launchProgram } from '../programs/launch';
import { sandboxProgram } from '../programs/sandbox';
import { podNamespaces } from '../pod/pod';
import type { Workshop } from '../workshop';

/** The programs that starting a bundle as a pod of its own would run, for people to read. Nothing is started or made. */
export function planPrograms(
  workshop: Workshop,
  request: Pick<ContainerRequest, 'id' | 'bundle' | 'spec' | 'rootfs'>,
): Record<'sandbox' | 'container', Program> {
  const { config, state } = workshop;
  const range = [{ containerID: 0, hostID: config.usernsFirstId, size: 65536 }];
  const ids = { uids: range, gids: range };
  const pod = podPlan({ id: request.id, spec: request.spec, config, claimIds: () => ids, joinedIds: ids });
  const plan = planContainer(
    workshop,
    { idMaps: pod.sandbox.idMaps, namespaces: podNamespaces(pod.sandbox) },
    request,
    join(state.containerPath(request.id, request.id), 'rootfs'),
  );
  return { sandbox: sandboxProgram(pod.sandbox), container: launchProgram(plan.launch) };
}
