/** What CRIU says in its log. */

/** Why CRIU has failed, as far as its log tells. */
export interface CriuFailure {
  /** Which process it was at, as CRIU numbers it: the host's pid in a dump, that of the container in a restore. */
  readonly process?: { readonly pid: number; readonly name?: string };
  /** Its complaints, in their order: the first is the cause, later ones follow from it. */
  readonly reasons: readonly string[];
}

/** What it complains of and does not need, and what only says that something before has failed. */
const NO_REASON = /RLIMIT_NOFILE|^Dump files \(pid: \d+\) failed|^Dumping FAILED|^Restoring FAILED/;

/** A line is `(00.1) 12: Error (criu/x.c:1): message`; the pid is there when a restored process writes it, `pie: 12` within the process. */
const LINE = /^(?:\([\d.]+\)\s*)?(?:(?:pie: )?(\d+):\s+)?Error \([^)]*\): (.*)$/;
/** Where a dump has come to: each process in turn. */
const AT = /Dumping task \(pid: (\d+) comm: (.*)\)$/;
const NAMED = /Unseizable non-zombie (\d+) found/;

/** Pure. */
export function explainLog(log: string): CriuFailure {
  let process: CriuFailure['process'];
  const reasons: string[] = [];
  for (const line of log.split('\n')) {
    const at = reasons.length === 0 ? AT.exec(line) : null;
    if (at) process = { pid: Number(at[1]), name: at[2]! };
    const [, pid, text] = LINE.exec(line) ?? [];
    const message = text?.trim();
    if (message === undefined || NO_REASON.test(message) || reasons.includes(message)) continue;
    const named = NAMED.exec(message)?.[1] ?? (process === undefined ? pid : undefined);
    if (reasons.length === 0 && named !== undefined) process = { pid: Number(named) };
    reasons.push(message);
  }
  return { ...(process && reasons.length > 0 ? { process } : {}), reasons };
}
