/** A registry of images on this machine's loopback: it serves what containerd has in its content store. */
import { createServer } from 'node:http';
import { type AddressInfo } from 'node:net';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Containerd } from '../containerd';

export interface Registry {
  /** Such as `127.0.0.1:1234`. */
  readonly address: string;
  close(): void;
}

/** Serves manifests and blobs by their digests (OCI distribution spec, "Pull"), of whatever repository. */
export async function startRegistry({ paths }: Containerd): Promise<Registry> {
  const blobs = join(paths.root, 'io.containerd.content.v1.content/blobs/sha256');
  const server = createServer((request, response) => {
    const digest = /\/(?:manifests|blobs)\/sha256:([0-9a-f]{64})$/.exec(request.url ?? '')?.[1];
    if (digest === undefined || !existsSync(join(blobs, digest))) {
      response.writeHead(request.url === '/v2/' ? 200 : 404).end();
      return;
    }
    const bytes = readFileSync(join(blobs, digest));
    const isManifest = /\/manifests\//.test(request.url ?? '');
    const { mediaType } = (isManifest ? JSON.parse(bytes.toString()) : {}) as { mediaType?: string };
    response.writeHead(200, {
      'content-type': mediaType ?? 'application/octet-stream',
      'content-length': bytes.length,
      'docker-content-digest': `sha256:${digest}`,
    });
    response.end(request.method === 'HEAD' ? undefined : bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { address: `127.0.0.1:${port}`, close: () => server.close() };
}
