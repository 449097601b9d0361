/**
 * What the flags of `docker run` come to inside, with each Docker and in each of its ways to run silt. One container has as many as go
 * together, and says in one go what it finds.
 */
import { mkdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isSilt } from '../harness';
import { dockerSuite, dockerWays } from '../harness/docker';

/** Flags with the script that shows what they do, and what that prints. */
type Case = readonly [flags: readonly string[], script: string, shown: RegExp];

/** A script's answer: what it prints, errors too, and its status where that is not 0. */
const END = '@@';
const joined = (cases: readonly Case[]): string =>
  cases.map(([, script]) => `( ${script}\n) 2>&1 || echo "status $?"; echo "${END}"`).join('\n');
const STATUS = (field: string): string => `sed -n 's/^${field}:\\t*//p' /proc/self/status`;
/** In v1's file or v2's. */
const LIMIT = (v1: string, v2: string): string => `cd /sys/fs/cgroup; cat ${v1} 2>/dev/null || cut -d' ' -f1 ${v2}`;

const confined = (directory: string): readonly Case[] => [
  [['--hostname=named', '--add-host=other:10.1.2.3', '--dns=10.4.5.6'], 'hostname; cat /etc/hosts /etc/resolv.conf', /^named\n[\s\S]*10\.1\.2\.3\s+other[\s\S]*nameserver 10\.4\.5\.6/],
  [['--env=A=b c', '--workdir=/data'], 'echo "$A"; pwd', /^b c\n\/data\n$/],
  [['--init'], 'cat /proc/1/comm', /^(docker-init|tini)\n$/],
  [['--memory=64m', '--memory-swap=64m'], LIMIT('memory/memory.limit_in_bytes', 'memory.max'), /^67108864\n$/],
  [['--cpus=0.5'], LIMIT('cpu/cpu.cfs_quota_us', 'cpu.max'), /^50000\n$/],
  [['--pids-limit=40'], LIMIT('pids/pids.max', 'pids.max'), /^40\n$/],
  [['--ulimit=nofile=77:88'], 'ulimit -Sn; ulimit -Hn', /^77\n88\n$/],
  [['--oom-score-adj=123'], 'cat /proc/self/oom_score_adj', /^123\n$/],
  [['--shm-size=3m'], 'df -k /dev/shm | tail -1', /^shm +3072 /],
  [['--network=none', '--sysctl=net.ipv4.ip_default_ttl=77'], 'ls /sys/class/net; cat /proc/sys/net/ipv4/ip_default_ttl', /^lo\n77\n$/],
  [['--read-only'], 'touch /x', /Read-only file system\nstatus 1\n$/],
  [['--tmpfs=/t:size=2m,mode=700,noexec'], 'df -k /t | tail -1; stat -c %a /t; grep -o "tmpfs /t tmpfs.*noexec" /proc/mounts; touch /t/x', /^tmpfs +2048 .*\n700\ntmpfs \/t .*noexec\n$/],
  [[`--volume=${directory}:/v`], 'cat /v/file; echo written > /v/new && stat -c %u /v/new', /^of the host\n0\n$/],
  [[`--volume=${directory}:/r:ro`], 'cat /r/file; touch /r/x', /^of the host\n.*Read-only file system\nstatus 1\n$/],
  [['--cap-drop=CHOWN'], 'touch /t/own; chown 1 /t/own', /Operation not permitted\nstatus 1\n$/],
  [['--cap-add=NET_ADMIN'], 'ip link set lo mtu 1400 && cat /sys/class/net/lo/mtu', /^1400\n$/],
  [['--security-opt=no-new-privileges'], STATUS('NoNewPrivs'), /^1\n$/],
  [[`--security-opt=seccomp=${join(directory, 'profile.json')}`], 'mkdir /t/new', /not supported\nstatus 1\n$/i],
  [['--device=/dev/full:/dev/f'], 'stat -c %F /dev/f; echo x > /dev/f', /^character special file\n[\s\S]*No space left/],
]; // prettier-ignore

const open: readonly Case[] = [
  [['--user=guest'], 'id -u; id -g', /^1000\n1000\n$/],
  [['--pid=host'], 'readlink /proc/self/ns/pid', new RegExp(`^${link('pid')}\n$`)],
  [['--ipc=host'], 'readlink /proc/self/ns/ipc', new RegExp(`^${link('ipc')}\n$`)],
  [['--uts=host'], 'readlink /proc/self/ns/uts', new RegExp(`^${link('uts')}\n$`)],
  [['--network=host'], 'readlink /proc/self/ns/net', new RegExp(`^${link('net')}\n$`)],
  [['--cap-drop=ALL'], STATUS('CapBnd'), /^0000000000000000\n$/],
  [['--security-opt=seccomp=unconfined'], STATUS('Seccomp'), isSilt ? /^2\n$/ : /^0\n$/],
];

function link(namespace: string): string {
  return readlinkSync(`/proc/self/ns/${namespace}`).replace(/[[\]]/g, '\\$&');
}

dockerSuite('flags of docker run', { dockers: 'all' }, (host) => {
  describe.each(dockerWays)('with silt as its $way', ({ runtime }) => {
    /** The titles are there before there is a directory. */
    const groups = [
      ['confined', confined, 'sleep 1000'],
      ['with what is the host’s', () => open, 'sleep 1000'],
    ] as const;

    describe.each(groups)('a container, %s', (name, casesIn) => {
      let shown: string[] = [];
      let cases: readonly Case[] = [];
      beforeAll(async () => {
        const directory = join(host().directory, `of-${runtime}-${name.split(' ')[0]}`);
        mkdirSync(directory);
        writeFileSync(join(directory, 'file'), 'of the host\n');
        const rule = { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 95 };
        const profile = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [rule] };
        writeFileSync(join(directory, 'profile.json'), JSON.stringify(profile));
        cases = casesIn(directory);
        const flags = cases.flatMap(([each]) => each);
        const words = ['run', '--rm', `--runtime=${runtime}`, ...flags, 'busybox', 'sh', '-c', joined(cases)];
        shown = (await host().must(...words)).split(`${END}\n`);
      }, 90_000);

      test.each(
        casesIn('').map(([flags], i) => [flags.map((flag) => flag.replace(/=\/.*/, '')).join(' '), i] as const),
      )('%s', (_, i) => {
        expect(shown[i]).toMatch(cases[i]![2]);
      });
    });
  });
});
