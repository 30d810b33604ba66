/*
 * A clock that cannot be read while $CLOCK_IS_BROKEN is set: preloaded, it makes Rust's Instant::now() panic, which
 * nothing that a script does can.
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

/* PHP binds an extension to its own libraries before those that are preloaded. Not here. */
void *dlopen(const char *file, int flags)
{
	void *(*original)(const char *, int) = dlsym(RTLD_NEXT, "dlopen");
	return original(file, flags & ~RTLD_DEEPBIND);
}
