import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { refusal } from '../errors/testing/refusal';
import { debugLogPath, localTime, Log, type LogOptions } from './log';

const home = mkdtempSync(join(tmpdir(), 'silt-log-'));
afterAll(() => rmSync(home, { recursive: true }));

const options = { logFormat: 'text', debugLogFormat: 'json', debug: false, alsologtostderr: false } as const;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$/;

let files = 0;
function written(more: Partial<LogOptions>, write: (log: Log) => void): string {
  const path = join(home, `${++files}.log`);
  const log = new Log({ ...options, log: path, ...more }, 'state');
  write(log);
  log.close();
  return readFileSync(path, 'utf8');
}

describe('the log', () => {
  test('is lines that containerd-shim-runc-v2 and dockerd read the last error from', () => {
    const text = written({ logFormat: 'json' }, (log) => log.error('no "x"\nhere'));
    expect(text).toMatch(/^\{"level":"error","msg":"no \\"x\\"\\nhere","time":"[^"]+"\}\n$/);
    expect((JSON.parse(text) as { time: string }).time).toMatch(TIME);
  });

  test('is runc’s text otherwise', () => {
    expect(written({}, (log) => log.warning('slow "x"'))).toMatch(/^time="[^"]+" level=warning msg="slow \\"x\\""\n$/);
  });

  test('is runsc’s form for Kubernetes on demand', () => {
    expect(written({ logFormat: 'json-k8s' }, (log) => log.info('x'))).toMatch(
      /^\{"log":"x","level":"info","time":"[^"]+"\}\n$/,
    );
  });

  test('has debug lines when asked for', () => {
    expect(written({}, (log) => log.debug('x'))).toBe('');
    expect(written({ debug: true }, (log) => log.debug('x'))).toMatch(/ level=debug msg="x"\n$/);
  });

  test('is appended to', () => {
    const path = join(home, 'shared.log');
    for (const message of ['one', 'two']) {
      const log = new Log({ ...options, log: path }, 'state');
      log.error(message);
      log.close();
    }
    expect(readFileSync(path, 'utf8').match(/msg="\w+"/g)).toEqual(['msg="one"', 'msg="two"']);
  });

  test('has a file per command in a directory for debugging', () => {
    const directory = `${join(home, 'debug')}/`;
    const text = written({ debugLog: directory }, (log) => log.debug('x'));
    expect(text).toBe('');
    const names = readdirSync(directory);
    expect(names).toEqual([expect.stringMatching(/^silt\.log\.\d{8}-\d{6}\.\d{3}\.state\.txt$/)]);
    expect(JSON.parse(readFileSync(join(directory, names[0]!), 'utf8'))).toMatchObject({ level: 'debug', msg: 'x' });
  });

  test('that cannot be opened is an error that names it', () => {
    const path = join(home, 'none', 'x.log');
    expect(refusal(() => new Log({ ...options, log: path }, 'state'))).toMatchObject({
      code: 'REQUEST_INVALID',
      message: `cannot open the log ${path}: ENOENT: no such file or directory, open '${path}'`,
    });
  });
});

test('the variables in the name of a debug log are filled in', () => {
  const at = new Date(Date.UTC(2026, 10, 21, 6, 7, 8, 9));
  expect(debugLogPath('/x/%COMMAND%-%TIMESTAMP%', 'tar rootfs-upper', at)).toBe(
    '/x/tar-rootfs-upper-20261121-060708.009',
  );
});

describe('times', () => {
  const date = (offset: number): Date =>
    Object.assign(new Date(Date.UTC(2026, 10, 21, 6, 7, 8, 9)), { getTimezoneOffset: () => offset });
  test.each([
    [0, '2026-11-21T06:07:08Z'],
    [-330, '2026-11-21T11:37:08+05:30'],
    [480, '2026-11-20T22:07:08-08:00'],
  ])('%d minutes west of Greenwich', (offset, text) => {
    expect(localTime(date(offset))).toBe(text);
  });
});
