/*
 * A program that uses what a checkpoint has to carry: threads on futexes, timers, signals pending and blocked, eventfd, epoll, inotify,
 * memfd, memory shared by two processes, files without a name. Each turn it checks all of them and writes a line to the file
 * that it was given: the number of the turn, or what was wrong.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static int report;

static void fail(const char *what)
{
	dprintf(report, "wrong: %s: %s\n", what, strerror(errno));
	exit(1);
}
#define must(condition) do { if (!(condition)) fail(#condition); } while (0)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned wanted, done[3];
static __thread unsigned own;
static volatile sig_atomic_t alarms;

static void on_alarm(int signal)
{
	(void)signal;
	alarms++;
}

/* Waits on a futex until the next turn; its count in thread-local storage must be the one that it had. */
static void *work(void *argument)
{
	unsigned *mine = argument;
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	for (;;) {
		pthread_mutex_lock(&lock);
		while (*mine == wanted)
			pthread_cond_wait(&changed, &lock);
		must(own == *mine);
		own = ++*mine;
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

int main(int count, char **arguments)
{
	must(count == 2 && (report = open(arguments[1], O_WRONLY | O_CREAT | O_APPEND, 0644)) >= 0);

	/* Counted up by a child of this process. */
	_Atomic unsigned *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(shared != MAP_FAILED);
	int ask[2], answer[2];
	must(pipe(ask) == 0 && pipe(answer) == 0);
	if (fork() == 0) {
		char byte;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (read(ask[0], &byte, 1) == 1) {
			atomic_fetch_add(shared, 1);
			must(write(answer[1], &byte, 1) == 1);
		}
		_exit(0);
	}

	/* SIGUSR1 blocked and pending all the time, with SIGRTMIN twice behind it. */
	sigset_t blocked, pending;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigaddset(&blocked, SIGRTMIN);
	must(sigprocmask(SIG_BLOCK, &blocked, NULL) == 0);
	raise(SIGUSR1);
	for (int i = 1; i <= 2; i++)
		must(sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = i }) == 0);

	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	must(sigaction(SIGALRM, &action, NULL) == 0);
	timer_t timer;
	struct itimerspec every = { { 0, 20000000 }, { 0, 20000000 } };
	must(timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0 && timer_settime(timer, 0, &every, NULL) == 0);

	int events = eventfd(7, EFD_NONBLOCK), ticks = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	must(events >= 0 && ticks >= 0 && timerfd_settime(ticks, 0, &every, NULL) == 0);
	int watch = inotify_init1(IN_NONBLOCK);
	must(mkdir("/watched", 0755) == 0 || errno == EEXIST);
	must(watch >= 0 && inotify_add_watch(watch, "/watched", IN_CREATE) >= 0);
	must(inotify_add_watch(watch, "/etc", IN_CREATE) >= 0);
	int poller = epoll_create1(0);
	int watched[] = { ticks, watch };
	for (int i = 0; i < 2; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.u64 = 1000 + i };
		must(epoll_ctl(poller, EPOLL_CTL_ADD, watched[i], &event) == 0);
	}

	int memory = memfd_create("numbers", 0);
	must(memory >= 0 && ftruncate(memory, 1 << 20) == 0);
	unsigned *numbers = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	int deleted = open("/tmp/deleted", O_RDWR | O_CREAT, 0600), reading = open("/tmp/deleted", O_RDONLY);
	must(numbers != MAP_FAILED && deleted >= 0 && reading >= 0 && ftruncate(deleted, 1 << 24) == 0);
	unsigned *mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, deleted, 1 << 20);
	must(mapped != MAP_FAILED && unlink("/tmp/deleted") == 0);

	pthread_t thread;
	for (int i = 0; i < 3; i++)
		must(pthread_create(&thread, NULL, work, &done[i]) == 0);

	for (unsigned turn = 1;; turn++) {
		pthread_mutex_lock(&lock);
		wanted = turn;
		pthread_cond_broadcast(&changed);
		for (int i = 0; i < 3; i++)
			while (done[i] != turn)
				pthread_cond_wait(&changed, &lock);
		pthread_mutex_unlock(&lock);

		char byte = 0;
		must(write(ask[1], &byte, 1) == 1 && read(answer[0], &byte, 1) == 1 && atomic_load(shared) == turn);

		must(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1) == 1 && sigismember(&pending, SIGRTMIN) == 1);

		uint64_t value;
		must(read(events, &value, 8) == 8 && value == 7);
		must(write(events, &value, 8) == 8);

		/* Both the timer and the watch must wake it. */
		char path[64];
		snprintf(path, sizeof path, "/watched/%u", turn);
		must(close(open(path, O_CREAT | O_WRONLY, 0600)) == 0);
		int alarms_before = alarms, ticked = 0, saw = 0;
		while (!ticked || !saw) {
			struct epoll_event event;
			int ready = epoll_wait(poller, &event, 1, 5000);
			if (ready < 0 && errno == EINTR)
				continue;
			must(ready == 1);
			if (event.data.u64 == 1000) {
				must(read(ticks, &value, 8) == 8);
				ticked = 1;
			} else {
				union { struct inotify_event event; char bytes[4096]; } got;
				must(read(watch, &got, sizeof got) > 0);
				must(got.event.wd == 1 && strcmp(got.event.name, path + 9) == 0);
				saw = 1;
			}
		}
		for (int i = 0; i < 500 && alarms == alarms_before; i++)
			usleep(10000);
		must(alarms != alarms_before && unlink(path) == 0);

		must(numbers[1000] == turn - 1 && mapped[0] == turn - 1);
		numbers[1000] = mapped[0] = turn;
		unsigned read_back;
		must(pread(memory, &read_back, 4, 4000) == 4 && read_back == turn);
		must(pread(deleted, &read_back, 4, 1 << 20) == 4 && read_back == turn);
		must(lseek(deleted, 0, SEEK_CUR) == (off_t)(4 * (turn - 1)) && write(deleted, &turn, 4) == 4);
		must(read(reading, &read_back, 4) == 4 && read_back == turn);

		dprintf(report, "%u\n", turn);
	}
}
