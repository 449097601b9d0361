import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { refusal } from '../errors/testing/refusal';
import { Host, parseCapabilities, parseLimits } from './host';

const LIMITS = `Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max stack size            8388608              unlimited            bytes     
Max core file size        0                    unlimited            bytes     
Max open files            1024                 524288               files     
Max address space         18446744073709551614 18446744073709551614 bytes     
Max nice priority         0                    0                    
Max realtime timeout      unlimited            unlimited            us        
`;

describe('/proc/PID/limits', () => {
  test('gives the hard limits by name', () => {
    expect([...parseLimits(LIMITS)]).toEqual([
      ['Max cpu time', 2n ** 64n - 1n],
      ['Max stack size', 2n ** 64n - 1n],
      ['Max core file size', 2n ** 64n - 1n],
      ['Max open files', 524288n],
      ['Max address space', 2n ** 64n - 2n],
      ['Max nice priority', 0n],
      ['Max realtime timeout', 2n ** 64n - 1n],
    ]);
  });

  test('of nothing gives nothing', () => {
    expect(parseLimits('').size).toBe(0);
  });

  test('of this very process has all sixteen', () => {
    const host = new Host();
    expect(host.hardLimit('Max open files')).toBeGreaterThan(0n);
    expect(host.hardLimit('Max realtime timeout')).toBeGreaterThan(0n);
    expect(host.hardLimit('Max nonsense')).toBe(0n);
  });
});

test('the last capability is CAP_CHECKPOINT_RESTORE or a later one', () => {
  expect(new Host().lastCapability).toBeGreaterThanOrEqual(40);
});

describe('what is at a path', () => {
  const directory = mkdtempSync(join(tmpdir(), 'silt-host-'));
  const at = (name: string): string => join(directory, name);
  afterAll(() => rmSync(directory, { recursive: true }));
  writeFileSync(at('file'), '');
  symlinkSync('.', at('link'));
  symlinkSync('nowhere', at('dangling'));
  symlinkSync('loop', at('loop'));

  test.each([
    ['.', 'directory'],
    ['file', 'file'],
    ['link', 'directory'],
    ['dangling', undefined],
    ['none', undefined],
    ['file/none', undefined],
  ])('%s is %p', (name, kind) => {
    expect(new Host().kindOf(at(name))).toBe(kind);
  });

  test('cannot be said where it cannot be looked at', () => {
    expect(refusal(() => new Host().kindOf(at('loop')))).toEqual({
      code: 'SYSCALL_FAILED',
      message: `cannot look at ${at('loop')}: ELOOP`,
      details: { path: at('loop'), errno: 'ELOOP' },
    });
  });
});

describe('silt’s own capabilities', () => {
  test('are the permitted set', () => {
    expect(parseCapabilities('Name:\tnode\nCapInh:\t0000000000000001\nCapPrm:\t000001fffeffffff\nCapEff:\t0\n')).toBe(
      0x1fffeffffffn,
    );
  });

  test('are none where the kernel does not say', () => {
    expect(parseCapabilities('Name:\tnode\n')).toBe(0n);
  });
});
