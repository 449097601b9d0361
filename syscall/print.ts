import { errnoName } from './constants';
import type { CallInstruction, Instruction, Program } from './program';

/** One instruction as plain data, for `--json`. */
export interface ListedInstruction {
  readonly index: number;
  /** Which of the program's processes runs it; empty for the one that is started. */
  readonly process: string;
  /** What it is for. */
  readonly step: string;
  readonly call: string;
}

/** What a program will do, a line per instruction, in the way of strace(1); each step is announced once. */
export function printProgram(program: Program): string {
  const lines: string[] = [];
  let heading = '';
  for (const { index, process, step, call } of listProgram(program)) {
    const next = `# ${process === '' ? '' : `[${process}] `}${step}`;
    if (next !== heading) lines.push(next);
    heading = next;
    lines.push(`${String(index).padStart(4)}  ${call}`);
  }
  return `${lines.join('\n')}\n`;
}

/** The same as data. */
export function listProgram(program: Program): ListedInstruction[] {
  return program.instructions.map((instruction, index) => ({
    index,
    process: instruction.process,
    step: instruction.step,
    call: describe(instruction),
  }));
}

function describe(instruction: Instruction): string {
  if (instruction.kind === 'call') return describeCall(instruction);
  const condition = instruction.kind === 'jumpIfZero' ? '== 0' : '!= 0';
  return `if $${instruction.slotName} ${condition} go to ${instruction.target}`;
}

function describeCall(call: CallInstruction): string {
  const args = call.operands.map(({ text }) => text).join(', ');
  const result = call.outName === undefined ? '' : ` = $${call.outName}`;
  const notes: string[] = [];
  if (call.tolerateAll) notes.push('may fail');
  if (call.tolerated.length > 0) notes.push(`may fail with ${call.tolerated.map(errnoName).join(', ')}`);
  if (call.repeat) notes.push('until all is done');
  return `${call.name}(${args})${result}${notes.length > 0 ? `  (${notes.join('; ')})` : ''}`;
}
