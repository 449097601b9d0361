/** What containerd 2 asks a runtime before it offers a kubelet user namespaces and recursive read-only mounts. */
import { containerdSuite, runtime, siltTest } from '../harness';

containerdSuite('what the runtime says of itself', { needs: 2 }, (host) => {
  siltTest('containerd reads the features document', async () => {
    const { stdout } = await host().mustCtr(['plugins', 'inspect-runtime', '--runtime', runtime]);
    const info = JSON.parse(stdout.toString()) as { Name: string; Features: object };
    expect(info).toMatchObject({
      Name: runtime,
      Features: {
        mountOptions: expect.arrayContaining(['rro', 'rbind', 'idmap', 'ridmap']) as string[],
        linux: {
          namespaces: expect.arrayContaining(['user', 'cgroup']) as string[],
          mountExtensions: { idmap: { enabled: true } },
        },
      },
    });
  });
});
