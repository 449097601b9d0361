/** The other end of the sockets that engines are sent fds over (consoles, pidfds: Node's own sockets drop what they are sent), and what comes from a console. */
import { closeSync } from 'node:fs';
import { loadNative } from '../../native';
import { C, Kernel, ProgramBuilder, receiveMessage, unixAddress } from '../../syscall';

const kernel = new Kernel(loadNative(), -1);

export class FdSocket {
  readonly #socket: number;

  /** A listening socket as engines make it. */
  constructor(path: string) {
    const p = new ProgramBuilder();
    const socket = p.slot('socket');
    p.call('socket', [C.AF_UNIX, C.SOCK_STREAM | C.SOCK_CLOEXEC, 0], { out: socket });
    const address = unixAddress(p, path);
    p.call('bind', [socket, address, address.size]);
    p.call('listen', [socket, 1]);
    this.#socket = kernel.run(p.build()).get(socket);
  }

  /** Takes the connection that has been made, and the fd that has been sent: the caller's to close. */
  receive(): number {
    const p = new ProgramBuilder();
    const connection = p.slot('connection');
    p.call('accept4', [this.#socket, 0, 0, C.SOCK_CLOEXEC], { out: connection });
    const received = receiveMessage(p, connection, 4096, 1);
    p.call('close', [connection]);
    const result = kernel.run(p.build());
    return result.image.readInt32LE(received.fds[0]!.offset);
  }

  close(): void {
    closeSync(this.#socket);
  }
}

/** Collects what comes from a terminal's master. */
export function readTerminal(master: number): { readonly text: string; close(): void } {
  const p = new ProgramBuilder();
  const buffer = p.space(4096);
  const count = p.slot('count');
  p.call('read', [master, buffer, 4096], { out: count, tolerate: 'all' });
  const program = p.build();
  const output = { text: '', close: () => watch.close() };
  const watch = kernel.watch(master, 1, () => {
    const result = kernel.run(program);
    output.text += result.at(buffer, Math.max(result.get(count), 0)).toString();
  });
  return output;
}
