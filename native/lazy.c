/*
 * silt-lazy.so: preloaded into a CRIU that restores processes in a user namespace without their memory. There userfaultfd(2)
 * takes CAP_SYS_PTRACE of the host, and so does asking for its children's (ioctl_userfaultfd(2), UFFD_FEATURE_EVENT_FORK). A userfaultfd belongs
 * to the memory of whoever makes it, so nobody else can make it for a process. But a descriptor of /dev/userfaultfd lets its holder make one
 * (Linux 6.1), and the features may be asked for by whoever has the userfaultfd. So CRIU's conversation with the pager
 * (lazy-pages.socket), which says a pid and then hands over the userfaultfd, has two more turns here, both within the latter:
 *
 *   the pager, when it has the pid, sends a descriptor of /dev/userfaultfd, and
 *   when it has the userfaultfd and has asked for the features, a byte.
 *
 * Until then CRIU has a placeholder. No libc but for errno: this is loaded into whatever libc CRIU has.
 */
#define _GNU_SOURCE
#include "raw.h"

#include <errno.h>
#include <linux/ioctl.h>
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

#define EXPORTED __attribute__((visibility("default")))
#define CLOEXEC 02000000
#define NONBLOCK 04000

/* What CRIU holds for the userfaultfd that it has asked for; each restored process is a fork with its own copy. */
static int placeholder = -1;

static long answer(int64_t result)
{
	if (!silt_is_error(result))
		return (long)result;
	errno = (int)-result;
	return -1;
}

/* The descriptor that a message carries; -1 when it has none. */
static int carried(const struct msghdr *message)
{
	const struct cmsghdr *head = message->msg_control;

	if (head == NULL || message->msg_controllen < CMSG_LEN(sizeof(int)))
		return -1;
	if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
		return -1;
	return *(const int *)CMSG_DATA(head);
}

static int64_t receive_device(int socket)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char byte;
	struct iovec part = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
	int64_t count;
	int fd;

	do
		count = silt_syscall(SYS_recvmsg, (uint64_t)socket, (uint64_t)&message, MSG_CMSG_CLOEXEC, 0, 0, 0);
	while (count == -EINTR);
	if (silt_is_error(count))
		return count;
	fd = count == 1 ? carried(&message) : -1;
	return fd < 0 ? -EPROTO : fd;
}

/* Puts a userfaultfd of this process in the placeholder's place. */
static int64_t make(int socket)
{
	int64_t device = receive_device(socket);
	int64_t made, result;

	if (silt_is_error(device))
		return device;
	made = silt_syscall(SYS_ioctl, (uint64_t)device, USERFAULTFD_IOC_NEW, CLOEXEC | NONBLOCK, 0, 0, 0);
	silt_syscall(SYS_close, (uint64_t)device, 0, 0, 0, 0, 0);
	if (silt_is_error(made))
		return made;
	result = silt_syscall(SYS_dup3, (uint64_t)made, (uint64_t)placeholder, CLOEXEC, 0, 0, 0);
	silt_syscall(SYS_close, (uint64_t)made, 0, 0, 0, 0, 0);
	return result;
}

EXPORTED long syscall(long number, ...)
{
	long a, b, c, d, e, f;
	va_list list;

	va_start(list, number);
	a = va_arg(list, long);
	b = va_arg(list, long);
	c = va_arg(list, long);
	d = va_arg(list, long);
	e = va_arg(list, long);
	f = va_arg(list, long);
	va_end(list);
	if (number != SYS_userfaultfd)
		return answer(silt_syscall((uint64_t)number, (uint64_t)a, (uint64_t)b, (uint64_t)c, (uint64_t)d, (uint64_t)e,
					   (uint64_t)f));
	placeholder = (int)answer(silt_syscall(SYS_eventfd2, 0, CLOEXEC, 0, 0, 0, 0));
	return placeholder;
}

EXPORTED int ioctl(int fd, unsigned long request, ...)
{
	unsigned long argument;
	va_list list;

	va_start(list, request);
	argument = va_arg(list, unsigned long);
	va_end(list);
	/* The pager will have asked for the features when they are needed. */
	if (request == UFFDIO_API && fd >= 0 && fd == placeholder)
		return 0;
	return (int)answer(silt_syscall(SYS_ioctl, (uint64_t)fd, request, argument, 0, 0, 0));
}

EXPORTED ssize_t sendmsg(int socket, const struct msghdr *message, int flags)
{
	int64_t result = 0;
	int hands_over = placeholder >= 0 && carried(message) == placeholder;
	char byte;

	if (hands_over)
		result = make(socket);
	if (!silt_is_error(result))
		result = silt_syscall(SYS_sendmsg, (uint64_t)socket, (uint64_t)message, (uint64_t)flags, 0, 0, 0);
	if (hands_over && !silt_is_error(result)) {
		int64_t count;

		do
			count = silt_syscall(SYS_read, (uint64_t)socket, (uint64_t)&byte, 1, 0, 0, 0);
		while (count == -EINTR);
		if (count != 1)
			result = -EPROTO;
		placeholder = -1;
	}
	return (ssize_t)answer(result);
}
