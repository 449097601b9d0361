/** Deletes of one task at once, as containerd's CRI makes them when the start of a pod fails late. */
import { Client } from 'ttrpc';
import { taskMethods, taskServiceNames } from '../../proto';
import { containerdSuite, shimSocket, siltTest, taskStatus, waitFor } from '../harness';

containerdSuite('a task that is deleted twice at once', {}, (host) => {
  siltTest('the first one is answered first, then the others hear that there is none', async () => {
    const id = await host().startContainer(['sleep', '1000']);
    const client = await Client.connect(shimSocket(host(), id));
    await host().mustCtr(['tasks', 'kill', '--signal', 'KILL', id]);
    await waitFor('the task to have ended', async () => (await taskStatus(host(), id)) === 'STOPPED');
    const service = taskServiceNames[2];
    const call = { service, method: 'Delete', ...taskMethods.Delete };
    const answers: string[] = [];
    await Promise.all(
      [1, 2, 3].map((number) =>
        client.call(call, { id, execId: '' }).then(
          ({ exitStatus }) => answers.push(`${number}: ${exitStatus}`),
          (error: unknown) => answers.push(`${number}: ${(error as Error).message}`),
        ),
      ),
    );
    // What containerd does then.
    await client.call({ service, method: 'Shutdown', ...taskMethods.Shutdown }, { id, now: false });
    await client.close();
    const none = `there is no container ${id} in this pod`;
    expect(answers).toEqual(['1: 137', `2: ${none}`, `3: ${none}`]);
    await host().remove(id);
  });
});
