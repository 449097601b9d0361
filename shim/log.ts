import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { Writable } from 'node:stream';
import type winston from 'winston';

export type Level = 'error' | 'warn' | 'info' | 'debug';

/** Structured logs: a JSON object per line. */
export interface Log {
  error(message: string, fields?: object): void;
  warn(message: string, fields?: object): void;
  info(message: string, fields?: object): void;
  debug(message: string, fields?: object): void;
}

/**
 * Logs to containerd's `log` fifo. A reader that is slow or away costs lines, never time: the fifo is held open for reading
 * too, so writing cannot fail with EPIPE, and it never blocks.
 */
export function openLog(path: string, level: Level, fields: object): Log {
  let logger: winston.Logger | undefined;
  const write = (at: Level, message: string, extra: object = {}): void => {
    logger ??= createLogger(path, level, fields);
    logger.log(at, message, extra);
  };
  const rank: readonly Level[] = ['error', 'warn', 'info', 'debug'];
  const enabled = (at: Level): boolean => rank.indexOf(at) <= rank.indexOf(level);
  const at =
    (name: Level) =>
    (message: string, extra?: object): void => {
      if (enabled(name)) write(name, message, extra);
    };
  return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug') };
}

/** Loaded when the first line is written: most pods end without one, and winston is a third of what a shim would load. */
function createLogger(path: string, level: Level, fields: object): winston.Logger {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- a static import would load it at start
  const { createLogger: create, format, transports } = require('winston') as typeof winston;
  return create({
    level,
    defaultMeta: fields,
    format: format.combine(format.timestamp(), format.json()),
    transports: [new transports.Stream({ stream: fifoStream(path) })],
  });
}

function fifoStream(path: string): Writable {
  let fd: number | undefined;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  } catch {
    // Without containerd's fifo (a shim started by hand) there is nowhere to log to.
  }
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      try {
        if (fd !== undefined) writeSync(fd, chunk);
      } catch {
        // EAGAIN: the fifo is full, and nobody may wait for its reader.
      }
      done();
    },
    destroy(error, done) {
      if (fd !== undefined) closeSync(fd);
      done(error);
    },
  });
}
