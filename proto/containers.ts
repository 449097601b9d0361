/** containerd's service of containers, of which silt is a client. */
import type * as generated from '../build/proto/contracts';
import { contracts } from '../build/proto/contracts';
import { codec } from './codec';

export const getContainerMethod = {
  path: '/containerd.services.containers.v1.Containers/Get',
  request: codec(contracts.GetContainerRequest),
  response: codec(contracts.GetContainerResponse),
} as const;
export type GetContainerResponse = generated.GetContainerResponse;
