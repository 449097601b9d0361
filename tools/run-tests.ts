/**
 * Runs the test runners one after another and counts what they report.
 *
 *   run-tests [--suite=PATTERN] [--peers=system,trixie,sid] [--closing=no] unit|integration…
 *
 * A failing runner does not keep the next one from running. Integration test files that fail are run once more. Exit status 1 if
 * anything failed.
 */
import { spawn } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { checkout } from '../integration/harness/checkout';
import { fetchCriu } from '../integration/harness/criu';
import { fetchDocker } from '../integration/harness/docker-peers';
import { fetchProgramRoot } from '../integration/harness/program-root';
import { fetchRunsc } from '../integration/harness/runsc';
import { fetchPeer, peerNames } from '../integration/harness/peers';
import { failedFiles, printTally, reportDirectory, type RunRecord } from './reports';

/** More than these, and it is no accident. */
const MOST_FILES_AGAIN = 4;

const runs: RunRecord[] = [];

/** Runs a program with its output on ours, and in a file as well when asked for, and returns its exit status. */
async function show(argv: readonly string[], env: NodeJS.ProcessEnv, copyTo?: string): Promise<number> {
  const [file = '', ...args] = argv;
  const child = spawn(file, args, {
    cwd: checkout,
    env,
    stdio: ['ignore', copyTo === undefined ? 'inherit' : 'pipe', 'inherit'],
  });
  if (copyTo !== undefined) {
    const copy = createWriteStream(copyTo);
    child.stdout?.on('data', (chunk: Buffer) => {
      process.stdout.write(chunk);
      copy.write(chunk);
    });
    child.stdout?.on('end', () => copy.end());
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
}

async function record(name: string, report: string, run: (report: string) => Promise<number>): Promise<void> {
  console.log(`\n== ${name}`);
  note({ name, exitCode: await run(join(reportDirectory, report)), report });
}

function note(run: RunRecord): void {
  runs.push(run);
  writeFileSync(join(reportDirectory, 'runs.json'), JSON.stringify(runs));
}

function jest(
  config: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): (report: string) => Promise<number> {
  const program = [process.execPath, 'node_modules/jest/bin/jest.js', '--config', config, '--ci'];
  return (report) => show([...program, '--json', '--outputFile', report, ...args], { ...process.env, ...env });
}

async function runUnit(): Promise<void> {
  const make = (target: string): string[] => [
    'make',
    '--no-print-directory',
    '-C',
    'native',
    'OUT=../build/native',
    target,
  ];
  for (const target of ['test', 'fuzz']) {
    await record(`native ${target}`, `native-${target}.txt`, (report) => show(make(target), process.env, report));
  }
  await record('unit', 'unit.json', jest('jest.config.mjs', []));
}

/**
 * Runs integration tests, and files that failed a second time, when they are few: dozens of daemons start and end beside them, and a
 * machine that stood still for some seconds is no fault of silt's. What passes only then is named in the closing lines.
 */
async function runWithSecondChance(
  name: string,
  report: string,
  patterns: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const config = 'integration/jest.config.mjs';
  const first = { name, report: `${report}.json` };
  console.log(`\n== ${name}`);
  const exitCode = await jest(config, patterns, env)(join(reportDirectory, first.report));
  const failed = existsSync(join(reportDirectory, first.report))
    ? failedFiles(readFileSync(join(reportDirectory, first.report), 'utf8'))
    : [];
  if (failed.length === 0 || failed.length > MOST_FILES_AGAIN) {
    note({ ...first, exitCode });
    return;
  }
  console.log(`\n== ${name}, once more what failed`);
  const secondReport = `${report}-again.json`;
  const again = await jest(config, ['--runTestsByPath', ...failed], env)(join(reportDirectory, secondReport));
  note({ ...first, exitCode: again, secondReport });
}

async function runIntegration(suite: string, peers: readonly string[]): Promise<void> {
  await fetchCriu();
  await fetchProgramRoot();
  await fetchRunsc();
  for (const name of peers) {
    const peer = await fetchPeer(name);
    await fetchDocker(name);
    const env = { SILT_TEST_PEER: name, SILT_TEST_SKIP: 'reason' in peer ? peer.reason : '' };
    console.log('reason' in peer ? `\n${name}: ${peer.reason}` : `\n${name}: containerd ${peer.version}`);
    await runWithSecondChance(`integration ${name}`, `integration-${name}`, suite === '' ? [] : [suite], env);
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      suite: { type: 'string', default: '' },
      peers: { type: 'string', default: '' },
      closing: { type: 'string', default: 'yes' },
    },
  });
  rmSync(reportDirectory, { recursive: true, force: true });
  mkdirSync(reportDirectory, { recursive: true });
  const peers = values.peers === '' ? peerNames : values.peers.split(',');
  if (positionals.includes('unit')) await runUnit();
  if (positionals.includes('integration')) await runIntegration(values.suite, peers);
  console.log('');
  process.exitCode = printTally(values.closing !== 'no') ? 0 : 1;
}

void main();
