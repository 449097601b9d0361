import { closeSync } from 'node:fs';
import { C, type Kernel, ProgramBuilder, receivedFds, receiveMessage } from '../syscall';

const READABLE = 1;
/** How the name of a server's socket ends whose fronts wait for a greeting. */
const GREETING_END = '.2';
/** As many bytes as the front reads of a refusal. */
const MAX_REFUSAL_SIZE = 500;
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
 * waits for a greeting, sends its words and its socket, and hears whether the pod has been taken. A connection that ends without a word
 * tells the front to go to another server; a refusal, that there is none to go to.
 */
export class PodIntake {
  readonly #stop: () => void;
  /** False: the fronts send their pods at once, and take any byte for a yes. */
  readonly #greets: boolean;
  #open = true;

  /**
   * @param path of the socket; its end says what fronts expect that connect to it, as they may be older or newer than this server while silt
   *   is installed
   * @param fd the listening SOCK_SEQPACKET socket, the intake's from now on
   * @param take takes the pod, or returns false; what it throws is what the front says and fails with
   */
  constructor(
    private readonly kernel: Kernel,
    path: string,
    private readonly fd: number,
    private readonly take: (pod: GivenPod) => boolean,
  ) {
    this.#greets = path.endsWith(GREETING_END);
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
    // Who has gone already, as it was not greeted in time, has given its pod to another server.
    if (this.#greets && !this.#say(fd, 'r')) {
      closeSync(fd);
      return;
    }
    const watch = this.kernel.watch(fd, READABLE, () => {
      watch.close();
      try {
        const pod = this.#receive(fd);
        if (pod) this.#answer(fd, pod);
      } finally {
        closeSync(fd);
      }
    });
  }

  #answer(connection: number, pod: GivenPod): void {
    let taken = false;
    try {
      taken = this.#open && this.take(pod);
      if (taken) this.#say(connection, 'k');
    } catch (error) {
      if (!this.#greets) return;
      const reason = Buffer.from(`n${error instanceof Error ? error.message : String(error)}`);
      this.#say(connection, reason.subarray(0, MAX_REFUSAL_SIZE));
    } finally {
      if (!taken) closeSync(pod.listenFd);
    }
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

  /** Returns whether somebody was there to hear it. */
  #say(connection: number, message: string | Buffer): boolean {
    const p = new ProgramBuilder();
    const bytes = Buffer.from(message);
    const result = p.slot('sent');
    p.step('answering a front').call('sendto', [connection, p.bytes(bytes), bytes.length, C.MSG_NOSIGNAL, 0, 0], {
      out: result,
      tolerate: ['EPIPE', 'ECONNRESET', 'EAGAIN'],
    });
    return this.kernel.run(p.build()).get(result) === bytes.length;
  }
}
