import type { FifoLogger } from './winston-logger';

export type Level = 'error' | 'warn' | 'info' | 'debug';

/** Structured logs: a JSON object per line. */
export interface Log {
  error(message: string, fields?: object): void;
  warn(message: string, fields?: object): void;
  info(message: string, fields?: object): void;
  debug(message: string, fields?: object): void;
  /** Closes the fifo; what is logged after that is dropped. */
  close(): void;
}

const RANK: readonly Level[] = ['error', 'warn', 'info', 'debug'];

/** Logs to containerd's `log` fifo. A reader that is slow or away costs lines, never time. */
export function openLog(path: string, level: Level, fields: object): Log {
  let logger: FifoLogger | undefined;
  let closed = false;
  const at =
    (name: Level) =>
    (message: string, extra: object = {}): void => {
      if (closed || RANK.indexOf(name) > RANK.indexOf(level)) return;
      logger ??= load().createFifoLogger(path, level, fields);
      logger.log(name, message, extra);
    };
  const close = (): void => {
    closed = true;
    logger?.close();
  };
  return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug'), close };
}

/**
 * winston is twice the size of all the rest of the shim, and most pods end without a line: it is a bundle of its own, loaded
 * with the first one.
 */
function load(): typeof import('./winston-logger') {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- a static import would load it at start
  return require('./winston-logger') as typeof import('./winston-logger');
}
