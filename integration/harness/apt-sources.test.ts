import { findMainArchive, parseDeb822, parseOneLine, sourceForSuite } from './apt-sources';

const deb822 = `Types: deb
# a comment inside of a stanza
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://sources.example/debian
Suites: bookworm
Components: main
`;

const oneLine = `# deb http://commented.example/debian bookworm main
deb [arch=amd64 signed-by=/etc/apt/keyrings/vendor.gpg] https://vendor.example/linux bookworm main
deb http://mirror.example/debian/ bookworm main non-free-firmware # here
deb-src http://mirror.example/debian/ bookworm main
deb http://mirror.example/debian-security bookworm-security main
`;

test('reads the enabled binary stanzas of a deb822 file', () => {
  expect(parseDeb822(deb822)).toEqual([
    {
      uris: ['http://mirror.example/debian'],
      suites: ['bookworm', 'bookworm-updates'],
      components: ['main', 'contrib'],
      options: { 'Signed-By': '/usr/share/keyrings/debian-archive-keyring.gpg' },
    },
    {
      uris: ['http://mirror.example/debian-security'],
      suites: ['bookworm-security'],
      components: ['main'],
      options: {},
    },
  ]);
});

test('reads the binary lines of a one-line file with their options', () => {
  expect(parseOneLine(oneLine)).toEqual([
    {
      uris: ['https://vendor.example/linux'],
      suites: ['bookworm'],
      components: ['main'],
      options: { 'Signed-By': '/etc/apt/keyrings/vendor.gpg' },
    },
    {
      uris: ['http://mirror.example/debian/'],
      suites: ['bookworm'],
      components: ['main', 'non-free-firmware'],
      options: {},
    },
    {
      uris: ['http://mirror.example/debian-security'],
      suites: ['bookworm-security'],
      components: ['main'],
      options: {},
    },
  ]);
});

test('takes neither the security archive nor a vendor with a suite of the same name for the main archive', () => {
  const found = findMainArchive([...parseOneLine(oneLine), ...parseDeb822(deb822)], 'bookworm');
  expect(found?.uris).toEqual(['http://mirror.example/debian/']);
  expect(findMainArchive(parseDeb822(deb822), 'trixie')).toBeUndefined();
});

test('keeps a key that is written into the stanza, and who signs, for another suite', () => {
  const [source] = parseDeb822(
    'Types: deb\nURIs: http://m.example/debian\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN\n .\n KEY\n',
  );
  expect(sourceForSuite(source!, 'sid')).toBe(
    'Types: deb\nURIs: http://m.example/debian\nSuites: sid\nComponents: main\nSigned-By: -----BEGIN\n .\n KEY\n',
  );
});
