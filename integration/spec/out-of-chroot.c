/*
 * Leaves a chroot in the ways that root of one may have, and prints what is in the root directory then.
 *
 *   out-of-chroot         by a directory that is open, and then upwards; exit status of the step that failed
 *   out-of-chroot setns   by the mount namespace: setns(2) makes its root the process's. Says first how each step went
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int list(void) {
    DIR *dir = opendir("/");
    if (!dir) return 4;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.') puts(entry->d_name);
    return 0;
}

static int upwards(void) {
    int top = open("/", O_RDONLY | O_DIRECTORY);
    mkdir("/tmp/below", 0755);
    if (top < 0 || chroot("/tmp/below") || fchdir(top)) return 1;
    for (int i = 0; i < 64; i++)
        if (chdir("..")) return 2;
    if (chroot(".")) return 3;
    return list();
}

static void say(const char *step, int failed) {
    printf("%s: %s\n", step, failed ? strerror(errno) : "done");
}

static int by_namespace(void) {
    int self = syscall(SYS_pidfd_open, getpid(), 0);
    say("a user namespace", unshare(CLONE_NEWUSER | CLONE_NEWNS));
    say("a copy of the mount namespace", unshare(CLONE_NEWNS));
    say("its root", setns(self, CLONE_NEWNS));
    return list();
}

int main(int argc, char **argv) {
    return argc > 1 && !strcmp(argv[1], "setns") ? by_namespace() : upwards();
}
