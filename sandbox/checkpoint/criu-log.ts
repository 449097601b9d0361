/** What CRIU says in its log. */

/** CRIU's complaint about a limit that it would like to raise and does not need. */
const HARMLESS = /RLIMIT_NOFILE/;

/** The messages of `(00.1) 12: Error (criu/x.c:1): message` lines, in order. */
export function errorsOf(log: string): string[] {
  const found = [...log.matchAll(/^(?:\([\d.]+\)\s+)?(?:(\d+):\s+)?Error \([^)]*\): (.*)$/gm)];
  return found
    .map(([, pid, message = '']) => (pid === undefined ? message.trim() : `process ${pid}: ${message.trim()}`))
    .filter((message) => !HARMLESS.test(message));
}
