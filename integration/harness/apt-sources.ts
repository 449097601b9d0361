/**
 * Reads apt's own source lists, in both formats (sources.list(5)), to find where this machine gets Debian's main archive from,
 * and writes the same source for another suite. Pure: text in, text out.
 */

/** One archive with its suites, as one stanza or line names it. */
export interface AptSource {
  readonly uris: readonly string[];
  readonly suites: readonly string[];
  readonly components: readonly string[];
  /** `Signed-By` and other options that apply to the archive as a whole, such as `Trusted`. */
  readonly options: Readonly<Record<string, string>>;
}

/** One-line options by the name that deb822 gives them. Others (arch, target, …) are about what to fetch, not whom to trust. */
const keptOptions: Readonly<Record<string, string>> = {
  'signed-by': 'Signed-By',
  trusted: 'Trusted',
  'check-valid-until': 'Check-Valid-Until',
  'check-date': 'Check-Date',
};

/** The binary (`deb`) sources of a one-line style list. */
export function parseOneLine(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (match === null) continue;
    const [, bracket = '', uri = '', suite = '', components = ''] = match;
    const options: Record<string, string> = {};
    for (const option of bracket.trim().split(/\s+/)) {
      const [key = '', value = ''] = option.split('=');
      const name = keptOptions[key.toLowerCase()];
      if (name !== undefined) options[name] = value;
    }
    sources.push({ uris: [uri], suites: [suite], components: components.trim().split(/\s+/), options });
  }
  return sources;
}

/** The enabled binary sources of a deb822 style file. */
export function parseDeb822(text: string): AptSource[] {
  const sources: AptSource[] = [];
  const withoutComments = text.replace(/^#.*\n?/gm, '');
  for (const stanza of withoutComments.split(/\n\s*\n/)) {
    const fields = new Map<string, string>();
    // A field goes on over lines that begin with white space; a key in Signed-By is written so.
    for (const match of stanza.matchAll(/^([A-Za-z-]+):(.*(?:\n[ \t].*)*)/gm)) {
      fields.set(match[1]!.toLowerCase(), match[2]!.trim());
    }
    const words = (key: string): string[] => (fields.get(key) ?? '').split(/\s+/).filter((word) => word !== '');
    if (!words('types').includes('deb') || fields.get('enabled') === 'no') continue;
    const options: Record<string, string> = {};
    for (const [key, name] of Object.entries(keptOptions)) {
      const value = fields.get(key);
      if (value !== undefined) options[name] = value;
    }
    sources.push({ uris: words('uris'), suites: words('suites'), components: words('components'), options });
  }
  return sources;
}

/**
 * The machine's source of Debian's main archive: it offers exactly the machine's own suite (so neither `-security` nor
 * `-updates` alone) with component main. Vendors name their suites alike; Debian's own archive is told by a path that ends in `debian`
 * and is preferred, and only a source like that is taken at all when there are several.
 */
export function findMainArchive(sources: readonly AptSource[], codename: string): AptSource | undefined {
  const fitting = sources.filter(({ suites, components }) => suites.includes(codename) && components.includes('main'));
  return (
    fitting.find(({ uris }) => uris.some((uri) => /\/debian\/?$/.test(uri))) ??
    (fitting.length === 1 ? fitting[0] : undefined)
  );
}

/** The same archive for another suite, as the text of a deb822 file. */
export function sourceForSuite(archive: AptSource, suite: string): string {
  const fields = { Types: 'deb', URIs: archive.uris.join(' '), Suites: suite, Components: 'main', ...archive.options };
  return Object.entries(fields)
    .map(([key, value]) => `${key}: ${value}\n`)
    .join('');
}
