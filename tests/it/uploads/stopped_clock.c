/* Loaded before the C library: a monotonic clock that stands still, so that no wait for a time ends. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int code = syscall(SYS_clock_gettime, clock, now);

	if (clock == CLOCK_MONOTONIC && code == 0) {
		now->tv_sec = 1000;
		now->tv_nsec = 0;
	}
	return code;
}
