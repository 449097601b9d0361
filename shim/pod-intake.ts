import { closeSync } from 'node:fs';
import { C, type Kernel, ProgramBuilder, receivedFds, receiveMessage } from '../syscall';

const READABLE = 1;
/** As many bytes as the front sends at most. */
const MAX_WORDS_SIZE = 128 << 10;

/** A pod that a front hands over. */
export interface GivenPod {
  /** The flags of its `start`, with its bundle and the path of its socket. */
  readonly words: readonly string[];
  /** Its listening socket; whoever takes the pod closes it. */
  readonly listenFd: number;
}

/**
 * The server's own socket, where fronts hand pods over (native/front-server.c): one connection for each pod, on which the front
 * sends its words and its socket, and hears whether the pod has been taken. A connection that ends without a word tells the
 * front to go to another server.
 */
export class PodIntake {
  readonly #stop: () => void;
  #open = true;

  /**
   * @param fd the listening SOCK_SEQPACKET socket, the intake's from now on
   * @param take takes the pod, or returns false; what it throws is false too
   */
  constructor(
    private readonly kernel: Kernel,
    private readonly fd: number,
    private readonly take: (pod: GivenPod) => boolean,
  ) {
    const watch = kernel.watch(fd, READABLE, () => this.#accept());
    this.#stop = () => {
      watch.close();
      closeSync(fd);
    };
  }

  /** Takes no more pods; fronts that wait go to another server. The socket's name must be gone by then. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#stop();
  }

  #accept(): void {
    const p = new ProgramBuilder();
    const connection = p.slot('connection');
    p.step('accepting a front').call('accept4', [this.fd, 0, 0, C.SOCK_CLOEXEC | C.SOCK_NONBLOCK], {
      out: connection,
      tolerate: ['EAGAIN', 'ECONNABORTED'],
    });
    const fd = this.kernel.run(p.build()).get(connection);
    if (fd < 0) return;
    const watch = this.kernel.watch(fd, READABLE, () => {
      watch.close();
      try {
        const pod = this.#receive(fd);
        if (pod && this.#taken(pod)) this.#confirm(fd);
      } finally {
        closeSync(fd);
      }
    });
  }

  #taken(pod: GivenPod): boolean {
    let taken = false;
    try {
      taken = this.#open && this.take(pod);
    } finally {
      if (!taken) closeSync(pod.listenFd);
    }
    return taken;
  }

  #receive(connection: number): GivenPod | undefined {
    const p = new ProgramBuilder();
    const received = receiveMessage(p, connection, MAX_WORDS_SIZE, 1, 'pod', { tolerate: ['ECONNRESET', 'EAGAIN'] });
    const result = this.kernel.run(p.build());
    const size = result.get(received.count);
    if (size <= 0) return undefined;
    const [listenFd] = receivedFds(result.image, received);
    if (listenFd === undefined) return undefined;
    return { words: result.at(received.payload, size).toString().split('\0').slice(0, -1), listenFd };
  }

  #confirm(connection: number): void {
    const p = new ProgramBuilder();
    p.step('answering a front').call('sendto', [connection, p.bytes(Buffer.from('k')), 1, C.MSG_NOSIGNAL, 0, 0], {
      tolerate: ['EPIPE', 'ECONNRESET', 'EAGAIN'],
    });
    this.kernel.run(p.build());
  }
}
