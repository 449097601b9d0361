import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { SiltError } from '../errors';

export type LogFormat = 'text' | 'json' | 'json-k8s';

export interface LogOptions {
  /** The file that engines read errors from; without it, standard error has all but errors, which are said there anyway. */
  readonly log?: string;
  readonly logFormat: LogFormat;
  /** Whether debug lines are written at all. */
  readonly debug: boolean;
  /** A second file, or with a closing `/` a directory for one; it has debug lines always. */
  readonly debugLog?: string;
  readonly debugLogFormat: LogFormat;
  readonly alsologtostderr: boolean;
}

/** Not `process.stderr.fd`: making that stream takes longer than most commands' own work. */
const STDERR = 2;

type Level = 'error' | 'warning' | 'info' | 'debug';
type Line = (level: Level, message: string, time: string) => string;

/** The lines of the logger that runc uses (logrus), which containerd-shim-runc-v2 and dockerd parse; and of runsc for Kubernetes. */
const FORMATS: Readonly<Record<LogFormat, Line>> = {
  text: (level, message, time) => `time="${time}" level=${level} msg=${JSON.stringify(message)}\n`,
  json: (level, message, time) => `${JSON.stringify({ level, msg: message, time })}\n`,
  'json-k8s': (level, message, time) => `${JSON.stringify({ log: message, level, time })}\n`,
};

interface Sink {
  readonly fd: number;
  readonly format: Line;
  readonly levels: readonly Level[];
}

/** The log of one command: lines are written at once and whole, so that several commands may share a file. */
export class Log {
  readonly #sinks: Sink[] = [];

  /** @throws SiltError REQUEST_INVALID naming the file that cannot be opened. */
  constructor(options: LogOptions, command: string) {
    const levels: Level[] = options.debug ? ['error', 'warning', 'info', 'debug'] : ['error', 'warning', 'info'];
    const format = FORMATS[options.logFormat];
    if (options.log !== undefined) this.#sinks.push({ fd: open(options.log), format, levels });
    if (options.log === undefined || options.alsologtostderr)
      this.#sinks.push({ fd: STDERR, format, levels: levels.slice(1) });
    if (options.debugLog !== undefined) {
      const path = debugLogPath(options.debugLog, command, new Date());
      const all: Level[] = ['error', 'warning', 'info', 'debug'];
      this.#sinks.push({ fd: open(path), format: FORMATS[options.debugLogFormat], levels: all });
    }
  }

  error(message: string): void {
    this.#write('error', message);
  }

  warning(message: string): void {
    this.#write('warning', message);
  }

  info(message: string): void {
    this.#write('info', message);
  }

  debug(message: string): void {
    this.#write('debug', message);
  }

  close(): void {
    for (const { fd } of this.#sinks.splice(0)) if (fd !== STDERR) closeSync(fd);
  }

  #write(level: Level, message: string): void {
    const sinks = this.#sinks.filter(({ levels }) => levels.includes(level));
    // The first look at the local time reads the time zone.
    if (sinks.length === 0) return;
    const time = localTime(new Date());
    for (const { fd, format } of sinks) writeSync(fd, format(level, message, time));
  }
}

function open(path: string): number {
  try {
    return openSync(path, 'a', 0o644);
  } catch (error) {
    const message = `cannot open the log ${path}: ${(error as Error).message}`;
    throw new SiltError('REQUEST_INVALID', message, { path }, { cause: error });
  }
}

/** runsc's names: a directory gets a file per command, and %COMMAND% and %TIMESTAMP% are filled in. */
export function debugLogPath(pattern: string, command: string, now: Date): string {
  const stamp = now.toISOString().replace(/[-:]/g, '').replace('T', '-').replace('Z', '');
  const path = pattern.endsWith('/') ? `${pattern}silt.log.%TIMESTAMP%.%COMMAND%.txt` : pattern;
  const filled = path.replaceAll('%TIMESTAMP%', stamp).replaceAll('%COMMAND%', command.replaceAll(' ', '-'));
  if (pattern.endsWith('/')) mkdirSync(dirname(filled), { recursive: true });
  return filled;
}

/** RFC 3339 in seconds with the local time's offset, as Go's time.RFC3339. */
export function localTime(date: Date): string {
  const offset = -date.getTimezoneOffset();
  const local = new Date(date.getTime() + offset * 60_000).toISOString().slice(0, 19);
  if (offset === 0) return `${local}Z`;
  const part = (minutes: number): string => `${minutes}`.padStart(2, '0');
  const size = Math.abs(offset);
  return `${local}${offset < 0 ? '-' : '+'}${part(Math.floor(size / 60))}:${part(size % 60)}`;
}
