/** A pod through CRI: several containers in one sandbox, from RunPodSandbox to RemovePodSandbox. */
import { criSuite } from '../harness/cri/suite';

criSuite('pods', {}, (kubelet) => {
  test('runs containers, execs in them, and reports how they end', async () => {
    await kubelet().withPod({}, async (pod) => {
      expect(await pod.runToEnd(['sh', '-c', 'exit 3'], { name: 'init' })).toMatchObject({
        exitCode: 3,
        reason: 'Error',
      });
      const web = await pod.run(['sleep', '1000'], { name: 'web', env: { COLOUR: 'green' } });
      const side = await pod.run(['sleep', '1000'], { name: 'side' });
      expect(await pod.exec(web, ['sh', '-c', 'echo $COLOUR; echo no >&2; exit 7'])).toEqual({
        code: 7,
        stdout: 'green\n',
        stderr: 'no\n',
      });
      expect(await pod.sh(side, 'hostname')).toBe(pod.config.metadata.name);
      await pod.stopContainer(web);
      expect(await pod.status(web)).toMatchObject({ state: 'CONTAINER_EXITED', exitCode: 137 });
      expect(await pod.status(side)).toMatchObject({ state: 'CONTAINER_RUNNING' });
      await pod.removeContainer(web);
      expect(await pod.podStatus()).toMatchObject({ state: 'SANDBOX_READY' });
    });
  });
});
