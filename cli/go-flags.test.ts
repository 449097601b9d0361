import { Command, Option } from 'commander';
import { refusal } from '../errors/testing/refusal';
import { fromGoFlags, passOn } from './go-flags';

function commandLine(): Command {
  const silt = new Command('silt').enablePositionalOptions();
  silt.option('--root <directory>', '').option('--debug', '');
  silt.addOption(new Option('--rootless [mode]').choices(['auto', 'true', 'false']).preset('true'));
  const run = silt.command('run').argument('<id>').option('-b, --bundle <directory>', '').option('-d, --detach', '');
  run.option('--no-pivot', '');
  passOn(silt.command('exec').argument('<id>').argument('<command...>').option('-t, --tty', ''));
  silt.command('tar').command('rootfs-upper').argument('<id>').option('--file <path>', '');
  return silt;
}

describe('arguments in the ways of Go', () => {
  test.each<[string, string[], string[]]>([
    [
      'one dash before a long name',
      ['-root', '/r', '-debug', 'run', '-bundle', '/b', 'x'],
      ['--root', '/r', '--debug', 'run', '--bundle', '/b', 'x'],
    ],
    ['a value behind =', ['--root=/r', 'run', '-b=/b', 'x'], ['--root', '/r', 'run', '--bundle', '/b', 'x']],
    ['a value that looks like a flag', ['--root', '-debug', 'run', 'x'], ['--root', '-debug', 'run', 'x']],
    ['switches that are true', ['--debug=true', 'run', '--detach=1', 'x'], ['--debug', 'run', '--detach', 'x']],
    ['switches that are false', ['--debug=false', 'run', '--detach=f', 'x'], ['run', 'x']],
    ['a negated name', ['run', '-no-pivot', 'x'], ['run', '--no-pivot', 'x']],
    ['rootless as runsc has it', ['--rootless', 'run', 'x'], ['--rootless=true', 'run', 'x']],
    ['rootless as runc has it', ['--rootless', 'auto', 'run', 'x'], ['--rootless=auto', 'run', 'x']],
    ['flags behind an argument', ['run', 'x', '-detach'], ['run', 'x', '--detach']],
    [
      'another program’s flags',
      ['exec', '-tty', 'x', 'ls', '-tty', '--debug=false'],
      ['exec', '--tty', 'x', 'ls', '-tty', '--debug=false'],
    ],
    ['all behind --', ['exec', '--', 'x', '-tty'], ['exec', '--', 'x', '-tty']],
    [
      'a command below a command',
      ['tar', 'rootfs-upper', '-file', '-', 'x'],
      ['tar', 'rootfs-upper', '--file', '-', 'x'],
    ],
    ['unknown ones as they are', ['-nosuch', 'run', '--nosuch=1', 'x'], ['-nosuch', 'run', '--nosuch=1', 'x']],
    ['letters together as they are', ['run', '-db', '/b', 'x'], ['run', '-db', '/b', 'x']],
  ])('%s', (_, given, expected) => {
    expect(fromGoFlags(given, commandLine())).toEqual({ args: expected, ignored: [] });
  });

  test('flags of runsc are taken out before the command only', () => {
    const given = [
      '-platform',
      'kvm',
      '--strace',
      '--watchdog-action=panic',
      '--net-raw=false',
      'run',
      '--platform=kvm',
      'x',
    ];
    expect(fromGoFlags(given, commandLine())).toEqual({
      args: ['run', '--platform=kvm', 'x'],
      ignored: [
        { name: 'platform', value: 'kvm' },
        { name: 'strace', value: undefined },
        { name: 'watchdog-action', value: 'panic' },
        { name: 'net-raw', value: 'false' },
      ],
    });
  });

  test('flags of a command of runc or runsc that mean nothing here are taken out, and refused if they ask for something', () => {
    const silt = commandLine();
    silt.command('checkpoint').argument('<id>');
    expect(fromGoFlags(['checkpoint', '--direct', '-auto-dedup=true', 'x'], silt)).toEqual({
      args: ['checkpoint', 'x'],
      ignored: [
        { name: 'direct', value: undefined },
        { name: 'auto-dedup', value: 'true' },
      ],
    });
    expect(refusal(() => fromGoFlags(['checkpoint', '--pre-dump', 'x'], silt))).toMatchObject({
      code: 'UNIMPLEMENTED',
      message: '--pre-dump of checkpoint is not supported: silt saves all of the memory at once, into the image',
    });
    expect(fromGoFlags(['run', '--direct', 'x'], silt).args).toEqual(['run', '--direct', 'x']);
  });

  test.each<[string[], string]>([
    [['--debug=maybe', 'run', 'x'], '--debug is true or false, not "maybe"'],
    [['--platform'], "option '--platform' needs a value"],
  ])('%j is refused', (given, message) => {
    expect(refusal(() => fromGoFlags(given, commandLine()))).toMatchObject({ code: 'REQUEST_INVALID', message });
  });
});
