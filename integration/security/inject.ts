/** Makes a running process call the kernel, as an attacker who runs code in it would: by ptrace from the host. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { syscallNumbers } from '../../syscall';

/** Arguments: pid, number of the system call, its arguments. Prints what came back, or `signal N` when the process did not survive. */
const INJECTOR = `
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static int stopped(pid_t pid) {
  int status;
  if (waitpid(pid, &status, __WALL) != pid) exit(2);
  if (WIFSTOPPED(status)) return WSTOPSIG(status);
  printf("signal %d\\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  exit(0);
}

int main(int argc, char **argv) {
  pid_t pid = atoi(argv[1]);
  struct user_regs_struct before, now;
  unsigned long v[7] = { 0 };
  for (int i = 2; i < argc; i++) v[i - 2] = strtoul(argv[i], 0, 0);
  if (ptrace(PTRACE_SEIZE, pid, 0, 0) || ptrace(PTRACE_INTERRUPT, pid, 0, 0)) return 3;
  for (;;) {
    stopped(pid);
    if (ptrace(PTRACE_GETREGS, pid, 0, &before)) return 4;
    /* In a system call, whose instruction lies right before rip? If not yet, it will be. */
    if ((long)before.orig_rax >= 0) break;
    if (ptrace(PTRACE_CONT, pid, 0, 0)) return 4;
    usleep(1000);
    if (ptrace(PTRACE_INTERRUPT, pid, 0, 0)) return 4;
  }
  now = before;
  now.rip -= 2;
  now.rax = v[0];
  now.orig_rax = -1;
  now.rdi = v[1], now.rsi = v[2], now.rdx = v[3], now.r10 = v[4], now.r8 = v[5], now.r9 = v[6];
  if (ptrace(PTRACE_SETREGS, pid, 0, &now) || ptrace(PTRACE_SINGLESTEP, pid, 0, 0)) return 5;
  stopped(pid);
  if (ptrace(PTRACE_GETREGS, pid, 0, &now)) return 6;
  printf("%ld\\n", (long)now.rax);
  before.rip -= 2;
  before.rax = before.orig_rax;
  before.orig_rax = -1;
  if (ptrace(PTRACE_SETREGS, pid, 0, &before) || ptrace(PTRACE_DETACH, pid, 0, 0)) return 7;
  return 0;
}
`;

export interface Injector {
  /** @returns what the call gave, or `signal N` when the process died of it. */
  call(pid: number, name: string, ...args: (number | bigint)[]): string;
  remove(): void;
}

/** x86_64 only. */
export function buildInjector(): Injector {
  const directory = mkdtempSync(join(tmpdir(), 'silt-inject-'));
  const program = join(directory, 'inject');
  const compiled = spawnSync('cc', ['-O1', '-w', '-x', 'c', '-', '-o', program], { input: INJECTOR, encoding: 'utf8' });
  if (compiled.status !== 0) throw new Error(`cannot compile: ${compiled.stderr}`);
  return {
    call: (pid, name, ...args) => {
      const words = [pid, syscallNumbers('x86_64')[name]!, ...args].map(String);
      const { status, stdout } = spawnSync(program, words, { encoding: 'utf8', timeout: 10_000 });
      if (status !== 0) throw new Error(`cannot make ${pid} call ${name}: step ${status}`);
      return stdout.trim();
    },
    remove: () => rmSync(directory, { recursive: true }),
  };
}
