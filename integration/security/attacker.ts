/** Tries system calls from inside of real containers, with a small static program that is mounted into them. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { Containerd } from '../harness';
import { errnoName, hostArch, syscallNumbers } from '../../syscall';

/** Makes each system call of its arguments (`number,arg,arg…`) in a child of its own and prints what came back. */
const PROBE = `
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    unsigned long v[7] = { 0 };
    char *at = argv[i];
    int status, end[2];
    long result = 0;
    for (int j = 0; j < 7 && *at; j++, at += *at == ',') v[j] = strtoul(at, &at, 0);
    if (pipe(end)) return 3;
    pid_t child = fork();
    if (child == 0) {
      pid_t self = getpid();
      result = syscall(v[0], v[1], v[2], v[3], v[4], v[5], v[6]);
      if (result < 0) result = -errno;
      if (getpid() != self) _exit(0);
      _exit(write(end[1], &result, sizeof result) != sizeof result);
    }
    close(end[1]);
    if (read(end[0], &result, sizeof result) != sizeof result) result = -4095;
    close(end[0]);
    waitpid(child, &status, 0);
    printf("%ld\\n", result);
    fflush(stdout);
  }
  return 0;
}
`;

/** A system call by name, or by number. Pointers may be 0: what the kernel refuses before it looks at them was never reached. */
export type Call = readonly [name: string, ...args: (number | bigint)[]];

const AT = '/probe';

/** Builds the probe into the directory that containers of this containerd may have mounted. */
export function buildProbe(host: Containerd): void {
  const { status, stderr } = spawnSync(
    'cc',
    ['-static', '-O1', '-w', '-x', 'c', '-', '-o', join(host.seeds, 'probe')],
    {
      input: PROBE,
      encoding: 'utf8',
    },
  );
  if (status !== 0) throw new Error(`cannot compile the probe: ${stderr}`);
}

/** Flags of `ctr run` that put the probe into a container. */
export function probeFlags(host: Containerd): string[] {
  return ['--mount', `type=bind,src=${host.seeds},dst=${AT},options=rbind:ro`];
}

export function probeWords(calls: readonly Call[]): string[] {
  const word = ([name, ...args]: Call): string => [syscallNumbers(hostArch)[name] ?? Number(name), ...args].join(',');
  return [`${AT}/probe`, ...calls.map(word)];
}

/** What came back from each call: a number, or the name of an errno; `killed` when the process did not survive it. */
export function probeResults(output: string): (number | string)[] {
  return output
    .trim()
    .split('\n')
    .map(Number)
    .map((result) => (result === -4095 ? 'killed' : result < 0 ? errnoName(result) : result));
}
