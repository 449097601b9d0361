#ifndef SILT_CPUID_TASKS_H
#define SILT_CPUID_TASKS_H

#include <stdint.h>

enum task_state { RUNNING, HELD, HELD_IN_GROUP_STOP };

struct task {
	int32_t tid;
	uint8_t state;
	/* CPUID does not fault in it yet. */
	uint8_t arm;
	/* It uses the memory of one that waits, in vfork(2), for it to execute a program or to end: only then can that one stop. */
	uint8_t vforked;
	/* Its memory is its own since it was heard of. */
	uint8_t executed;
};

/* The set; a pointer into it holds until the next add or remove. */
extern struct task *tasks;
extern uint32_t task_count;

struct task *find_task(int32_t tid);
/* Finds or adds. */
struct task *add_task(int32_t tid);
void remove_task(int32_t tid);

#endif
