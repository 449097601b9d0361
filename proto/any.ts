/**
 * google.protobuf.Any as containerd uses it.
 *
 * Its Go package typeurl puts the bare message name into type_url (`containerd.events.TaskCreate`), no `type.googleapis.com/`
 * in front; protobuf's own libraries put that in front, and readers accept both. The OCI spec's types are no
 * messages: they have a URL of their own and their value is JSON.
 */
import type { Any } from '../build/proto/contracts';
import { SiltError } from '../errors';
import type { Codec, Draft } from './codec';

/** Type URLs of the OCI spec's types; the values are JSON. */
export const specTypeUrls = {
  spec: 'types.containerd.io/opencontainers/runtime-spec/1/Spec',
  process: 'types.containerd.io/opencontainers/runtime-spec/1/Process',
  linuxResources: 'types.containerd.io/opencontainers/runtime-spec/1/LinuxResources',
  features: 'types.containerd.io/opencontainers/runtime-spec/1/features/Features',
} as const;
export type SpecType = keyof typeof specTypeUrls;

/** Packs a message. */
export function packAny<T>(codec: Codec<T>, message: Draft<T>): Any {
  return { typeUrl: codec.typeName, value: codec.encode(message) };
}

/** Whether `any` holds a message of this type name, with or without a host in front of it. */
export function isAny(any: Any, typeName: string): boolean {
  return any.typeUrl === typeName || any.typeUrl.endsWith(`/${typeName}`);
}

/** The message in `any`, or undefined if it holds another type. Raises REQUEST_INVALID if the bytes are malformed. */
export function unpackAny<T>(codec: Codec<T>, any: Any | undefined): T | undefined {
  return any !== undefined && isAny(any, codec.typeName) ? codec.decode(any.value) : undefined;
}

/** Packs one of the OCI spec's types. */
export function packSpec(type: SpecType, value: object): Any {
  return { typeUrl: specTypeUrls[type], value: new TextEncoder().encode(JSON.stringify(value)) };
}

/** The JSON text in `any`, unchecked. Raises REQUEST_INVALID for another type. */
export function specText(type: SpecType, any: Any | undefined): string {
  const wanted = specTypeUrls[type];
  if (any?.typeUrl !== wanted) {
    throw new SiltError('REQUEST_INVALID', `cannot read ${type}: type URL is "${any?.typeUrl ?? ''}", not "${wanted}"`);
  }
  return Buffer.from(any.value).toString();
}
