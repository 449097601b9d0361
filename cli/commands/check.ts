import type { Command } from 'commander';
import type { Finding } from '../check/finding';
import type { Frame } from '../frame';
import { table } from '../table';

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
      if (options.json) process.stdout.write(`${JSON.stringify(findings, null, 2)}\n`);
      else print(findings);
      if (findings.some(({ status }) => status === 'missing')) process.exitCode = 1;
    });
}

function print(findings: readonly Finding[]): void {
  const rows = findings.map(({ feature, status, found }) => [feature, status, found]);
  process.stdout.write(table([['FEATURE', 'STATUS', 'FOUND'], ...rows]));
  const todo = findings.flatMap(({ feature, todo: text }) => (text === undefined ? [] : [`${feature}: ${text}`]));
  if (todo.length > 0) process.stdout.write(`\n${todo.join('\n')}\n`);
}
