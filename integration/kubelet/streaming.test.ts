/** Exec, attach and port forwarding as kubectl does them: by the kubelet's own server, which hands them on to containerd's. */
import { waitFor } from '../harness';
import { kubeletSuites } from '../harness/cri/kubelet-suite';
import { image, noGrace, sh, sleeping } from '../harness/cri/manifests';

type Query = readonly (readonly [string, string])[];
const streams: Query = ['input', 'output', 'error'].map((name) => [name, '1'] as const);
const words = (...command: string[]): Query => command.map((word) => ['command', word] as const);

kubeletSuites('streams of a kubelet’s pods', (kubelet) => {
  const path = (what: string, pod: string, container = ''): string =>
    `${what}/default/${kubelet().nameOf(pod)}/${container}`.replace(/\/$/, '');

  test('exec: input, output, errors and exit status; with a terminal and its size', async () => {
    kubelet().add('exec', { ...noGrace, containers: [sleeping] });
    await kubelet().ready('exec');
    const script = 'read word; echo "got $word"; echo no >&2; exit 6';
    await kubelet().stream(
      path('exec', 'exec', 'main'),
      [...streams, ...words('sh', '-c', script)],
      async (session) => {
        session.send('apples\n');
        await session.waitFor(/got apples\n/);
        await session.waitFor(/no\n/, 'stderr');
        await session.waitFor(/"message":"6"/, 'error');
      },
    );
    await kubelet().stream(
      path('exec', 'exec', 'main'),
      [...streams, ...words('/no/such/program')],
      async (session) => {
        await session.waitFor(/\/no\/such\/program/, 'error');
      },
    );
    const terminal: Query = [...streams.slice(0, 2), ['tty', '1'], ...words('sh')];
    await kubelet().stream(path('exec', 'exec', 'main'), terminal, async (session) => {
      session.send(JSON.stringify({ Width: 101, Height: 33 }), 'resize');
      await waitFor('the terminal to have its size', () => {
        session.send('stty size\n');
        return /33 101/.test(session.read());
      });
      session.send('exit\n');
      await session.closed;
    });
    await kubelet().remove('exec');
  });

  test('attach: to a container that runs, more than once, and to one whose input is for once', async () => {
    const reader = {
      ...image,
      stdin: true,
      ...sh('while read line; do echo "read $line"; done; echo end; sleep 1000'),
    };
    kubelet().add('attach', {
      ...noGrace,
      containers: [
        { ...reader, name: 'often' },
        { ...reader, name: 'once', stdinOnce: true },
      ],
    });
    await kubelet().ready('attach');
    for (const word of ['one', 'two']) {
      await kubelet().stream(path('attach', 'attach', 'often'), streams, async (session) => {
        session.send(`${word}\n`);
        await session.waitFor(new RegExp(`read ${word}\n`));
      });
    }
    await kubelet().stream(path('attach', 'attach', 'once'), streams, async (session) => {
      session.send('last words\n');
      await session.waitFor(/read last words\n/);
    });
    await waitFor('the end of its input', async () => /^end$/m.test(await kubelet().logs('attach', 'once')));
    expect(await kubelet().logs('attach', 'often')).toBe('read one\nread two\n');
    await kubelet().remove('attach');
  });

  test('port forwarding: to a server on the pod’s loopback, twice at once, and to a port where nobody listens', async () => {
    kubelet().add('ports', {
      ...noGrace,
      containers: [{ ...image, name: 'web', ...sh('httpd -f -p 127.0.0.1:8080 -h /etc') }],
    });
    await kubelet().ready('ports');
    await kubelet().sh('ports', 'web', 'until wget -q -O /dev/null http://127.0.0.1:8080/motd; do sleep 0.05; done');
    const get = (port: string, pattern: RegExp, channel: 'stdin' | 'stdout'): Promise<void> =>
      kubelet().stream(path('portForward', 'ports'), [['port', port]], async (session) => {
        session.send('GET /motd HTTP/1.0\r\n\r\n');
        await session.waitFor(pattern, channel);
      });
    // Of a forwarded port, data is channel 0, which here is called stdin, and errors are channel 1.
    await Promise.all([0, 1].map(() => get('8080', /second layer\n$/, 'stdin')));
    await get('8081', /refused/, 'stdout');
    await kubelet().remove('ports');
  });
});
