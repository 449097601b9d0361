/** Random trees, random changes in a real container: what it shows is what one shows that starts from its snapshot, and what GNU tar reads. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { containerdSuite, mustRun, readTar, runCommand, siltProgram, siltTest, tarArchive, taskPid, type Containerd, type ReadEntry, type TarEntry } from '../harness'; // prettier-ignore

const annotation = 'dev.gvisor.tar.rootfs.upper';

/** The same numbers in every run. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

type Random = ReturnType<typeof random>;

/** Stands for a byte that no UTF-8 has. */
const RAW = '\u{f8ff}';
const NAMES = ['a', 'b', 'c d', 'é', '-x', 'n'.repeat(120), 'm'.repeat(255), '\u{1f600}', 'q"uote', 'new\nline', 'back\\slash', 'a*', `r${RAW}w`]; // prettier-ignore
const bytes = (name: string): Buffer => Buffer.from(Buffer.from(name).toString('latin1').replaceAll('\xef\xa3\xbf', '\xff'), 'latin1'); // prettier-ignore

/** Attributes of files: a note, an ACL (linux/posix_acl_xattr.h: owner, user 1000, group, mask, others), a capability (linux/capability.h). */
const ATTRIBUTES: readonly Readonly<Record<string, Buffer>>[] = [
  { 'user.note': Buffer.from([0xff, 0, 0x0a]), 'user.key=with%': Buffer.from('x') },
  {
    'system.posix_acl_access': Buffer.from(
      '02000000' +
        '01000600ffffffff' +
        '02000400e8030000' +
        '04000400ffffffff' +
        '10000400ffffffff' +
        '20000000ffffffff',
      'hex',
    ),
  },
  { 'security.capability': Buffer.from('0100000200040000000000000000000000000000', 'hex') },
];
const asRecords = (attributes: Readonly<Record<string, Buffer>>): Record<string, Buffer> =>
  Object.fromEntries(Object.entries(attributes).map(([key, value]) => [`SCHILY.xattr.${key.replaceAll('%', '%25').replaceAll('=', '%3D')}`, value])); // prettier-ignore
const pick = <T>(from: readonly T[], next: Random): T => from[next(from.length)]!;

/** A file of GNU's sparse format 1.0 (the tar manual, "PAX 1"): runs of data, and what lies between them is holes. */
function sparseEntry(name: Buffer, next: Random): Pick<TarEntry, 'name' | 'content' | 'pax'> {
  const runs = Array.from({ length: next(4) }, (_, i) => ({ offset: i * 200_000 + next(90) * 1024, data: Buffer.alloc(1 + next(30_000), pick(NAMES, next)) })); // prettier-ignore
  const size = 800_000 + next(2_000_000);
  const map = Buffer.from(`${[runs.length + 1, ...runs.flatMap(({ offset, data }) => [offset, data.length]), size, 0].join('\n')}\n`); // prettier-ignore
  const pax = { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': name, 'GNU.sparse.realsize': `${size}` }; // prettier-ignore
  const content = Buffer.concat([map, Buffer.alloc(-map.length & 511), ...runs.map(({ data }) => data)]);
  return { name: './GNUSparseFile.0/sparse', content, pax };
}

const WHITEOUT = { mode: 0, device: { major: 0, minor: 0 }, type: 'char' } as const;
const OPAQUE = { 'SCHILY.xattr.trusted.overlay.opaque': 'y' };

/**
 * A seed: directories, some opaque, files, some sparse, links, fifos and devices, in directories of the image and in new ones, with odd names,
 * owners, times and attributes; and deletions of what the image has and of what nobody has.
 */
function randomSeed(next: Random, withDevices: boolean): TarEntry[] {
  const entries: TarEntry[] = [{ name: './', type: 'directory' }, { name: './srv/', type: 'directory' }, { name: './lower/', type: 'directory' }, { name: './etc/', type: 'directory' }]; // prettier-ignore
  const taken = new Set<string>();
  const directories = ['./srv/', './lower/'];
  const files: string[] = [];
  /** gVisor's way: every deletion but the first is a hard link to that. */
  let whiteout: string | undefined;
  const remove = (name: string): void => {
    taken.add(name);
    entries.push(whiteout === undefined ? { ...WHITEOUT, name } : { ...WHITEOUT, type: 'hardlink', name, linkname: whiteout }); // prettier-ignore
    whiteout ??= name;
  };
  for (const name of ['./lower/to-delete', './lower/kept', './etc/motd']) if (next(2) === 0) remove(name);
  for (let i = 0; i < 60; i++) {
    const name = `${pick(directories, next)}${pick(NAMES, next)}`;
    if (taken.has(name)) continue;
    taken.add(name);
    const common = { uid: next(3) * 1000, gid: next(2) * 50, mtime: 1_000_000_000 + next(600_000_000), mode: next(0o10000) | 0o600 }; // prettier-ignore
    const kind = next(11);
    if (kind < 3) {
      directories.push(`${name}/`);
      entries.push({ ...common, name: `${name}/`, type: 'directory', mode: common.mode | 0o700, ...(next(3) === 0 && { pax: OPAQUE }) }); // prettier-ignore
    } else if (kind < 6) {
      files.push(name);
      const pax = { ...(next(2) === 0 && asRecords(pick(ATTRIBUTES, next))), ...(next(2) === 0 && { mtime: `${next(2_000_000_000) - 1_000_000_000}.${next(999_999_999)}` }) }; // prettier-ignore
      entries.push({ ...common, name, content: Buffer.alloc(next(20_000), pick(NAMES, next)), pax });
    } else if (kind === 6) entries.push({ ...common, name, type: 'symlink', linkname: pick(NAMES, next), mode: 0o777 });
    else if (kind === 7) remove(name);
    else if (kind === 8) entries.push({ ...common, ...sparseEntry(bytes(name), next) });
    else if (kind === 9 && withDevices) entries.push({ ...common, name, type: 'char', device: { major: 1, minor: 3 } });
    else if (files.length > 0 && next(2) === 0) entries.push({ name, type: 'hardlink', linkname: pick(files, next) });
    else entries.push({ ...common, name, type: 'fifo' });
  }
  if (next(2) === 0) entries.push({ name: './lower/replaced/', type: 'directory', pax: OPAQUE }, { name: './lower/replaced/of-seed', content: 'x' }); // prettier-ignore
  return entries.map((entry) => ({
    ...entry,
    name: bytes(entry.name as string),
    ...(entry.linkname !== undefined && { linkname: bytes(entry.linkname as string) }),
  }));
}

/** Words in single quotes for a shell. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''").replaceAll(RAW, `'"$(printf '\\377')"'`)}'`;

/** What the image has, to be deleted and replaced. */
const OF_IMAGE = [
  '/lower/to-delete',
  '/lower/replaced',
  '/lower/replaced/from-second-layer',
  '/lower/kept',
  '/etc/motd',
];

/** Changes of all kinds to whatever is at a random name; those that make no sense there fail, which is fine. */
function randomChanges(next: Random, withDevices: boolean): string {
  const path = (): string => {
    const parts = Array.from({ length: 1 + next(2) }, () => pick(NAMES, next));
    return quoted(`${pick(['/srv', '/lower', '/opt'], next)}/${parts.join('/')}`);
  };
  const lines = Array.from({ length: 120 }, () => {
    const changes = [
      () => `echo ${next(1000)} > ${path()}`,
      () => `echo ${next(1000)} >> ${path()}`,
      () => `rm -rf ${path()}`,
      () => `rm -rf ${path()}`,
      () => `mkdir -p ${path()}`,
      () => `rmdir ${path()}`,
      () => `ln -s ${quoted(pick(NAMES, next))} ${path()}`,
      () => `ln ${path()} ${path()}`,
      () => `mkfifo ${path()}`,
      () => `mv ${path()} ${path()}`,
      () => `chmod ${(next(0o10000) | 0o400).toString(8)} ${path()}`,
      () => `chown -h ${next(2000)}:${next(2000)} ${path()}`,
      () => `dd if=/dev/zero of=${path()} bs=1 count=1 seek=${next(200_000)}`,
      () => `touch -h -d @${next(2_000_000_000) - 1_000_000_000} ${path()}`,
      () => `rm -rf ${pick(OF_IMAGE, next)}`,
      () => `mv ${pick(OF_IMAGE, next)} ${path()}`,
      () => `truncate -s ${next(3_000_000)} ${path()}`,
      () => (withDevices ? `mknod ${path()} c 1 3` : `mkfifo ${path()}`),
    ];
    // Opening a fifo for writing would wait for a reader.
    return `timeout 1 sh -c ${quoted(pick(changes, next)())} < /dev/null > /dev/null 2>&1`;
  });
  return `mkdir -p /opt; ${lines.join('\n')}\ntrue`;
}

/** What a container shows: names, kinds, modes, owners, sizes, times, targets and contents. */
async function view(host: Containerd, id: string): Promise<string[]> {
  const stat = 'find /srv /lower /opt /etc/motd ! -type s -exec stat -c "%n|%F|%a|%u|%g|%Y|%N|%t:%T" {} +';
  const script = `${stat}; find /srv /lower /opt -type f -exec md5sum {} + ; find /srv /lower /opt -type f -exec stat -c "%n %s" {} +`;
  const result = await host.exec(id, ['sh', '-c', script]);
  expect(result.stderr).toMatch(/^(find: \/etc\/motd: No such file or directory\n)?$/);
  return result.stdout.toString('latin1').split('\n').sort();
}

/** @param sockets how many it leaves out, each of which it says */
async function snapshot(host: Containerd, id: string, name: string, sockets = 0): Promise<string> {
  const path = join(host.seeds, name);
  const words = ['--root', join(host.siltRoot, host.namespace), 'tar', 'rootfs-upper', '--file', path, id];
  const { code, stderr } = await runCommand([siltProgram, ...words], { env: host.environment });
  const told = stderr.split('\n').filter((line) => line !== '');
  expect(code).toBe(0);
  expect(told).toEqual(Array(sockets).fill(expect.stringMatching(/an archive cannot hold a socket; it is left out$/)));
  return path;
}

/** Sockets that programs of the container have left: bound from the host, since its busybox has no program that does. */
async function leaveSockets(pid: number, directories: readonly string[]): Promise<void> {
  for (const directory of directories) {
    const server = createServer().listen(`/proc/${pid}/root${directory}/socket`);
    await once(server, 'listening');
    // Closing it would take the name away.
    renameSync(`/proc/${pid}/root${directory}/socket`, `/proc/${pid}/root${directory}/left`);
    server.close();
  }
}

interface Seen {
  readonly kind: string;
  readonly mode: number;
  readonly owner: string;
  readonly mtime: number;
  readonly is: string;
}

const digest = (content: Buffer): string => createHash('md5').update(content).digest('hex');
const KINDS: Readonly<Record<string, string>> = {
  '0': 'file',
  '2': 'symlink',
  '3': 'char',
  '5': 'directory',
  '6': 'fifo',
};

/** What the archive says by our reader, hard links as what they lead to. */
function said(entries: readonly ReadEntry[]): Record<string, Seen> {
  const seen: Record<string, Seen> = {};
  for (const { name, type, mode, uid, gid, mtime, linkname, content } of entries) {
    const plain = name.replace(/^\.\//, '').replace(/\/$/, '');
    seen[plain] = type === '1' ? seen[linkname.replace(/^\.\//, '')]! : { kind: KINDS[type] ?? type, mode: type === '2' ? 0o777 : mode, owner: `${uid}:${gid}`, mtime: Math.floor(Number(mtime)), is: type === '2' ? linkname : type === '0' ? digest(content) : '' }; // prettier-ignore
  }
  return seen;
}

/** All that an archive says of each name, and which other names the same file has. */
function exactly(entries: readonly ReadEntry[]): Record<string, object> {
  const plain = (name: string): string => name.replace(/^\.\//, '').replace(/\/$/, '');
  const files = new Map<string, { names: string[]; entry: ReadEntry }>();
  for (const entry of entries) {
    const known = entry.type === '1' ? files.get(plain(entry.linkname)) : undefined;
    known?.names.push(plain(entry.name));
    files.set(plain(entry.name), known ?? { names: [plain(entry.name)], entry });
  }
  return Object.fromEntries([...files].map(([at, { names, entry: { name: _, ...rest } }]) => [at, { ...rest, content: digest(rest.content), names: names.sort() }])); // prettier-ignore
}

/** What GNU tar made of it. */
function unpacked(root: string): Record<string, Seen> {
  const seen: Record<string, Seen> = {};
  const visit = (path: Buffer, name: string): void => {
    const stat = lstatSync(path);
    const kind = stat.isDirectory() ? 'directory' : stat.isSymbolicLink() ? 'symlink' : stat.isFIFO() ? 'fifo' : stat.isFile() ? 'file' : 'char'; // prettier-ignore
    const is = kind === 'symlink' ? readlinkSync(path, 'latin1') : kind === 'file' ? digest(readFileSync(path)) : '';
    seen[name] = { kind, mode: stat.mode & 0o7777, owner: `${stat.uid}:${stat.gid}`, mtime: Math.floor(stat.mtimeMs / 1000), is }; // prettier-ignore
    if (kind !== 'directory') return;
    for (const child of readdirSync(path, { encoding: 'buffer' })) {
      const text = child.toString('latin1');
      visit(Buffer.concat([path, Buffer.from('/'), child]), name === '' ? text : `${name}/${text}`);
    }
  };
  visit(Buffer.from(root), '');
  return seen;
}

/** All attributes below a directory, by name; values in hexadecimal. */
async function attributesOf(directory: string): Promise<string[]> {
  const listing = (await mustRun(['getfattr', '--dump', '--no-dereference', '--recursive', '--physical', '--match=-', '--encoding=hex', '--absolute-names', directory])).stdout; // prettier-ignore
  const files = listing.toString('latin1').split('\n\n');
  return files
    .flatMap((file) => {
      const [title = '', ...lines] = file.trim().split('\n');
      // getfattr writes what is not printable, backslashes and a line's end as octal numbers.
      const name = title.replace(/^# file: /, '').replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8))); // prettier-ignore
      return lines.map((line) => `${name.slice(directory.length + 1)} ${line.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)))}`); // prettier-ignore
    })
    .sort();
}

/** By our reader, with what GNU tar makes of the keys and of ACLs, which it knows under other records. */
function attributesSaid(entries: readonly ReadEntry[]): string[] {
  const plain = (name: string): string => name.replace(/^\.\//, '').replace(/\/$/, '');
  const first = new Map(entries.map(({ name, xattrs }) => [plain(name), xattrs]));
  return entries
    .flatMap(({ name, type, linkname, xattrs }) => {
      const of = type === '1' ? first.get(plain(linkname))! : xattrs;
      return Object.entries(of)
        .filter(([key]) => !key.startsWith('system.posix_acl_'))
        .map(([key, value]) => `${plain(name)} ${key.replaceAll('%3D', '=').replaceAll('%25', '%')}=0x${Buffer.from(value, 'latin1').toString('hex')}`); // prettier-ignore
    })
    .sort();
}

/** `SILT_TREES=1-50`: more of them than every run needs. */
const [first = 1, last = 2] = (process.env['SILT_TREES'] ?? '').split('-').filter(Boolean).map(Number);
const TREES = Array.from({ length: last - first + 1 }, (_, i) => first + i);

for (const userns of ['none', 'auto'] as const) {
  containerdSuite(`random trees, userns ${userns}`, { userns, onlyPeer: 'system' }, (host) => {
    for (const number of TREES) {
      siltTest(
        `tree ${number} survives snapshot and seed, and GNU tar reads the same`,
        async () => {
          const next = random(number * 7919 + (userns === 'auto' ? 1 : 0));
          // A seed with devices is never shared.
          const withDevices = number % 2 === 0;
          const seed = join(host().seeds, `seed-${number}.tar`);
          writeFileSync(seed, tarArchive(randomSeed(next, withDevices)));
          const start = (path: string): Promise<string> =>
            host().startContainer(['sleep', '1000'], { flags: ['--device', '/dev/null', '--annotation', `${annotation}=${path}`] }); // prettier-ignore
          const changed = await start(seed);
          const script = join(host().seeds, 'changes.sh');
          writeFileSync(script, randomChanges(next, withDevices));
          expect(await host().exec(changed, ['sh', '-c', readFileSync(script, 'utf8')])).toMatchObject({ code: 0 });
          // Host root is nobody in a user namespace, and can make nothing there.
          const sockets = userns === 'none' ? ['/srv', '/opt'] : [];
          await leaveSockets(await taskPid(host(), changed), sockets);
          const before = await view(host(), changed);
          const taken = await snapshot(host(), changed, `taken-${number}.tar`, sockets.length);
          for (const how of ['share', 'copy'] as const) {
            host().configureSilt({ userns, seed: how });
            const again = await start(taken);
            expect(await view(host(), again)).toEqual(before);
            // Nothing has changed in it, so its snapshot is the one that it started from.
            const second = await snapshot(host(), again, `again-${number}-${how}.tar`);
            expect(exactly(readTar(readFileSync(second)))).toEqual(exactly(readTar(readFileSync(taken))));
            await host().remove(again);
          }
          host().configureSilt({ userns });
          await host().remove(changed);
          const directory = join(host().seeds, `gnu-${number}`);
          mkdirSync(directory);
          await mustRun(['tar', '--xattrs', '--xattrs-include=*', '-xpf', taken, '-C', directory]);
          const entries = readTar(readFileSync(taken));
          expect(unpacked(directory)).toEqual(said(entries));
          expect(await attributesOf(directory)).toEqual(attributesSaid(entries));
        },
        120_000,
      );
    }
  });
}
