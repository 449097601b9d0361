/** The messages of CRIU's RPC (`criu swrk`), which is protobuf packets on a SOCK_SEQPACKET socket. */
import type * as generated from '../build/proto/contracts';
import { contracts } from '../build/proto/contracts';
import { codec } from './codec';

export { CriuRequestType } from '../build/proto/contracts';

export const CriuRequest = codec(contracts.CriuRequest);
export type CriuRequest = generated.CriuRequest;
export type CriuOptions = generated.CriuOptions;
export const CriuResponse = codec(contracts.CriuResponse);
export type CriuResponse = generated.CriuResponse;
