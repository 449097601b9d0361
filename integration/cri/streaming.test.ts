/** Exec, attach and port forwarding as kubectl uses them, and the log files that it reads. */
import { once } from 'node:events';
import { readFileSync, renameSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { waitFor } from '../harness';
import { StreamingSession } from '../harness/cri/streaming';
import type { TestPod } from '../harness/cri/kubelet';
import { criSuite } from '../harness/cri/suite';

async function open(pod: TestPod, method: string, request: object): Promise<StreamingSession> {
  return StreamingSession.open((await pod.client.call<{ url: string }>(method, request)).url);
}

/** Runs httpd in a pod, and waits until it listens. */
async function serve(pod: TestPod, port: number): Promise<void> {
  const id = await pod.run(['httpd', '-f', '-p', `127.0.0.1:${port}`, '-h', '/etc']);
  await pod.sh(id, `until wget -q -O /dev/null http://127.0.0.1:${port}/motd; do sleep 0.05; done`);
}

criSuite('streams of a pod', { onlyPeer: 'system' }, (kubelet) => {
  test('exec: input, output, errors and exit status; with a terminal and its size', async () => {
    await kubelet().withPod({}, async (pod) => {
      const id = await pod.run();
      const cmd = ['sh', '-c', 'read word; echo "got $word"; echo no >&2; exit 6'];
      const plain = await open(pod, 'Exec', { id, cmd, stdin: true, stdout: true, stderr: true });
      plain.send('apples\n');
      await plain.waitFor(/got apples\n/);
      await plain.waitFor(/no\n/, 'stderr');
      await plain.waitFor(/"message":"6"/, 'error');
      plain.close();
      const terminal = await open(pod, 'Exec', { id, cmd: ['sh'], tty: true, stdin: true, stdout: true });
      terminal.send(JSON.stringify({ Width: 101, Height: 33 }), 'resize');
      await waitFor('the terminal to have its size', () => {
        terminal.send('stty size; tty\n');
        return /33 101\r\n\/dev\/pts\/\d/.test(terminal.read());
      });
      terminal.send('exit\n');
      await terminal.closed;
    });
  });

  test('attach: to a container that runs, more than once', async () => {
    await kubelet().withPod({}, async (pod) => {
      const script = 'while read line; do echo "read $line"; done; echo end';
      const id = await pod.run(['sh', '-c', script], { more: { stdin: true } });
      for (const word of ['one', 'two']) {
        const attached = await open(pod, 'Attach', { id, stdin: true, stdout: true, stderr: true });
        attached.send(`${word}\n`);
        await attached.waitFor(new RegExp(`read ${word}\n`));
        attached.close();
        await attached.closed;
      }
      expect(await pod.status(id)).toMatchObject({ state: 'CONTAINER_RUNNING' });
    });
  });

  test('attach: a container whose stdin is for once sees its end', async () => {
    await kubelet().withPod({}, async (pod) => {
      const id = await pod.run(['sh', '-c', 'cat; exit 4'], { more: { stdin: true, stdinOnce: true } });
      const attached = await open(pod, 'Attach', { id, stdin: true, stdout: true, stderr: true });
      attached.send('last words\n');
      await attached.waitFor(/last words\n/);
      attached.close();
      expect(await pod.exited(id)).toMatchObject({ exitCode: 4 });
    });
  });

  test('port forwarding reaches a server on the pod’s loopback', async () => {
    await kubelet().withPod({}, async (pod) => {
      await serve(pod, 8080);
      const { url } = await pod.client.call<{ url: string }>('PortForward', { id: pod.id, port: [8080] });
      const session = await StreamingSession.open(`${url}?port=8080`);
      session.send('GET /motd HTTP/1.0\r\n\r\n');
      // Of a forwarded port, data is channel 0, which here is called stdin.
      await session.waitFor(/second layer\n$/, 'stdin');
      session.close();
    });
  });

  test('port forwarding reaches a server of a pod with the host’s network', async () => {
    await kubelet().withPod({ network: 'NODE' }, async (pod) => {
      // A port that the kernel has chosen, so that runs do not meet.
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      server.close();
      await once(server, 'close');
      await serve(pod, port);
      const { url } = await pod.client.call<{ url: string }>('PortForward', { id: pod.id, port: [port] });
      const session = await StreamingSession.open(`${url}?port=${port}`);
      session.send('GET /motd HTTP/1.0\r\n\r\n');
      await session.waitFor(/second layer\n$/, 'stdin');
      session.close();
    });
  });

  test('logs: CRI’s format, both streams, and a new file after a rotation', async () => {
    await kubelet().withPod({}, async (pod) => {
      const script = 'echo out; echo err >&2; until [ -e /tmp/go ]; do sleep 0.05; done; echo rotated; sleep 1000';
      const id = await pod.run(['sh', '-c', script], { name: 'talks' });
      const path = join(pod.logDirectory, 'talks_0.log');
      const text = (): string => readFileSync(path, 'latin1');
      await waitFor('both lines', () => text().split('\n').length === 3);
      expect(
        text()
          .split('\n')
          .map((line) => line.replace(/^\S+ /, ''))
          .sort(),
      ).toEqual(['', 'stderr F err', 'stdout F out']);
      expect(text()).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d) std/);
      renameSync(path, `${path}.1`);
      await pod.client.call('ReopenContainerLog', { id });
      await pod.sh(id, 'touch /tmp/go');
      await waitFor('the new file', () => /stdout F rotated\n$/.test(text()));
      expect(readFileSync(`${path}.1`, 'latin1')).not.toContain('rotated');
    });
  });
});
