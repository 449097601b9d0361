/** Writes manual pages and shell completions of the `silt` command into build/reference/, laid out as below PREFIX/share. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { buildCommandLine } from '../cli/command-line';
import { bashCompletion, describeCommands, fishCompletion, manualPages, zshCompletion } from '../cli/reference';
import { checkout } from '../integration/harness/checkout';
import { VERSION } from '../sandbox/version';

// The defaults in the pages are those of an installed silt, not of whoever builds.
delete process.env['SILT_ROOT'];
const target = join(checkout, 'build', 'reference');
rmSync(target, { recursive: true, force: true });

function write(path: string, text: string): void {
  const file = join(target, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

const commands = describeCommands(buildCommandLine().silt);
for (const { file, text } of manualPages(commands, VERSION)) write(`man/man1/${file}`, text);
write('bash-completion/completions/silt', bashCompletion(commands));
write('zsh/site-functions/_silt', zshCompletion(commands));
write('fish/vendor_completions.d/silt.fish', fishCompletion(commands));
