import { failureOf } from '../check.fixture';
import { findSyntaxError, parseJson } from './json';

test.each([
  ['', 1, 1, 'the text ends where a value must be'],
  ['{"a": x}', 1, 7, 'there is "x}" where a value must be'],
  ['{"a": 1,\n "b": 2,\n}', 3, 1, 'there is "}" where a name in double quotes must be'],
  ['{"a": 1\n "b": 2}', 2, 2, 'there is "\\"b\\": 2}" where "," or "}" must be'],
  ['[1, 2', 1, 6, 'the text ends where "," or "]" must be'],
  ['{"a" 1}', 1, 6, 'there is "1}" where ":" must be'],
  ['{} {}', 1, 4, 'there is "{}" where the end must be'],
  ['{"a": "x\ny"}', 1, 7, 'there is "\\"x\\ny\\"}" where a value must be'],
  ['[01]', 1, 2, 'there is "01]" where a value or "]" must be'],
  ["{'a': 1}", 1, 2, 'there is "\'a\': 1}" where a name in double quotes or "}" must be'],
  ['{"a": nul}', 1, 7, 'there is "nul}" where a value must be'],
  ['\ufeff{}', 1, 1, 'there is "\ufeff{}" where a value must be'],
])('%j', (text, line, column, problem) => {
  expect(() => JSON.parse(text) as unknown).toThrow(SyntaxError);
  expect(findSyntaxError(text)).toEqual({ line, column, problem });
});

test('the error has code and place', () => {
  expect(failureOf(() => parseJson('{\n  "a": [1,]\n}'))).toMatchObject({
    code: 'SPEC_INVALID',
    message: 'line 2, column 11: there is "]\\n}" where a value must be',
  });
});

test('numbers keep their value', () => {
  expect(
    parseJson('[1, -2.5e3, 9007199254740993, -9007199254740993, 1e20, 18446744073709551615, 0.12345678901234568]'),
  ).toEqual([...[1, -2500, 9007199254740993n, -9007199254740993n, 1e20, 18446744073709551615n, 0.12345678901234568]]);
});
