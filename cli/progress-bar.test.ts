import { ProgressBar, type BarOutput } from './progress-bar';

function terminal(more: Partial<BarOutput> = {}): BarOutput & { text: string } {
  const output: BarOutput & { text: string } = {
    isTTY: true,
    columns: 40,
    text: '',
    write: (text: string) => void (output.text += text),
    ...more,
  };
  return output;
}

const MEBIBYTE = 1 << 20;

test('a bar grows with what is done', () => {
  const output = terminal();
  const bar = new ProgressBar('saving', output);
  bar.update({ done: 0, total: 4 * MEBIBYTE });
  bar.update({ done: 2 * MEBIBYTE, total: 4 * MEBIBYTE });
  const lines = output.text.split('\r\u001b[K').slice(1);
  expect(lines).toEqual(['saving [                 ]  0% 0.0 MiB', 'saving [=========        ] 50% 2.0 MiB']);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(40);
});

test('it does not say that all is done before it is', () => {
  const output = terminal();
  new ProgressBar('saving', output).update({ done: 9 * MEBIBYTE, total: 4 * MEBIBYTE });
  expect(output.text).toContain('99% 9.0 MiB');
});

test('it is taken away, once', () => {
  const output = terminal();
  const bar = new ProgressBar('saving', output);
  bar.clear();
  expect(output.text).toBe('');
  bar.update({ done: 0, total: 0 });
  output.text = '';
  bar.clear();
  bar.clear();
  expect(output.text).toBe('\r\u001b[K');
});

test('nothing is drawn on what is no terminal', () => {
  const output = terminal({ isTTY: false });
  const bar = new ProgressBar('saving', output);
  bar.update({ done: 1, total: 2 });
  bar.clear();
  expect(output.text).toBe('');
});
