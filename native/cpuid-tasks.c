/* The threads that are traced: a set in one growing mapping, searched only when a thread is born, dies or is held. */
#include "cpuid-tasks.h"
#include "raw.h"

#include <asm/unistd.h>
#include <linux/mman.h>

static uint64_t capacity;

struct task *tasks;
uint32_t task_count;

static void grow(void)
{
	uint64_t size = capacity * sizeof *tasks, wanted = size == 0 ? 4096 : size * 2;
	int64_t at = size == 0 ? silt_syscall(__NR_mmap, 0, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
					      ~0ull, 0)
			       : silt_syscall(__NR_mremap, (uintptr_t)tasks, size, wanted, MREMAP_MAYMOVE, 0, 0);

	/* Without memory it ends, and the container with it (PTRACE_O_EXITKILL): nothing goes on untraced. */
	if (silt_is_error(at))
		silt_syscall(__NR_exit_group, 1, 0, 0, 0, 0, 0);
	tasks = (struct task *)at;
	capacity = wanted / sizeof *tasks;
}

struct task *find_task(int32_t tid)
{
	for (uint32_t i = 0; i < task_count; i++)
		if (tasks[i].tid == tid)
			return &tasks[i];
	return 0;
}

struct task *add_task(int32_t tid)
{
	struct task *known = find_task(tid);

	if (known)
		return known;
	if (task_count == capacity)
		grow();
	tasks[task_count].tid = tid;
	tasks[task_count].state = RUNNING;
	tasks[task_count].arm = 0;
	tasks[task_count].vforked = 0;
	tasks[task_count].executed = 0;
	return &tasks[task_count++];
}

void remove_task(int32_t tid)
{
	struct task *known = find_task(tid);

	if (known)
		*known = tasks[--task_count];
}
