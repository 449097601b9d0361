/**
 * What keeps packets of a saved TCP connection from a kernel that has no socket for them, and would answer with a reset: CRIU's netfilter
 * rules, two for each connection, in the network namespace that it dumps from. They stay when a container was saved to end.
 */
import { readFileSync } from 'node:fs';

/** CRIU's rule for one connection as iptables-save prints it; 0xc114 marks its own packets (SOCCR_MARK of its soccr.h). */
const RULE =
  /^-A (INPUT|OUTPUT) -s (\S+)\/(?:32|128) -d (\S+)\/(?:32|128) -p tcp -m mark ! --mark 0xc114 -m tcp --sport (\d+) --dport (\d+) -j DROP$/;
const NOT_FOUND = 127;
const FAMILIES = [
  { tool: 'iptables', table: 'tcp' },
  { tool: 'ip6tables', table: 'tcp6' },
] as const;

/**
 * Takes the rules away that hold back a connection which is there: of a container that was restored, or whose dump was cut short.
 * Those of connections that wait for a restore stay.
 * @param pid of a process in the network namespace
 * @param warn is told why a connection may be held back still; all else of the container is well
 */
export async function unlockConnections(pid: number, warn: (message: string) => void): Promise<void> {
  try {
    await unlock(pid);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    warn(`TCP connections of process ${pid} may be held back by CRIU's rules of iptables: ${reason}`);
  }
}

async function unlock(pid: number): Promise<void> {
  for (const { tool, table } of FAMILIES) {
    const saved = await runIn(pid, [`${tool}-save`, '-t', 'filter']);
    if (saved === undefined || !saved.includes('0xc114')) continue;
    const present = connectionsIn(readFileSync(`/proc/${pid}/net/${table}`, 'latin1'));
    const rules = heldRules(saved, present);
    if (rules.length === 0) continue;
    const input = ['*filter', ...rules.map((rule) => rule.replace('-A', '-D')), 'COMMIT', ''].join('\n');
    await runIn(pid, [`${tool}-restore`, '--wait', '--noflush'], input);
  }
}

/** @param saved what iptables-save prints. @returns the rules that hold back one of these connections. */
export function heldRules(saved: string, connections: ReadonlySet<string>): string[] {
  return saved.split('\n').filter((line) => {
    const [, chain, source, destination, sport, dport] = RULE.exec(line) ?? [];
    if (chain === undefined) return false;
    const ends = [`${address(source!)} ${sport}`, `${address(destination!)} ${dport}`];
    return connections.has((chain === 'OUTPUT' ? ends : ends.reverse()).join(' '));
  });
}

/** Of /proc/PID/net/tcp or tcp6 (proc_pid_net(5)): its own address and port, then the peer's. */
export function connectionsIn(table: string): Set<string> {
  const lines = table.trim().split('\n').slice(1);
  return new Set(lines.map((line) => line.trim().split(/\s+/).slice(1, 3).map(endOf).join(' ')));
}

/** Words of 32 bits in the machine's order, all of which are little-endian. */
function endOf(text: string): string {
  const [words = '', port = ''] = text.split(':');
  const bytes = Buffer.from(words, 'hex').swap32();
  return `${bytes.toString('hex')} ${parseInt(port, 16)}`;
}

/** In hexadecimal digits: an address has more than one text. */
function address(text: string): string {
  if (!text.includes(':')) return Buffer.from(text.split('.').map(Number)).toString('hex');
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  const [, front = '', ...bytes] = dotted ?? [];
  const [a = 0, b = 0, c = 0, d = 0] = bytes.map(Number);
  const plain = dotted ? `${front}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}` : text;
  const [head = '', tail] = plain.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':').map((one) => one.padStart(4, '0')));
  const [first, last] = [groups(head), groups(tail ?? '')];
  return [...first, ...Array<string>(8 - first.length - last.length).fill('0000'), ...last].join('');
}

/** @returns its output; undefined when there is no such program: then CRIU cannot have used it either. */
async function runIn(pid: number, words: readonly string[], input = ''): Promise<string | undefined> {
  // Loading it takes longer than most commands' own work, and few checkpoints have connections.
  const { spawn } = process.getBuiltinModule('node:child_process');
  const child = spawn('nsenter', [`--net=/proc/${pid}/ns/net`, '--', ...words], { cwd: '/' });
  let [output, errors] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  child.stdin.on('error', () => undefined).end(input);
  const status = await new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve));
  if (status === 0) return output;
  if (status === NOT_FOUND) return undefined;
  throw new Error(`${words[0]}: ${errors.trim() || `exit status ${status}`}`);
}
