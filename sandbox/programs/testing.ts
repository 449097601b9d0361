/** For tests of programs: what their listings say, and whether the interpreter would take them. */
import { loadNative } from '../../native';
import { errnoNumber, listProgram, type Program, syscallNumbers } from '../../syscall';

/** The calls of one of a program's processes: '' for the one that is started, 'helper/launcher' and so on. */
export function callsIn(program: Program, process: string): string[] {
  return listProgram(program)
    .filter((one) => one.process === process)
    .map(({ call }) => call);
}

/** The processes of a program, in the order in which their instructions stand. */
export function processesOf(program: Program): string[] {
  return [...new Set(listProgram(program).map(({ process }) => process))];
}

/** Those of the calls that match, each once for a row of equal ones, by the part that matched. */
export function sequenceOf(calls: readonly string[], pattern: RegExp): string[] {
  const found = calls.flatMap((call) => pattern.exec(call)?.[0] ?? []);
  return found.filter((one, i) => one !== found[i - 1]);
}

/** Every absolute path that a program hands to the kernel, each once, as `process: call path`. */
export function absolutePaths(program: Program): string[] {
  const paths = program.instructions.flatMap((instruction) => {
    if (instruction.kind !== 'call') return [];
    const { process, name, operands } = instruction;
    const texts = operands.filter(({ kind }) => kind === 'address').map(({ text }) => text);
    return texts
      .filter((text) => text.startsWith('"/'))
      .map((text) => `${process}: ${name} ${JSON.parse(text) as string}`);
  });
  return [...new Set(paths)];
}

/**
 * Has the interpreter check a whole program without running any of it: its first instruction is replaced by one that fails.
 * A program that is refused throws PROGRAM_INVALID with the reason.
 */
export function checkByInterpreter(program: Program): void {
  const failing = Buffer.alloc(72);
  failing.writeUInt16LE(syscallNumbers(program.arch)['fchdir']!, 2);
  failing.writeUInt16LE(0xffff, 4);
  failing.writeBigInt64LE(-1n, 24);
  const bytes = program.encode();
  bytes.set(failing, 32);
  const outcome = loadNative().run(bytes, new BigInt64Array(program.slots.length));
  if (outcome !== errnoNumber('EBADF')) throw new Error(`the program ran: ${outcome}`);
}
