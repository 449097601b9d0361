import { parseArgs } from 'node:util';
import { SiltError } from '../errors';

/** How containerd calls a shim (its runtime/v2/README.md, "Commands"). */
export interface ShimArguments {
  readonly namespace: string;
  /** containerd's gRPC address. */
  readonly address: string;
  readonly publishBinary: string;
  readonly id: string;
  /** The bundle, for `delete`; the working directory otherwise is. */
  readonly bundle: string;
  /** For `serve`: the path of the listening socket, to be removed at the end. */
  readonly socket: string;
  /** For `serve`: the path of the server's own socket. */
  readonly server: string;
  readonly debug: boolean;
  readonly version: boolean;
  readonly info: boolean;
  /** `start`, `delete`, or none: serve. */
  readonly action: string;
}

/** Ids and namespaces as containerd makes them (its identifiers package). They become names of directories. */
const IDENTIFIER = /^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/;
const MAX_IDENTIFIER = 76;

function checkIdentifier(flag: string, value: string): void {
  if (IDENTIFIER.test(value) && value.length <= MAX_IDENTIFIER) return;
  throw new SiltError(
    'REQUEST_INVALID',
    `-${flag} must be letters and digits with single . _ - between them, at most ${MAX_IDENTIFIER} characters, not ${JSON.stringify(value)}`,
  );
}

/** @throws SiltError REQUEST_INVALID naming the flag. */
export function parseArguments(args: readonly string[]): ShimArguments {
  // Go's flag package takes one dash or two and `-flag value` or `-flag=value`; parseArgs wants two dashes.
  const dashed = args.map((arg) => (/^-[a-z]/.test(arg) ? `-${arg}` : arg));
  try {
    const { values, positionals } = parseArgs({
      args: dashed,
      allowPositionals: true,
      options: {
        namespace: { type: 'string', default: '' },
        address: { type: 'string', default: '' },
        'publish-binary': { type: 'string', default: '' },
        id: { type: 'string', default: '' },
        bundle: { type: 'string', default: '' },
        socket: { type: 'string', default: '' },
        server: { type: 'string', default: '' },
        // Said to the front only, by `start` in Node; the server is given the same words.
        pod: { type: 'string', default: '' },
        debug: { type: 'boolean', default: false },
        v: { type: 'boolean', default: false },
        version: { type: 'boolean', default: false },
        info: { type: 'boolean', default: false },
      },
    });
    const action = positionals[0] ?? '';
    if (action !== '') for (const name of ['id', 'namespace'] as const) checkIdentifier(name, values[name]);
    return {
      namespace: values.namespace,
      address: values.address,
      publishBinary: values['publish-binary'],
      id: values.id,
      bundle: values.bundle === '' ? process.cwd() : values.bundle,
      socket: values.socket,
      server: values.server,
      debug: values.debug,
      version: values.v || values.version,
      info: values.info,
      action,
    };
  } catch (error) {
    if (error instanceof SiltError) throw error;
    throw new SiltError(
      'REQUEST_INVALID',
      `containerd-shim-silt-v1: ${(error as Error).message}`,
      {},
      { cause: error },
    );
  }
}
