/** Pods of a real kubelet, from their manifests: what it asks of a runtime, in its order and its time. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { imageName, peerRelease, shimPid, siltTest, testIf, waitFor, writeNamedSeed } from '../harness';
import type { PodObject } from '../harness/cri/kubelet-objects';
import { kubeletSuites } from '../harness/cri/kubelet-suite';
import { image, noGrace, sh, sleeping } from '../harness/cri/manifests';

/** A program that ends when it is told to. */
const service = (script = ''): string => `trap 'exit 0' TERM; ${script} while :; do sleep 0.1; done`;
const exec = (script: string): object => ({ exec: { command: ['sh', '-c', script] } });

kubeletSuites('pods of a kubelet', (kubelet) => {
  test('init containers run one after the other, then all others, a sidecar through all of it', async () => {
    const mounts = { volumeMounts: [{ name: 'disk', mountPath: '/disk' }] };
    kubelet().add('init', {
      ...noGrace,
      volumes: [{ name: 'disk', emptyDir: {} }],
      initContainers: [
        { name: 'one', ...image, ...mounts, ...sh('echo one >> /disk/order') },
        { name: 'aside', ...image, ...mounts, ...sh('echo aside >> /disk/order; sleep 1000'), restartPolicy: 'Always' },
        { name: 'two', ...image, ...mounts, ...sh('echo two >> /disk/order') },
      ],
      containers: [
        { name: 'a', ...image, ...mounts, ...sh('echo a; sleep 1000') },
        { name: 'b', ...image, ...mounts, ...sh('sleep 1000') },
      ],
    });
    const { status } = await kubelet().ready('init');
    expect(await kubelet().sh('init', 'b', 'cat /disk/order; hostname')).toBe(
      'one\naside\ntwo\n' + kubelet().nameOf('init'),
    );
    expect(await kubelet().logs('init', 'a')).toBe('a\n');
    expect(status.initContainerStatuses?.map(({ name, state }) => [name, state.terminated?.reason])).toEqual([
      ['one', 'Completed'],
      ['aside', undefined],
      ['two', 'Completed'],
    ]);
    expect(
      await kubelet().sh(
        'init',
        'a',
        `wget -qO- http://127.0.0.1:1 2>&1 | grep -o refused; grep ${status.podIP} /etc/hosts | cut -f2`,
      ),
    ).toBe(`refused\n${kubelet().nameOf('init')}`);
    await kubelet().remove('init');
  });

  test('probes: exec, http and tcp; a liveness probe that fails has its container started anew, and only that', async () => {
    const probe = { periodSeconds: 1, failureThreshold: 1 };
    kubelet().add('probes', {
      ...noGrace,
      containers: [
        {
          name: 'sick',
          ...image,
          ...sh('touch /well; sleep 1000'),
          startupProbe: { ...probe, failureThreshold: 30, ...exec('test -e /well') },
          livenessProbe: { ...probe, ...exec('test ! -e /sick') },
        },
        {
          name: 'web',
          ...image,
          ...sh('mkdir /www; echo ok > /www/index.html; httpd -f -p 8080 -h /www'),
          readinessProbe: { ...probe, failureThreshold: 30, httpGet: { path: '/', port: 8080 } },
        },
        {
          name: 'tcp',
          ...image,
          ...sh('httpd -f -p 9090'),
          readinessProbe: { ...probe, failureThreshold: 30, tcpSocket: { port: 9090 } },
        },
      ],
    });
    await kubelet().ready('probes');
    await kubelet().sh('probes', 'sick', 'touch /sick');
    const { status } = await kubelet().until('probes', 'have a container started anew', ({ status }) =>
      (status.containerStatuses ?? []).some(({ name, restartCount }) => name === 'sick' && restartCount === 1),
    );
    expect(status.containerStatuses?.map(({ name, restartCount }) => [name, restartCount])).toEqual([
      ['sick', 1],
      ['tcp', 0],
      ['web', 0],
    ]);
    await kubelet().ready('probes');
    await kubelet().remove('probes');
  });

  test('crashes, ends, messages and kills for memory are told as they are', async () => {
    kubelet().add('ends', {
      ...noGrace,
      containers: [
        { name: 'crash', ...image, ...sh('echo why > /dev/termination-log; exit 3') },
        {
          name: 'oom',
          ...image,
          ...sh('x=x; while :; do x=$x$x; done'),
          resources: { limits: { memory: '24Mi' } },
        },
        { ...sleeping, name: 'calm' },
      ],
    });
    const { status } = await kubelet().until('ends', 'have ended twice', ({ status }) =>
      ['crash', 'oom'].every((one) =>
        (status.containerStatuses ?? []).some(
          ({ name, lastState }) => name === one && lastState?.terminated !== undefined,
        ),
      ),
    );
    const last = (one: string): object | undefined =>
      status.containerStatuses?.find(({ name }) => name === one)?.lastState?.terminated;
    expect(last('crash')).toMatchObject({ exitCode: 3, reason: 'Error', message: 'why\n' });
    expect(last('oom')).toMatchObject({ exitCode: 137, reason: 'OOMKilled' });
    expect(status.containerStatuses?.find(({ name }) => name === 'calm')).toMatchObject({
      restartCount: 0,
      ready: true,
    });
    await kubelet().remove('ends');
  });

  test('a pod that is to run once: its phase and exit codes', async () => {
    kubelet().add('good', {
      ...noGrace,
      restartPolicy: 'Never',
      containers: [{ name: 'main', ...image, ...sh('true') }],
    });
    kubelet().add('bad', {
      ...noGrace,
      restartPolicy: 'Never',
      containers: [{ name: 'main', ...image, ...sh('exit 4') }, sleepingFor('beside', 1)],
    });
    await kubelet().until('good', 'have succeeded', ({ status }) => status.phase === 'Succeeded');
    const { status } = await kubelet().until('bad', 'have failed', ({ status }) => status.phase === 'Failed');
    expect(status.containerStatuses?.map(({ state }) => state.terminated?.exitCode)).toEqual([0, 4]);
    await Promise.all([kubelet().remove('good'), kubelet().remove('bad')]);
  });

  test('a pod that ends has its hooks run and its time, and is killed after that', async () => {
    const directory = kubelet().scratch('ends');
    kubelet().add('graceful', {
      terminationGracePeriodSeconds: 3,
      volumes: [{ name: 'out', hostPath: { path: directory } }],
      containers: [
        {
          name: 'good',
          ...image,
          ...sh(`trap 'echo term >> /out/good; exit 0' TERM; while :; do sleep 0.1; done`),
          volumeMounts: [{ name: 'out', mountPath: '/out' }],
          lifecycle: { postStart: exec('echo started >> /out/good'), preStop: exec('echo stopping >> /out/good') },
        },
        {
          name: 'deaf',
          ...image,
          ...sh(`trap 'echo heard >> /out/deaf' TERM; while :; do sleep 0.1; done`),
          volumeMounts: [{ name: 'out', mountPath: '/out' }],
        },
      ],
    });
    await kubelet().ready('graceful');
    const began = Date.now();
    await kubelet().remove('graceful');
    expect(Date.now() - began).toBeGreaterThan(2900);
    expect(readFileSync(join(directory, 'good'), 'latin1')).toBe('started\nstopping\nterm\n');
    expect(readFileSync(join(directory, 'deaf'), 'latin1')).toBe('heard\n');
  });

  test('classes of service, limits, and the cgroups that the kubelet makes for them', async () => {
    const small = { memory: '32Mi', cpu: '100m' };
    const pods = {
      guaranteed: { limits: small, requests: small },
      burstable: { requests: { memory: '16Mi' } },
      besteffort: {},
    };
    for (const [name, resources] of Object.entries(pods)) {
      kubelet().add(name, { ...noGrace, containers: [{ ...sleeping, resources }] });
    }
    const found: Record<string, unknown> = {};
    for (const name of Object.keys(pods)) {
      const { status, metadata } = await kubelet().ready(name);
      const id = status.containerStatuses![0]!.containerID!.replace('containerd://', '');
      found[name] = [
        status.qosClass,
        (await kubelet().cgroupOf(id)).replace(metadata.uid, 'UID').replace(id, 'ID'),
        await kubelet().oomScoreOf(id),
      ];
    }
    const root = `${kubelet().cgroup}/kubepods`;
    expect(found).toEqual({
      guaranteed: ['Guaranteed', `${root}/podUID/ID`, expect.any(Number)],
      burstable: ['Burstable', `${root}/burstable/podUID/ID`, expect.any(Number)],
      besteffort: ['BestEffort', `${root}/besteffort/podUID/ID`, 1000],
    });
    const limit =
      'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cat /sys/fs/cgroup/memory.max';
    expect(await kubelet().sh('guaranteed', 'main', limit)).toMatch(/^33554432/);
    const stats = await waitFor(
      'statistics of the pod',
      async () => {
        const { pods } = await kubelet().summary();
        const pod = pods.find(({ podRef }) => podRef.name === kubelet().nameOf('guaranteed'));
        const main = pod?.containers.find(({ name }) => name === 'main');
        return (main?.memory?.workingSetBytes ?? 0) > 0 && (main?.cpu?.usageCoreNanoSeconds ?? 0) > 0 ? pod : undefined;
      },
      { timeoutMs: 60_000, detail: () => kubelet().logTail() },
    );
    expect(stats.containers[0]!.memory!.workingSetBytes).toBeLessThan(32 * 2 ** 20);
    await Promise.all(Object.keys(pods).map((name) => kubelet().remove(name)));
  });

  test('namespaces: shared process ids, the host’s network, ids and ipc', async () => {
    const two = [sleeping, { ...sleeping, name: 'other' }];
    kubelet().add('shared', { ...noGrace, shareProcessNamespace: true, containers: two });
    kubelet().add('host', { ...noGrace, hostNetwork: true, hostPID: true, hostIPC: true, containers: two });
    kubelet().add('own', { ...noGrace, containers: two });
    await Promise.all(['shared', 'host', 'own'].map((name) => kubelet().ready(name)));
    const sees = (pod: string): Promise<string> =>
      kubelet().sh(pod, 'main', `ps -o args | grep -c '^sleep 1000'; ps -o args | sed -n 2p`);
    expect(await sees('shared')).toMatch(/^2\n(\/pause|.*silt-holder.*)$/);
    expect(await sees('own')).toBe('1\nsleep 1000');
    expect(
      await kubelet().sh('host', 'main', `readlink /proc/self/ns/net /proc/self/ns/ipc; ls -d /proc/${process.pid}`),
    ).toContain(`/proc/${process.pid}`);
    await Promise.all(['shared', 'host', 'own'].map((name) => kubelet().remove(name)));
  });

  test('volumes: in memory, of the host, downward, with a group, by subpath, read-only; security contexts', async () => {
    const directory = kubelet().scratch('volumes');
    writeFileSync(join(directory, 'file'), 'of the host\n');
    mkdirSync(join(directory, 'sub'));
    kubelet().add('volumes', {
      ...noGrace,
      securityContext: {
        fsGroup: 3000,
        supplementalGroups: [4000],
        sysctls: [{ name: 'kernel.shm_rmid_forced', value: '1' }],
      },
      hostAliases: [{ ip: '192.0.2.1', hostnames: ['alias'] }],
      dnsPolicy: 'None',
      dnsConfig: { nameservers: ['192.0.2.53'] },
      volumes: [
        { name: 'memory', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
        { name: 'disk', emptyDir: {} },
        { name: 'host', hostPath: { path: directory, type: 'Directory' } },
        { name: 'new', hostPath: { path: join(directory, 'new'), type: 'DirectoryOrCreate' } },
        { name: 'device', hostPath: { path: '/dev/null', type: 'CharDevice' } },
        { name: 'pod', downwardAPI: { items: [{ path: 'name', fieldRef: { fieldPath: 'metadata.name' } }] } },
      ],
      containers: [
        {
          ...sleeping,
          securityContext: {
            runAsUser: 1000,
            runAsGroup: 1000,
            readOnlyRootFilesystem: true,
            allowPrivilegeEscalation: false,
            capabilities: { drop: ['ALL'] },
            seccompProfile: { type: 'RuntimeDefault' },
          },
          env: [{ name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }],
          volumeMounts: [
            { name: 'memory', mountPath: '/memory' },
            { name: 'disk', mountPath: '/disk' },
            { name: 'host', mountPath: '/host', readOnly: true },
            { name: 'host', mountPath: '/sub', subPath: 'sub' },
            { name: 'new', mountPath: '/new' },
            { name: 'device', mountPath: '/device' },
            { name: 'pod', mountPath: '/pod' },
          ],
        },
      ],
    });
    const { status } = await kubelet().ready('volumes');
    const run = (script: string): Promise<string> => kubelet().sh('volumes', 'main', script);
    expect(await run('id -u; id -g; id -G')).toBe('1000\n1000\n1000 2000 3000 4000');
    expect(
      await run('stat -c %g:%A /memory /disk; echo x > /disk/f; echo x > /memory/f; stat -c %u:%g /disk/f /memory/f'),
    ).toMatch(/^(3000:drwxrwsrw[xt]\n){2}1000:3000\n1000:3000$/);
    expect(await run('head -c 2000000 /dev/zero > /memory/big 2>/dev/null || echo full')).toBe('full');
    expect(
      await run('cat /host/file; (echo x > /host/x) 2>&1 | grep -o Read-only; (echo x > /x) 2>&1 | grep -o Read-only'),
    ).toBe('of the host\nRead-only\nRead-only');
    expect(
      await run('ls /sub; stat -c %F /device; cat /pod/name; echo; echo $IP; cat /proc/sys/kernel/shm_rmid_forced'),
    ).toBe(`character special file\n${kubelet().nameOf('volumes')}\n${status.podIP}\n1`);
    expect(
      await run(
        'grep -c alias /etc/hosts; cat /etc/resolv.conf; grep -E "NoNewPrivs|CapBnd|Seccomp:" /proc/self/status',
      ),
    ).toMatch(/^1\nnameserver 192.0.2.53\nCapBnd:\t0+\nNoNewPrivs:\t1\nSeccomp:\t2$/);
    await kubelet().remove('volumes');
  });

  testIf(peerRelease() >= 2.2, 'containerd tells a kubelet of these from 2.2 on')(
    'a pod with ids of its own: its volumes are its root’s, an image among them',
    async () => {
      kubelet().add('ids', {
        ...noGrace,
        hostUsers: false,
        volumes: [
          { name: 'disk', emptyDir: {} },
          { name: 'memory', emptyDir: { medium: 'Memory' } },
          { name: 'image', image: { reference: imageName, pullPolicy: 'Never' } },
        ],
        containers: ['main', 'other'].map((name) => ({
          ...sleeping,
          name,
          volumeMounts: [
            { name: 'disk', mountPath: '/disk' },
            { name: 'memory', mountPath: '/memory' },
            { name: 'image', mountPath: '/image' },
          ],
        })),
      });
      await kubelet().ready('ids');
      const run = (script: string): Promise<string> => kubelet().sh('ids', 'main', script);
      const map = await run('cat /proc/self/uid_map');
      expect(map).toMatch(/^0 +[1-9]\d+ +65536$/);
      expect(await kubelet().sh('ids', 'other', 'cat /proc/self/uid_map')).toBe(map);
      expect(await run('touch /disk/f /memory/f; stat -c %u:%g /disk /memory /disk/f /memory/f')).toBe(
        Array(4).fill('0:0').join('\n'),
      );
      expect(await run('cat /image/etc/motd; (touch /image/f) 2>&1 | grep -o Read-only')).toBe(
        'second layer\nRead-only',
      );
      await kubelet().remove('ids');
    },
  );

  siltTest('containers start from the archives that the pod’s annotations name', async () => {
    const seed = (name: string): string => writeNamedSeed(kubelet().containerd.seeds, name);
    const key = 'dev.gvisor.tar.rootfs.upper';
    kubelet().add(
      'seeded',
      { ...noGrace, containers: [sleeping, { ...sleeping, name: 'web' }, { ...sleeping, name: 'broken' }] },
      { [key]: seed('all'), [`${key}.web`]: seed('web'), [`${key}.broken`]: '/nowhere/x.tar' },
    );
    const { status } = await kubelet().until(
      'seeded',
      'have two ready',
      ({ status }) =>
        (status.containerStatuses ?? []).filter(({ ready }) => ready).length === 2 &&
        (status.containerStatuses ?? []).some(
          ({ name, state, lastState }) =>
            name === 'broken' &&
            (state.waiting?.message ?? state.terminated?.message ?? lastState?.terminated?.message ?? '') !== '',
        ),
    );
    expect(await kubelet().sh('seeded', 'main', 'cat /seeded')).toBe('all');
    expect(await kubelet().sh('seeded', 'web', 'cat /seeded')).toBe('web');
    expect(JSON.stringify(status.containerStatuses?.find(({ name }) => name === 'broken'))).toContain('/nowhere/x.tar');
    await kubelet().remove('seeded');
  });

  test('the kubelet, and containerd, are started anew: pods run on', async () => {
    kubelet().add('stays', { ...noGrace, containers: [{ name: 'main', ...image, ...sh(service('echo begun;')) }] });
    const before = (await kubelet().ready('stays')).status.containerStatuses![0]!;
    await kubelet().stop('SIGKILL');
    await kubelet().start();
    expect((await kubelet().ready('stays')).status.containerStatuses![0]).toMatchObject({
      containerID: before.containerID,
      restartCount: 0,
    });
    await kubelet().containerd.restart('SIGKILL');
    await waitFor(
      'exec to work',
      async () =>
        (await kubelet()
          .sh('stays', 'main', 'echo here')
          .catch(() => '')) === 'here',
      { timeoutMs: 60_000 },
    );
    expect((await kubelet().ready('stays')).status.containerStatuses![0]).toMatchObject({
      containerID: before.containerID,
      restartCount: 0,
    });
    expect(await kubelet().logs('stays', 'main')).toBe('begun\n');
    await kubelet().remove('stays');
  });

  test('a pod whose shim is killed is made anew, and so is one whose pause container is', async () => {
    kubelet().add('killed', { ...noGrace, containers: [sleeping] });
    for (const kill of ['shim', 'pause']) {
      const before = await kubelet().ready('killed');
      const container = idOf(before);
      const sandbox = await kubelet().sandboxOf(before.metadata.uid);
      process.kill(kill === 'shim' ? shimPid(kubelet().containerd, container) : sandbox.pid, 'SIGKILL');
      const after = await kubelet().until(
        'killed',
        `run again after the end of its ${kill}`,
        (pod) => pod.status.containerStatuses?.[0]?.ready === true && idOf(pod) !== container,
      );
      expect((await kubelet().sandboxOf(after.metadata.uid)).id).not.toBe(sandbox.id);
      expect(await kubelet().sh('killed', 'main', 'hostname')).toBe(kubelet().nameOf('killed'));
    }
    await kubelet().remove('killed');
  });

  test('privileged containers, added capabilities, and a probe that does not end in its time', async () => {
    kubelet().add('rights', {
      ...noGrace,
      containers: [
        { ...sleeping, securityContext: { privileged: true } },
        { ...sleeping, name: 'net', securityContext: { capabilities: { add: ['NET_ADMIN'] } } },
        {
          ...sleeping,
          name: 'slow',
          startupProbe: {
            periodSeconds: 1,
            timeoutSeconds: 1,
            failureThreshold: 100,
            ...exec('test -e /quick || sleep 1001'),
          },
        },
      ],
    });
    await kubelet().until(
      'rights',
      'have two ready',
      ({ status }) => (status.containerStatuses ?? []).filter(({ ready }) => ready).length === 2,
    );
    expect(await kubelet().sh('rights', 'main', 'mount -t tmpfs x /tmp && ls /dev/kmsg')).toBe('/dev/kmsg');
    expect(await kubelet().sh('rights', 'net', 'brctl addbr mine && echo made')).toBe('made');
    await waitFor('a probe to have run', async () =>
      (await kubelet().sh('rights', 'slow', 'ps -o args')).includes('sleep 1001'),
    );
    await kubelet().sh('rights', 'slow', 'touch /quick');
    await kubelet().ready('rights');
    // What a probe had started is gone with its time.
    await waitFor(
      'the probe to be gone',
      async () => !(await kubelet().sh('rights', 'slow', 'ps -o args')).includes('sleep 1001'),
    );
    await kubelet().remove('rights');
  });

  test('a container’s log is rotated while it writes, and nothing of it is lost', async () => {
    kubelet().add('talks', {
      ...noGrace,
      containers: [
        {
          name: 'main',
          ...image,
          ...sh(
            service(
              'i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); [ $((i % 100)) = 0 ] && sleep 0.2; done;',
            ),
          ),
        },
      ],
    });
    await kubelet().ready('talks');
    const { names, lines } = await waitFor(
      'the log to be rotated and whole',
      () => {
        const found = kubelet().logFiles('talks', 'main');
        return found.names.length > 1 && found.lines.at(-1)?.endsWith('line 2999') === true ? found : undefined;
      },
      { timeoutMs: 60_000, detail: () => JSON.stringify(kubelet().logFiles('talks', 'main').names) },
    );
    expect(names.length).toBeGreaterThan(1);
    expect(lines.map((line) => line.split(' ').at(-1))).toEqual(Array.from({ length: 3000 }, (_, i) => `${i}`));
    await kubelet().remove('talks');
  });
});

function idOf({ status }: PodObject): string {
  return (status.containerStatuses?.[0]?.containerID ?? '').replace('containerd://', '');
}

function sleepingFor(name: string, seconds: number): object {
  return { name, ...image, command: ['sleep', `${seconds}`] };
}
