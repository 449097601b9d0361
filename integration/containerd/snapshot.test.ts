/** `silt tar rootfs-upper`: what a running container has changed, as a tar that another container can start from. */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { basename, join } from 'node:path';
import {
  containerdSuite,
  describeTree,
  mustRun,
  openFiles,
  plainNames,
  readTar,
  runCommand,
  siltProgram,
  siltTest,
  startCommand,
  tarArchive,
  taskStatus,
  waitFor,
  type CommandResult,
  type Containerd,
  type ReadEntry,
  type TarEntry,
} from '../harness';

const annotation = 'dev.gvisor.tar.rootfs.upper';

/** Runs the silt command on the containers of this containerd. */
function silt(host: Containerd, args: readonly string[]): Promise<CommandResult> {
  return runCommand([siltProgram, '--root', join(host.siltRoot, host.namespace), ...args], { env: host.environment });
}

/** Takes a snapshot into the directory that seeds may come from, and reads it. */
async function snapshot(
  host: Containerd,
  id: string,
  name: string,
  flags: readonly string[] = [],
): Promise<{ path: string; entries: ReadEntry[] }> {
  const path = join(host.seeds, name);
  const result = await silt(host, ['tar', 'rootfs-upper', '--file', path, ...flags, id]);
  if (result.code !== 0) throw new Error(`silt tar rootfs-upper: exit status ${result.code}: ${result.stderr}`);
  return { path, entries: readTar(readFileSync(path)) };
}

function startSeeded(host: Containerd, path: string): Promise<string> {
  return host.startContainer(['sleep', '1000'], { flags: ['--annotation', `${annotation}=${path}`] });
}

function find(entries: readonly ReadEntry[], name: string): ReadEntry {
  const found = entries.find((entry) => entry.name === name);
  if (found === undefined) throw new Error(`no ${name} among ${entries.map((entry) => entry.name).join(' ')}`);
  return found;
}

const [major = 0, minor = 0] = release().split('.').map(Number);
const tmpfsHasUserXattrs = major > 6 || (major === 6 && minor >= 6);

/** Everything that an archive can say, in one seed. */
const everything: TarEntry[] = [
  { name: './', type: 'directory' },
  { name: './etc/', type: 'directory', mode: 0o755 },
  { name: './etc/motd', type: 'char', mode: 0, device: { major: 0, minor: 0 } },
  { name: './etc/passwd', type: 'hardlink', linkname: './etc/motd', mode: 0 },
  { name: './lower/', type: 'directory' },
  { name: './lower/replaced/', type: 'directory', pax: { 'SCHILY.xattr.trusted.overlay.opaque': 'y' } },
  { name: './lower/replaced/file', content: 'x', mode: 0o4755 },
  { name: './srv/', type: 'directory', mode: 0o1777, pax: { 'SCHILY.xattr.trusted.overlay.opaque': 'y' } },
  { name: './srv/a', content: 'linked', uid: 12, gid: 34 },
  { name: './srv/b', type: 'hardlink', linkname: './srv/a' },
  { name: './srv/symlink', type: 'symlink', linkname: 'somewhere/else', mode: 0o777 },
  { name: './srv/fifo', type: 'fifo', mode: 0o600 },
  // tmpfs, which holds the upper, has user xattrs from Linux 6.6 on.
  ...(tmpfsHasUserXattrs
    ? [
        {
          name: './srv/note',
          content: 'with xattrs',
          pax: { 'SCHILY.xattr.user.note': Buffer.from([1, 0, 2, 10, 61, 255]) },
        },
      ]
    : []),
  {
    name: './srv/capable',
    content: 'file capabilities',
    mode: 0o755,
    // struct vfs_cap_data of revision 2: cap_net_bind_service, permitted and effective.
    pax: { 'SCHILY.xattr.security.capability': Buffer.from('0100000200040000000000000000000000000000', 'hex') },
  },
  { name: './srv/old', content: 'before 1970', mtime: 0, pax: { mtime: '-86400' } },
  { name: './srv/exact', content: 'nanoseconds', pax: { mtime: '1234567890.123456789' } },
  { name: './srv/big-owner', content: '', pax: { uid: '3000000', gid: '3000001' } },
  { name: `./srv/${'n'.repeat(255)}`, content: 'a name of 255 bytes' },
  { name: './srv/Grüße', content: 'not ASCII' },
];

// Without user namespaces, because an archive can say more ids than one has.
containerdSuite('snapshots', { userns: 'none' }, (host) => {
  siltTest('of a container that has changed nothing holds no file', async () => {
    const id = await host().startContainer();
    const { entries } = await snapshot(host(), id, 'nothing.tar');
    expect(entries.filter(({ type }) => type !== '5')).toEqual([]);
    expect(entries[0]).toMatchObject({ name: './', type: '5' });
    await host().remove(id);
  });

  siltTest('holds what was made, changed and deleted, in the dialect of gVisor', async () => {
    const id = await host().startContainer();
    const change = [
      'echo new > /root/new',
      'echo changed >> /etc/motd',
      'rm /lower/to-delete /etc/group',
      'rm -r /lower/replaced && mkdir /lower/replaced && echo r > /lower/replaced/r',
      'mkdir -p /srv/a/b && echo one > /srv/a/b/one && ln /srv/a/b/one /srv/two && ln -s /srv/two /srv/three',
      'mkfifo /srv/pipe',
      'chown 7:8 /srv/two && chmod 4750 /srv/two',
    ].join(' && ');
    expect(await host().exec(id, ['sh', '-c', change])).toMatchObject({ code: 0, stderr: '' });
    const { path, entries } = await snapshot(host(), id, 'changes.tar');
    expect(plainNames(entries)).toEqual(
      [
        ...[
          '',
          'etc',
          'etc/group',
          'etc/motd',
          'lower',
          'lower/replaced',
          'lower/replaced/r',
          'lower/to-delete',
          'root',
        ],
        ...['root/new', 'srv', 'srv/a', 'srv/a/b', 'srv/a/b/one', 'srv/pipe', 'srv/three', 'srv/two'],
      ].sort(),
    );
    expect(entries.every(({ name, type }) => name.startsWith('./') && name.endsWith('/') === (type === '5'))).toBe(
      true,
    );
    expect(find(entries, './etc/motd').content.toString()).toBe('second layer\nchanged\n');
    expect(find(entries, './lower/replaced/').xattrs['trusted.overlay.opaque']).toBe('y');
    const whiteouts = [find(entries, './etc/group'), find(entries, './lower/to-delete')];
    const first = whiteouts.find(({ type }) => type === '3');
    const second = whiteouts.find(({ type }) => type === '1');
    expect(first).toMatchObject({ device: '0:0', mode: 0 });
    expect(second?.linkname).toBe(first?.name);
    const links = [find(entries, './srv/a/b/one'), find(entries, './srv/two')];
    expect(links.map(({ type }) => type).sort()).toEqual(['0', '1']);
    expect(links.find(({ type }) => type === '0')).toMatchObject({ uid: 7, gid: 8, mode: 0o4750 });
    expect(find(entries, './srv/three')).toMatchObject({ type: '2', linkname: '/srv/two' });
    expect(find(entries, './srv/pipe').type).toBe('6');
    const listing = (await mustRun(['tar', '-tvf', path])).stdout.toString();
    expect(listing).toContain('./root/new');
    await host().remove(id);
  });

  siltTest('snapshot, seed, snapshot gives the same archive apart from the order of entries', async () => {
    const first = await host().startContainer();
    const change = [
      'cp -a /bin/busybox /srv-busybox; mkdir -p /srv/x/y/z; seq 100000 > /srv/x/y/z/numbers; ln /srv/x/y/z/numbers /srv/again',
      'rm -r /lower/replaced; mkdir /lower/replaced; rm /etc/group /etc/motd; ln -s nowhere /etc/group',
      'truncate -s 10M /srv/holes; echo end >> /srv/holes; chown -R 1000:1000 /srv/x; touch -d 2001-02-03 /srv/x/y',
      'i=0; while [ $i -lt 300 ]; do echo $i > /srv/x/f$i; i=$((i+1)); done',
    ].join('; ');
    expect(await host().exec(first, ['sh', '-c', change])).toMatchObject({ code: 0, stderr: '' });
    const one = await snapshot(host(), first, 'one.tar');
    const second = await startSeeded(host(), one.path);
    const two = await snapshot(host(), second, 'two.tar');
    expect(describeTree(two.entries)).toEqual(describeTree(one.entries));
    expect(one.entries.length).toBeGreaterThan(310);
    for (const id of [first, second]) await host().remove(id);
  });

  siltTest('everything that an archive can say goes in and comes out again', async () => {
    const path = join(host().seeds, 'everything.tar');
    writeFileSync(path, tarArchive(everything));
    const first = await startSeeded(host(), path);
    const one = await snapshot(host(), first, 'everything-one.tar');
    const wanted = describeTree(readTar(readFileSync(path)));
    expect(describeTree(one.entries)).toEqual(wanted);
    const second = await startSeeded(host(), one.path);
    const two = await snapshot(host(), second, 'everything-two.tar');
    expect(describeTree(two.entries)).toEqual(wanted);
    for (const id of [first, second]) await host().remove(id);
  });

  siltTest('a name longer than PATH_MAX survives', async () => {
    const path = join(host().seeds, 'deep.tar');
    writeFileSync(path, tarArchive([{ name: `./srv/${`${'d'.repeat(200)}/`.repeat(25)}file`, content: 'deep\n' }]));
    const first = await startSeeded(host(), path);
    const one = await snapshot(host(), first, 'deep-one.tar');
    expect(Math.max(...one.entries.map(({ name }) => name.length))).toBe('./srv/'.length + 25 * 201 + 'file'.length);
    const second = await startSeeded(host(), one.path);
    const two = await snapshot(host(), second, 'deep-two.tar');
    expect(describeTree(two.entries)).toEqual(describeTree(one.entries));
    for (const id of [first, second]) await host().remove(id);
  });

  siltTest('a container goes on after its snapshot, and one that was paused stays paused', async () => {
    const id = await host().startContainer([
      'sh',
      '-c',
      'i=0; while :; do i=$((i+1)); echo $i > /tick; sleep 0.01; done',
    ]);
    await snapshot(host(), id, 'running.tar');
    expect(
      (
        await host().exec(id, ['sh', '-c', 'a=$(cat /tick); sleep 0.3; [ "$a" != "$(cat /tick)" ] && echo ticking'])
      ).stdout.toString(),
    ).toBe('ticking\n');
    await host().mustCtr(['tasks', 'pause', id]);
    await snapshot(host(), id, 'paused.tar');
    expect(await taskStatus(host(), id)).toBe('PAUSED');
    await host().mustCtr(['tasks', 'resume', id]);
    await snapshot(host(), id, 'live.tar', ['--live']);
    expect(await taskStatus(host(), id)).toBe('RUNNING');
    await host().remove(id);
  });

  siltTest('goes to standard output without --file', async () => {
    const id = await host().startContainer();
    await host().exec(id, ['sh', '-c', 'echo hello > /root/hello']);
    const result = await silt(host(), ['tar', 'rootfs-upper', id]);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(find(readTar(result.stdout), './root/hello').content.toString()).toBe('hello\n');
    await host().remove(id);
  });

  siltTest('replaces an older file at once, and leaves nothing when it fails', async () => {
    const id = await host().startContainer();
    const path = join(host().seeds, 'replaced.tar');
    writeFileSync(path, 'an older one');
    await snapshot(host(), id, basename(path));
    const names = readdirSync(host().seeds);
    const missing = join(host().seeds, 'no-such-directory', 'x.tar');
    const failed = await silt(host(), ['tar', 'rootfs-upper', '--file', missing, id]);
    expect(failed.code).not.toBe(0);
    expect(failed.stderr).toContain(missing);
    expect(readdirSync(host().seeds)).toEqual(names);
    expect(existsSync(missing)).toBe(false);
    await host().remove(id);
  });

  siltTest('leaves nothing when whoever takes it is killed', async () => {
    const id = await host().startContainer();
    await host().exec(id, ['dd', 'if=/dev/zero', 'of=/big', 'bs=1M', 'count=200']);
    const before = readdirSync(host().seeds);
    const words = ['--root', join(host().siltRoot, host().namespace), 'tar', 'rootfs-upper'];
    const path = join(host().seeds, 'killed.tar');
    const taking = startCommand([siltProgram, ...words, '--file', path, id], { env: host().environment });
    const open = (): boolean =>
      [...openFiles(taking.child.pid!).values()].some((file) => file.startsWith(host().seeds));
    await waitFor('the file to be open', open);
    taking.child.kill('SIGKILL');
    await taking.ended;
    expect(readdirSync(host().seeds)).toEqual(before);
    // The container was frozen for the snapshot, and is not any more.
    expect((await host().exec(id, ['echo', 'alive'])).stdout.toString()).toBe('alive\n');
    await host().remove(id);
  });

  siltTest('of a container that is not there fails and names it', async () => {
    const result = await silt(host(), ['tar', 'rootfs-upper', '--file', join(host().seeds, 'none.tar'), 'nobody']);
    expect(result.code).not.toBe(0);
    expect(result.stderr).toContain('nobody');
    expect(existsSync(join(host().seeds, 'none.tar'))).toBe(false);
  });
});

containerdSuite('a snapshot that somebody waits for', { onlyPeer: 'system' }, (host) => {
  siltTest('shows on a terminal how far it is, and takes that away', async () => {
    const id = await host().startContainer();
    await host().exec(id, ['sh', '-c', 'head -c 50000000 /dev/zero > /big']);
    const path = join(host().directory, 'watched.tar');
    const root = join(host().siltRoot, host().namespace);
    const command = `${siltProgram} --root ${root} tar rootfs-upper --file ${path} ${id}`;
    const { code, stdout } = await runCommand(['script', '-qec', command, '/dev/null'], { env: host().environment });
    expect([code, stdout.toString()]).toEqual([0, expect.stringMatching(/saving c\d+ \[=* *\] +\d+% [\d.]+ MiB/)]);
    expect(stdout.toString().endsWith('\r\u001b[K')).toBe(true);
    expect(await silt(host(), ['tar', 'rootfs-upper', '--file', path, id])).toMatchObject({ code: 0, stderr: '' });
    await host().remove(id);
  });
});
