/** Networks under Docker. */
import { testIf } from '../harness';
import { canBridge, dockerSuite } from '../harness/docker';

const bridges = canBridge();

dockerSuite('networks under docker', { bridge: bridges }, (host) => {
  test('--network=none has only its own loopback', async () => {
    const { stdout } = await host().run(
      '--network=none',
      'busybox',
      'sh',
      '-c',
      'ls /sys/class/net; ping -c 1 127.0.0.1 | grep received',
    );
    expect(stdout.toString()).toMatch(/^lo\n.* 1 packets received/);
  });

  testIf(bridges, 'this machine has no bridges')(
    'on a bridge: its address, the gateway, other containers',
    async () => {
      const server = await host().background([], 'echo answer > /tmp/index.html; exec httpd -f -p 80 -h /tmp');
      const address = await host().inspect(server, '.NetworkSettings.IPAddress');
      const gateway = await host().inspect(server, '.NetworkSettings.Gateway');
      expect(await host().shell(server, 'hostname -i')).toBe(`${address}\n`);
      const script = `ping -c 1 -W 5 ${gateway} > /dev/null && until wget -q -O - http://${address}/index.html; do :; done`;
      expect((await host().run('busybox', 'sh', '-c', script)).stdout.toString()).toBe('answer\n');
      await host().must('rm', '--force', server);
    },
  );

  testIf(bridges, 'this machine has no bridges')('--network=container: that container’s', async () => {
    const other = await host().background();
    const { stdout } = await host().run(`--network=container:${other}`, 'busybox', 'hostname', '-i');
    expect(stdout.toString()).toBe(await host().shell(other, 'hostname -i'));
    await host().must('rm', '--force', other);
  });

  test('the host’s names and resolver are docker’s files', async () => {
    const flags = ['--hostname=named', '--add-host=other:10.1.2.3', '--dns=10.4.5.6'];
    const network = bridges ? [] : ['--network=none'];
    const { stdout } = await host().run(
      ...network,
      ...flags,
      'busybox',
      'cat',
      '/etc/hosts',
      '/etc/resolv.conf',
      '/etc/hostname',
    );
    expect(stdout.toString()).toMatch(/10\.1\.2\.3\s+other[\s\S]*nameserver 10\.4\.5\.6[\s\S]*named\n$/);
  });
});
