import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { Writable } from 'node:stream';
import { createLogger, format, transports } from 'winston';

export interface FifoLogger {
  log(level: string, message: string, fields: object): void;
  /** Once what was logged is written. */
  close(): void;
}

/** A winston logger that writes JSON lines to containerd's `log` fifo. */
export function createFifoLogger(path: string, level: string, fields: object): FifoLogger {
  const stream = fifoStream(path);
  const logger = createLogger({
    level,
    defaultMeta: fields,
    format: format.combine(format.timestamp(), format.json()),
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- winston's types do not say that its Stream is a transport
    transports: [new transports.Stream({ stream })],
  });
  return {
    log: (lineLevel, message, extra) => void logger.log(lineLevel, message, extra),
    close: () => void logger.once('finish', () => stream.end()).end(),
  };
}

/**
 * Never waits and never fails: the fifo is held open for reading too, so that there is no EPIPE while containerd is away,
 * and what does not fit into it is dropped.
 */
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
