/**
 * One packing or unpacking, as a process, so that it can be compared with those of other programs:
 *
 *   archiver silt|tar-fs pack|unpack DIRECTORY ARCHIVE
 *
 * Prints the most memory that the process had, in KiB.
 */
import { closeSync, constants, createReadStream, createWriteStream, openSync, readFileSync, writeSync } from 'node:fs';
import { loadNative } from '../../native';
import { expectShortRun, pack, performPrivileged, unpack } from '../../sandbox/archive';

/** Links of a root filesystem may be absolute. */
const EVERY_LINK = { validateSymlinks: false } as object;

async function main([who, what, directory = '', archive = '']: readonly string[]): Promise<void> {
  if (who === 'tar-fs') {
    // Not part of the bundle: silt would have to be compiled together with it.
    const tar = await import('tar-fs');
    const { pipeline } = await import('node:stream/promises');
    if (what === 'pack') await pipeline(tar.pack(directory), createWriteStream(archive));
    else await pipeline(createReadStream(archive), tar.extract(directory, EVERY_LINK));
  } else {
    // An unpacker is started with the flags.
    if (what === 'pack') expectShortRun();
    const runner = loadNative();
    const upperFd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
    const fd = openSync(archive, what === 'pack' ? 'w' : 'r');
    const warnings: string[] = [];
    const onWarning = (message: string): void => void warnings.push(message);
    if (what === 'pack') await pack({ runner, upperFd, outFd: fd, onWarning });
    else {
      const privileged = (request: Parameters<typeof performPrivileged>[1]): void => performPrivileged(runner, request);
      await unpack({ runner, archiveFd: fd, upperFd, privileged, onWarning });
    }
    closeSync(fd);
    closeSync(upperFd);
    if (warnings.length > 0) console.error(warnings.slice(0, 10).join('\n'));
  }
  // Not by console.log, which loads streams: a tenth of the time that packing a small tree takes.
  writeSync(1, `${mostMemory()}\n`);
}

/** Not ru_maxrss of getrusage(2): that begins with what the process had that this one was forked from. */
function mostMemory(): string {
  return /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'))![1]!;
}

void main(process.argv.slice(2));
