/*
 * A raw system call: no errno, no cancellation point, no libc. The result is the kernel's: -4095 … -1 is an error
 * (syscall(2), "Architecture calling conventions").
 */
#ifndef SILT_RAW_H
#define SILT_RAW_H

#include <stdint.h>

#ifdef SILT_TEST_SYSCALL
/* Tests and the fuzzer bring their own, so that no program of theirs reaches the kernel. */
int64_t silt_syscall(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);

#elif defined(__x86_64__)
static inline int64_t silt_syscall(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
				   uint64_t f)
{
	int64_t result;
	register uint64_t r10 __asm__("r10") = d;
	register uint64_t r8 __asm__("r8") = e;
	register uint64_t r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "cc", "memory");
	return result;
}

#elif defined(__aarch64__)
static inline int64_t silt_syscall(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
				   uint64_t f)
{
	register uint64_t x8 __asm__("x8") = number;
	register uint64_t x0 __asm__("x0") = a;
	register uint64_t x1 __asm__("x1") = b;
	register uint64_t x2 __asm__("x2") = c;
	register uint64_t x3 __asm__("x3") = d;
	register uint64_t x4 __asm__("x4") = e;
	register uint64_t x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "cc", "memory");
	return (int64_t)x0;
}

#else
#error "silt runs on x86_64 and aarch64"
#endif

static inline int silt_is_error(int64_t result)
{
	return result < 0 && result >= -4095;
}

#endif
