/** What the documents say about the repository is so: files that they name are there, and claims name what shows them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(__dirname, '..');
const documents = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)].filter((name) => name.endsWith('.md')); // prettier-ignore
const read = (document: string): string => readFileSync(join(root, document), 'utf8');
/** Directories of the repository: a path that begins with one of them is of the repository. */
const ROOMS = 'cli|deploy|docs|errors|gofer|integration|native|oci|proto|sandbox|shim|syscall|tools|ttrpc';
const NAMED = new RegExp(`\`((?:${ROOMS})/[\\w./-]+)`, 'g');

test.each(documents)('%s names files and directories that are there', (document) => {
  const named = [...read(document).matchAll(NAMED)].map(([, path]) => path!);
  const links = [...read(document).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map(([, path]) => join(document, '..', path!)); // prettier-ignore
  const isThere = (path: string): boolean =>
    ['', '.ts', '.test.ts'].some((end) => existsSync(join(root, `${path}${end}`)));
  expect([...named, ...links].filter((path) => !isThere(path))).toEqual([]);
});

test('each claim about an attacker in docs/security.md names its test', () => {
  const chapters = read('docs/security.md').split('\n## ').filter((one) => /^An attacker who (owns a container|wrote the archive)/.test(one)); // prettier-ignore
  expect(chapters).toHaveLength(2);
  const claims = chapters.flatMap((chapter) => [...chapter.matchAll(/^\| (?!--|claim \|)(.+) \| (.*) \|$/gm)]);
  expect(claims.length).toBeGreaterThan(12);
  expect(claims.filter(([, , shown]) => !/`[\w/-]+\.(test\.ts|c)`/.test(shown!)).map(([, claim]) => claim)).toEqual([]);
});
