import type { Command } from 'commander';
import type { Finding } from '../check/finding';
import type { Frame } from '../frame';
import { table } from '../table';
import { print } from '../print';

interface CheckOptions {
  readonly json: boolean;
  readonly dockerConfig: string;
  readonly containerdConfig: string;
}

export function registerCheck(silt: Command, frame: Frame): void {
  silt
    .command('check')
    .description('what this host offers, and what to do about what is missing; status 1 when silt cannot work here')
    .option('--json', 'as JSON', false)
    .option('--docker-config <file>', 'Docker’s daemon.json', '/etc/docker/daemon.json')
    .option('--containerd-config <file>', 'containerd’s config.toml', '/etc/containerd/config.toml')
    .action(async (options: CheckOptions) => {
      const { checkHost, thisHost } = await import('../check');
      const findings = checkHost(thisHost, { criu: frame.options.criu, ...options });
      if (options.json) print(`${JSON.stringify(findings, null, 2)}\n`);
      else printFindings(findings);
      if (findings.some(({ status }) => status === 'missing')) process.exitCode = 1;
    });
}

function printFindings(findings: readonly Finding[]): void {
  const rows = findings.map(({ feature, status, found }) => [feature, status, found]);
  print(table([['FEATURE', 'STATUS', 'FOUND'], ...rows]));
  const todo = findings.flatMap(({ feature, todo: text }) => (text === undefined ? [] : [`${feature}: ${text}`]));
  if (todo.length > 0) print(`\n${todo.join('\n')}\n`);
}
