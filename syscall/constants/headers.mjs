import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const compiler = process.env.CC ?? 'cc';

/** The object-like macros that these headers define and whose value looks like a number, as names. */
export function macroNames(headers, flags = []) {
  const source = headers.map((header) => `#include <${header}>\n`).join('');
  const listing = run(compiler, ['-E', '-dM', ...flags, '-x', 'c', '-'], source);
  return [...listing.matchAll(/^#define (\w+) ([^"{}\n]+)$/gm)].map((match) => match[1]);
}

/**
 * The values of these integer constant expressions, by name, as the compiler sees them with these headers. It declares
 * printf by itself, so that headers of another architecture, which come without a libc, do as well.
 */
export function evaluate(names, headers, flags = [], prefix = '') {
  const lines = names.map((name) => `  printf("%s %lld\\n", "${name}", (long long)(${prefix}${name}));\n`);
  const includes = headers.map((header) => `#include <${header}>\n`);
  const source = `${includes.join('')}extern int printf(const char *, ...);\nint main(void) {\n${lines.join('')}  return 0;\n}\n`;
  const directory = mkdtempSync(join(tmpdir(), 'silt-constants-'));
  try {
    const program = join(directory, 'print');
    run(compiler, ['-w', '-O0', ...flags, '-x', 'c', '-', '-o', program], source);
    const values = {};
    for (const line of run(program, [], '').trim().split('\n')) {
      const [name, value] = line.split(' ');
      values[name] = BigInt(value);
    }
    return values;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** System call numbers by name from one header; `prefix` is what stands before the names. */
export function syscalls(header, flags, prefix = '__NR_') {
  const names = macroNames([header], flags).filter((name) => name.startsWith(prefix));
  const bare = names.map((name) => name.slice(prefix.length));
  const calls = bare.filter(
    (name) => !/^(syscalls|arch_specific_syscall|BASE|SYSCALL_(BASE|MASK)|OABI_SYSCALL_BASE)$/.test(name),
  );
  if (calls.length === 0) return {};
  const values = evaluate(calls, [header], flags, prefix);
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number(value)]));
}

function run(command, args, input) {
  return execFileSync(command, args, { input, encoding: 'utf8', maxBuffer: 1 << 26, stdio: ['pipe', 'pipe', 'pipe'] });
}
