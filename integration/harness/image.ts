/**
 * The image that all tests and the demo run: busybox in three layers, built from nothing on the spot, the same bytes each
 * time for the same busybox. The upper layers delete and replace things of the lower ones, so that a runtime which puts the
 * layers together wrongly is seen.
 */
import { existsSync, readFileSync } from 'node:fs';
import { mustRun } from './command';
import { digest, tarArchive, type TarEntry } from './tar-writer';

export const imageName = 'silt.test/busybox:1';

const busyboxPaths = ['/bin/busybox', '/usr/bin/busybox'];

/** The machine's static busybox (Debian's busybox-static). Throws, naming the package, when there is none. */
function readBusybox(): { path: string; bytes: Buffer } {
  const path = busyboxPaths.find((candidate) => existsSync(candidate));
  if (path === undefined) throw new Error('no busybox on this machine: install the Debian package busybox-static');
  const bytes = readFileSync(path);
  // A program header of type PT_INTERP (3) means that it needs a dynamic loader, which the image does not have.
  const headers = Number(bytes.readBigUInt64LE(32));
  for (let index = 0; index < bytes.readUInt16LE(56); index++) {
    if (bytes.readUInt32LE(headers + index * bytes.readUInt16LE(54)) === 3) {
      throw new Error(`${path} is not static: install the Debian package busybox-static`);
    }
  }
  return { path, bytes };
}

function baseLayer(busybox: Buffer, applets: readonly string[]): TarEntry[] {
  const directories = [
    'bin',
    'dev',
    'etc',
    'home',
    'proc',
    'run',
    'root',
    'sys',
    'tmp',
    'usr',
    'var',
    'lower',
    'lower/replaced',
    'lower/kept',
  ];
  return [
    ...directories.map((name): TarEntry => ({
      name: `${name}/`,
      type: 'directory',
      mode: name === 'tmp' ? 0o1777 : 0o755,
    })),
    { name: 'bin/busybox', content: busybox, mode: 0o755 },
    ...applets.map((name): TarEntry => ({ name: `bin/${name}`, type: 'symlink', linkname: 'busybox', mode: 0o777 })),
    { name: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000:guest:/home/guest:/bin/sh\n' },
    { name: 'etc/group', content: 'root:x:0:\nguest:x:1000:\nextra:x:2000:guest\n' },
    { name: 'etc/motd', content: 'first layer\n' },
    { name: 'lower/replaced/from-first-layer', content: 'must not be seen\n' },
    { name: 'lower/deleted-by-image', content: 'must not be seen\n' },
    { name: 'lower/kept/file', content: 'kept from the first layer\n' },
    { name: 'lower/to-delete', content: 'there until a container deletes it\n' },
    { name: 'lower/kept/link', type: 'hardlink', linkname: 'lower/kept/file' },
  ];
}

/** A whiteout, an opaque directory and a changed file, as OCI layers spell them. */
const changeLayer: TarEntry[] = [
  { name: 'etc/', type: 'directory' },
  { name: 'etc/motd', content: 'second layer\n' },
  { name: 'lower/', type: 'directory' },
  { name: 'lower/.wh.deleted-by-image' },
  { name: 'lower/replaced/', type: 'directory' },
  { name: 'lower/replaced/.wh..wh..opq' },
  { name: 'lower/replaced/from-second-layer', content: 'seen\n' },
];

const topLayer: TarEntry[] = [
  { name: 'home/', type: 'directory' },
  { name: 'home/guest/', type: 'directory', uid: 1000, gid: 1000, mode: 0o750 },
  { name: 'home/guest/notes', content: 'third layer\n', uid: 1000, gid: 1000, mode: 0o600 },
  { name: 'etc/not-executable', content: '#!/bin/sh\necho never\n' },
  { name: 'bin/missing-interpreter', content: '#!/no/such/interpreter\n', mode: 0o755 },
  { name: 'bin/not-a-program', content: '\x7fELF, or so it says\n', mode: 0o755 },
];

/** The image, as one tar for `ctr images import`. */
export async function buildImage(): Promise<Buffer> {
  const busybox = readBusybox();
  const listed = (await mustRun([busybox.path, '--list'])).stdout.toString().trim().split('\n');
  const applets = listed.filter((name) => name !== 'busybox').sort();
  return imageLayout(imageName, [baseLayer(busybox.bytes, applets), changeLayer, topLayer], {
    Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
    Cmd: ['sh'],
  });
}

/** An OCI image layout with one image, as a tar. `run` is the `config` of the image's configuration. */
export function imageLayout(name: string, contents: readonly (readonly TarEntry[])[], run: object): Buffer {
  const layers = contents.map(tarArchive);
  const config = json({
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: run,
    rootfs: { type: 'layers', diff_ids: layers.map(digest) },
    history: layers.map((_, index) => ({ created_by: `silt tests, layer ${index + 1}` })),
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: descriptor('application/vnd.oci.image.config.v1+json', config),
    layers: layers.map((layer) => descriptor('application/vnd.oci.image.layer.v1.tar', layer)),
  });
  const index = json({
    schemaVersion: 2,
    manifests: [
      {
        ...descriptor('application/vnd.oci.image.manifest.v1+json', manifest),
        annotations: {
          'io.containerd.image.name': name,
          'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
        },
      },
    ],
  });
  const blobs = new Map([...layers, config, manifest].map((bytes) => [digest(bytes), bytes]));
  return tarArchive([
    { name: 'oci-layout', content: json({ imageLayoutVersion: '1.0.0' }) },
    { name: 'index.json', content: index },
    { name: 'blobs/', type: 'directory' },
    { name: 'blobs/sha256/', type: 'directory' },
    ...[...blobs].map(([name, content]): TarEntry => ({ name: `blobs/${name.replace(':', '/')}`, content })),
  ]);
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function descriptor(mediaType: string, bytes: Buffer): { mediaType: string; digest: string; size: number } {
  return { mediaType, digest: digest(bytes), size: bytes.length };
}
