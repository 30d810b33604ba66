/*
 * A clock that cannot be read while $CLOCK_IS_BROKEN is set. Preloaded, it makes Rust's
 * Instant::now() panic, which no script can.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time)
{
	if (clock == CLOCK_MONOTONIC && getenv("CLOCK_IS_BROKEN") != NULL) {
		errno = EINVAL;
		return -1;
	}
	return (int) syscall(SYS_clock_gettime, clock, time);
}

/* PHP gives an extension its own libraries before preloaded ones; this prevents that. */
void *dlopen(const char *file, int flags)
{
	void *(*original)(const char *, int) = dlsym(RTLD_NEXT, "dlopen");
	return original(file, flags & ~RTLD_DEEPBIND);
}
