/* Preloaded, it shows a process wall time that is as many seconds off as the file $STEPPED_CLOCK says
 * (8 bytes, this machine's order); monotonic time is left alone. What libfaketime does, which does not
 * start under an allocator that asks for the time, as Redis' does: nothing is allocated here. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static int64_t step(void) {
    static volatile int64_t *shown;
    if (!shown) {
        const char *path = getenv("STEPPED_CLOCK");
        int file = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
        if (file < 0) return 0;
        void *page = mmap(0, sizeof *shown, PROT_READ, MAP_SHARED, file, 0);
        if (page == MAP_FAILED) return 0;
        shown = page;
    }
    return *shown;
}

int clock_gettime(clockid_t which, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, which, now);
    if (!failed && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) now->tv_sec += step();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int failed = (int)syscall(SYS_gettimeofday, now, zone);
    if (!failed) now->tv_sec += step();
    return failed;
}

time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}

/* A deadline was reckoned from the time that is shown; the kernel waits by the right one. glibc's
 * condition variables of C11 are those of POSIX. */
static int wait_until(pthread_cond_t *on, pthread_mutex_t *held, struct timespec right) {
    right.tv_sec -= step();
    return pthread_cond_clockwait(on, held, CLOCK_REALTIME, &right);
}

int pthread_cond_timedwait(pthread_cond_t *restrict on, pthread_mutex_t *restrict held,
                           const struct timespec *restrict deadline) {
    return wait_until(on, held, *deadline);
}

int cnd_timedwait(cnd_t *restrict on, mtx_t *restrict held, const struct timespec *restrict deadline) {
    int failed = wait_until((pthread_cond_t *)on, (pthread_mutex_t *)held, *deadline);
    return failed == 0 ? thrd_success : failed == ETIMEDOUT ? thrd_timedout : thrd_error;
}
