import { SiltError } from '../../errors';

/** A number that JSON.parse may round: 16 digits in a row are the shortest integers beyond 2^53. */
const LONG_NUMBER = /\d{16}/;

/**
 * JSON.parse with integers beyond 2^53 as bigints.
 * @throws SiltError SPEC_INVALID with line and column.
 */
export function parseJson(text: string): unknown {
  try {
    if (!LONG_NUMBER.test(text)) return JSON.parse(text);
    return JSON.parse(text, keepExact as (key: string, value: unknown) => unknown);
  } catch (error) {
    const { line, column, problem } = findSyntaxError(text);
    throw new SiltError('SPEC_INVALID', `line ${line}, column ${column}: ${problem}`, {}, { cause: error });
  }
}

/** V8 gives revivers the source text of a number since Node 21. */
function keepExact(_key: string, value: unknown, context: { source?: string }): unknown {
  const { source } = context;
  const inexact = typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value);
  return inexact && source !== undefined && /^-?\d+$/.test(source) ? BigInt(source) : value;
}

interface SyntaxProblem {
  readonly line: number;
  readonly column: number;
  readonly problem: string;
}

const TOKEN =
  /[\t\n\r ]*(?:([{}[\],:])|("(?:[ !#-[\]-\uffff]|\\(?:["\\/bfnrt]|u[\dA-Fa-f]{4}))*")|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.]))/y;

type Expected = 'value' | 'value or ]' | 'key' | 'key or }' | ':' | ', or ]' | ', or }' | 'end';

/**
 * Where a text stops being JSON. V8's own messages have a position only sometimes. `text` is known not to be JSON.
 * Columns count UTF-16 units from 1.
 */
export function findSyntaxError(text: string): SyntaxProblem {
  const open: ('{' | '[')[] = [];
  let expected: Expected = 'value';
  let at = 0;
  for (;;) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (!match) return problemAt(text, at, expected);
    const token = match[1] ?? (match[2] === undefined ? 'scalar' : 'string');
    const next = step(expected, token, open);
    if (next === undefined) return problemAt(text, at, expected);
    expected = next;
    at = TOKEN.lastIndex;
  }
}

/** What may follow `token`, or undefined when it must not be there. */
function step(expected: Expected, token: string, open: ('{' | '[')[]): Expected | undefined {
  const afterValue = (): Expected => (open.length === 0 ? 'end' : open.at(-1) === '{' ? ', or }' : ', or ]');
  const close = (): Expected => {
    open.pop();
    return afterValue();
  };
  switch (expected) {
    case 'value or ]':
      if (token === ']') return close();
      return step('value', token, open);
    case 'value':
      if (token === 'string' || token === 'scalar') return afterValue();
      if (token !== '{' && token !== '[') return undefined;
      open.push(token);
      return token === '{' ? 'key or }' : 'value or ]';
    case 'key or }':
      if (token === '}') return close();
      return token === 'string' ? ':' : undefined;
    case 'key':
      return token === 'string' ? ':' : undefined;
    case ':':
      return token === ':' ? 'value' : undefined;
    case ', or }':
      return token === '}' ? close() : token === ',' ? 'key' : undefined;
    case ', or ]':
      return token === ']' ? close() : token === ',' ? 'value' : undefined;
    case 'end':
      return undefined;
  }
}

const WORDS: Readonly<Record<Expected, string>> = {
  value: 'a value',
  'value or ]': 'a value or "]"',
  key: 'a name in double quotes',
  'key or }': 'a name in double quotes or "}"',
  ':': '":"',
  ', or ]': '"," or "]"',
  ', or }': '"," or "}"',
  end: 'the end',
};

function problemAt(text: string, from: number, expected: Expected): SyntaxProblem {
  const at = from + /^[\t\n\r ]*/.exec(text.slice(from))![0].length;
  const before = text.slice(0, at).split('\n');
  const found = at === text.length ? 'the text ends' : `there is ${JSON.stringify(text.slice(at, at + 12))}`;
  return {
    line: before.length,
    column: before.at(-1)!.length + 1,
    problem: `${found} where ${WORDS[expected]} must be`,
  };
}
