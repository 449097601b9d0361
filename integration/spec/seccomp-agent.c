/*
 * Answers for the calls of a seccomp filter: takes its listener from a runtime over the unix socket argv[1], appends the state that comes
 * with it to the file argv[2], a line each, and lets every call fail with EDQUOT. Ends when its stdin does.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST 16

static int take(int server, const char *log)
{
	char text[8192], control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {text, sizeof(text) - 1};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	int connection = accept4(server, NULL, NULL, SOCK_CLOEXEC), fd = -1;
	ssize_t size = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
	if (size > 0 && rights != NULL && rights->cmsg_type == SCM_RIGHTS) {
		memcpy(&fd, CMSG_DATA(rights), sizeof(fd));
		text[size++] = '\n';
		int file = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
		if (write(file, text, size) != size)
			perror("write");
		close(file);
	}
	close(connection);
	return fd;
}

static void answer(int listener)
{
	struct seccomp_notif call = {0};
	struct seccomp_notif_resp response = {0};
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0)
		return;
	response.id = call.id;
	response.error = -EDQUOT;
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", argv[1]);
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(server, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(server, 8) != 0)
		return 1;
	struct pollfd all[2 + MOST] = {{0, POLLIN, 0}, {server, POLLIN, 0}};
	int count = 2;
	while (poll(all, count, -1) >= 0) {
		if (all[0].revents != 0)
			return 0;
		for (int i = 2; i < count; i++) {
			if (all[i].revents & POLLIN)
				answer(all[i].fd);
			else if (all[i].revents != 0)
				all[i].fd = -1;
		}
		if ((all[1].revents & POLLIN) && count < 2 + MOST) {
			all[count].events = POLLIN;
			all[count].revents = 0;
			all[count++].fd = take(server, argv[2]);
		}
	}
	return 1;
}
