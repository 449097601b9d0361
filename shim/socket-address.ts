import { join } from 'node:path';

const OFFSET = 0x6c62272e07bb014262b821756295c58dn;
const PRIME = 0x0000000001000000000000000000013bn;
const MASK = (1n << 128n) - 1n;

/**
 * Where the shim of a pod listens: `<root>/s/<hash>`, the hash being 128-bit FNV-1a over containerd's address, the namespace
 * and the pod's id, each followed by a NUL. A path of these names themselves could be longer than the 107 bytes
 * that a socket's address has room for (unix(7)). native/front computes the same.
 */
export function socketPath(root: string, containerdAddress: string, namespace: string, pod: string): string {
  let hash = OFFSET;
  for (const byte of Buffer.from(`${containerdAddress}\0${namespace}\0${pod}\0`)) {
    hash = ((hash ^ BigInt(byte)) * PRIME) & MASK;
  }
  return join(root, 's', hash.toString(16).padStart(32, '0'));
}
