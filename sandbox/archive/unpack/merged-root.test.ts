/** An archive of an upper, applied to what a container sees: an image's tree, which here is a tmpfs. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadNative } from '../../../native';
import { withFile } from '../testing/archive-file';
import { archive, entry, pax } from '../testing/tar-bytes';
import { isRoot, look, makeTmpfs, type Upper } from '../testing/upper';
import { unpack } from './index';

const runner = loadNative();
const dir = (name: string): Buffer => entry({ name, type: '5', mode: '0000755\0' });
const replaced = (name: string): Buffer =>
  Buffer.concat([pax([['SCHILY.xattr.trusted.overlay.opaque', 'y']]), dir(name)]);
const file = (name: string, contents = ''): Buffer => entry({ name }, contents);
const whiteout = (name: string): Buffer => entry({ name, type: '3', mode: '0000000\0' });
const link = (name: string, linkname: string): Buffer => entry({ name, type: '1', linkname });

(isRoot() ? describe : describe.skip)('an archive applied to a mounted root', () => {
  let root: Upper;
  beforeEach(() => {
    root = makeTmpfs();
    for (const path of ['etc/ssl/certs', 'var/lib', 'srv']) mkdirSync(join(root.path, path), { recursive: true });
    for (const path of ['etc/group', 'etc/passwd', 'etc/ssl/certs/ca', 'var/lib/old', 'srv/kept'])
      writeFileSync(join(root.path, path), `${path} of the image`);
    symlinkSync('/srv', join(root.path, 'link'));
  });
  afterEach(() => root.close());

  /** Nothing is asked of the host: there are no marks to set. */
  const apply = async (...parts: Buffer[]): Promise<string[]> => {
    const privileged = (): never => {
      throw new Error('the host was asked');
    };
    await withFile(archive(...parts), (archiveFd) =>
      unpack({ runner, archiveFd, upperFd: root.fd, privileged, merged: true }),
    );
    return Object.keys(look(root.path));
  };
  const UNTOUCHED = ['srv', 'srv/kept'];

  test('whiteouts delete files and whole directories, and so do hard links to the first of them', async () => {
    const names = await apply(
      dir('./'),
      dir('./etc/'),
      whiteout('./etc/group'),
      link('./etc/ssl', './etc/group'),
      link('./link', './etc/group'),
      link('./var', './etc/group'),
    );
    expect(names).toEqual(['.', 'etc', 'etc/passwd', ...UNTOUCHED]);
  });

  test('what is not there is deleted in vain', async () => {
    expect(await apply(whiteout('./nothing'), whiteout('./srv/nothing'))).toEqual(expect.arrayContaining(UNTOUCHED));
  });

  test('a replaced directory has nothing of the image’s, others have both', async () => {
    const names = await apply(
      replaced('./etc/'),
      file('./etc/group', 'new'),
      dir('./var/'),
      dir('./var/lib/'),
      file('./var/lib/new'),
    );
    expect(names).toEqual([
      '.',
      'etc',
      'etc/group',
      'link',
      ...UNTOUCHED,
      'var',
      'var/lib',
      'var/lib/new',
      'var/lib/old',
    ]);
    expect(readFileSync(join(root.path, 'etc/group'), 'latin1')).toBe('new');
  });

  test('what is made after its deletion is there, and links to it are links again', async () => {
    const names = await apply(
      whiteout('./etc/group'),
      file('./etc/group', 'again'),
      link('./srv/group', './etc/group'),
      whiteout('./var'),
      dir('./var/'),
    );
    expect(names).toEqual(expect.arrayContaining(['etc/group', 'srv/group', 'var']));
    expect(names).not.toContain('var/lib');
    expect(readFileSync(join(root.path, 'srv/group'), 'latin1')).toBe('again');
  });

  test('files take the place of directories and of links, and the other way round', async () => {
    await apply(file('./var', 'file'), dir('./link/'), file('./link/in'), dir('./srv/kept/'));
    expect(look(root.path)).toMatchObject({
      var: { type: 'file', contents: 'file' },
      link: { type: 'dir' },
      'srv/kept': { type: 'dir' },
    });
  });

  test('a replaced directory behind what is in it would take that away, and is refused', async () => {
    await expect(apply(file('./var/lib/new'), replaced('./var/'))).rejects.toMatchObject({
      code: 'ARCHIVE_INVALID',
      details: { path: './var/' },
      message: expect.stringContaining('comes behind what is in it') as string,
    });
    expect(Object.keys(look(root.path))).toContain('var/lib/old');
  });

  test('so is one that came before as an ordinary one, with something in it', async () => {
    const entries = [dir('./var/'), file('./var/lib/new'), dir('./srv/'), replaced('./var/')];
    await expect(apply(...entries)).rejects.toMatchObject({ code: 'ARCHIVE_INVALID', details: { path: './var/' } });
    expect(Object.keys(look(root.path))).toContain('var/lib/old');
  });

  test('a directory that is replaced twice, or within one that is, keeps what the archive has put into it', async () => {
    const names = await apply(
      replaced('./etc/'),
      file('./etc/one'),
      replaced('./etc/'),
      file('./etc/ssl/two'),
      dir('./srv/'),
      replaced('./etc/ssl/'),
      file('./etc/ssl/three'),
      whiteout('./var'),
      file('./var/four'),
      replaced('./var/'),
    );
    expect(names).toEqual([
      '.',
      ...['etc', 'etc/one', 'etc/ssl', 'etc/ssl/three', 'etc/ssl/two', 'link', ...UNTOUCHED, 'var', 'var/four'],
    ]);
  });

  test('a replaced directory behind others is none of that', async () => {
    expect(await apply(file('./variable'), file('./srv/new'), replaced('./var/'))).not.toContain('var/lib');
  });

  test('the root itself is never emptied', async () => {
    expect(await apply(replaced('./'))).toEqual(expect.arrayContaining(['etc/passwd', ...UNTOUCHED]));
  });
});
