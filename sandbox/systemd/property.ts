import type { Value } from './wire';

/** A property of a unit as the calls of systemd's manager take it: `(sv)`. */
export type Property = readonly [name: string, variant: { readonly signature: string; readonly value: Value }];

export function property(name: string, signature: string, value: Value): Property {
  return [name, { signature, value }];
}
