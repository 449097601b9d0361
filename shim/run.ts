import { SiltError } from '../errors';
import { parseArguments } from './arguments';
import { cleanUp } from './clean-up';
import { printInfo, VERSION_TEXT } from './info';
import { serve } from './serve';
import { startServer } from './start';

/** The front puts the listening sockets of the first pod and of the server here. */
const POD_FD = 3;
const SERVER_FD = 4;

async function main(): Promise<void> {
  const args = parseArguments(process.argv.slice(2));
  if (args.version) process.stdout.write(VERSION_TEXT);
  else if (args.info) await printInfo();
  else if (args.action === 'start') await startServer(args);
  else if (args.action === 'delete') await cleanUp(args);
  else if (args.action === 'serve') serve(args, POD_FD, SERVER_FD);
  else
    throw new SiltError(
      'REQUEST_INVALID',
      `containerd-shim-silt-v1 is started by containerd; it has the commands start and delete, not ${JSON.stringify(args.action)}`,
    );
}

main().catch((error: unknown) => {
  process.stderr.write(`containerd-shim-silt-v1: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
